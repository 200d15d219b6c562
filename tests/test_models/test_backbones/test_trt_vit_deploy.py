"""The form for export is the same network, without BatchNorm and with attention written out."""

import copy

import pytest
import torch
from torch import nn

from mmtrtvit.models import TRTViT

EVERY_BLOCK = dict(depths=(1, 2, 2, 3), block_types=('C', 'CT', 'AB', 'MMT'))


def outputs(backbone, x):
    with torch.no_grad():
        return backbone(x)


def assert_close(given, expected, tolerance):
    assert len(given) == len(expected)
    for ours, theirs in zip(given, expected, strict=True):
        assert ours.shape == theirs.shape
        assert theirs.std() > 0.05, 'the weights leave nothing to compare'
        assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


def switched(backbone):
    deployed = copy.deepcopy(backbone)
    assert deployed.switch_to_deploy() is None
    return deployed


@pytest.mark.parametrize(
    'settings',
    [
        {},
        dict(block_types=('C', 'C', 'C', 'A')),
        dict(block_types=('C', 'C', 'C', 'B')),
        dict(block_types=('C', 'C', 'C', 'T')),
        EVERY_BLOCK,
        dict(shrink_ratio=0.25, block_types=('C', 'C', 'A', 'B')),
        dict(EVERY_BLOCK, final_norm=True),
        dict(out_indices=(0, 2), final_norm=True),
        dict(norm_cfg=dict(type='SyncBN')),
        dict(norm_cfg=dict(type='BN', eps=1e-2), final_norm=True),
        dict(with_cp=True, frozen_stages=2, norm_eval=True, drop_path_rate=0.3),
    ],
    ids=lambda settings: ','.join(settings) or 'default',
)
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=['64', '32'])
def test_same_outputs_of_every_block_type(tiny, randomise, settings, dtype, tolerance):
    backbone = randomise(tiny(**settings)).to(dtype).eval()
    x = torch.randn(2, 3, 70, 45, dtype=dtype)
    assert_close(outputs(switched(backbone), x), outputs(backbone, x), tolerance)


def test_same_outputs_of_a_published_size(randomise):
    backbone = randomise(TRTViT(arch='a')).eval()
    x = torch.randn(1, 3, 64, 96)
    deployed = switched(backbone)
    assert_close(outputs(deployed, x), outputs(backbone, x), 1e-4)
    expected = outputs(backbone.double(), x.double())
    # Switched in float64: what was folded in float32 has float32's rounding in it.
    assert_close(outputs(switched(backbone), x.double()), expected, 1e-9)


def test_layer_norms_stay(tiny):
    def layer_norms(module):
        return sum(isinstance(part, nn.LayerNorm) for part in module.modules())

    backbone = tiny(**EVERY_BLOCK)
    before = layer_norms(backbone)
    backbone.switch_to_deploy()
    assert layer_norms(backbone) == before == 2 * 6
