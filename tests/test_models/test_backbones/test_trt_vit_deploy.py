"""The form for export is the same network, without BatchNorm and with attention written out."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

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


@pytest.fixture
def no_fused_attention(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError('scaled_dot_product_attention is in the deploy form')

    monkeypatch.setattr(F, 'scaled_dot_product_attention', refuse)


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


@pytest.mark.parametrize('norm', ['BN', 'SyncBN'])
def test_nothing_is_left_to_fold(tiny, norm, no_fused_attention):
    backbone = tiny(**EVERY_BLOCK, final_norm=True, norm_cfg=dict(type=norm)).eval()
    assert any(isinstance(module, _BatchNorm) for module in backbone.modules())
    backbone.switch_to_deploy()
    assert not any(isinstance(module, _BatchNorm) for module in backbone.modules())
    assert not any('running_' in name for name in backbone.state_dict())
    assert all(module.bias is not None for module in backbone.modules() if isinstance(module, nn.Conv2d))
    outputs(backbone, torch.randn(1, 3, 33, 47))


def test_layer_norms_stay(tiny):
    def layer_norms(module):
        return sum(isinstance(part, nn.LayerNorm) for part in module.modules())

    backbone = tiny(**EVERY_BLOCK)
    before = layer_norms(backbone)
    backbone.switch_to_deploy()
    assert layer_norms(backbone) == before == 2 * 6


def test_group_norm_is_left_alone(tiny, randomise, no_fused_attention):
    def group_norms(module):
        return sum(isinstance(part, nn.GroupNorm) for part in module.modules())

    backbone = randomise(tiny(norm_cfg=dict(type='GN', num_groups=4), final_norm=True)).double().eval()
    x = torch.randn(1, 3, 33, 47, dtype=torch.float64)
    deployed = switched(backbone)
    assert group_norms(deployed) == group_norms(backbone) > 10
    with pytest.MonkeyPatch.context() as fused:
        fused.setattr(F, 'scaled_dot_product_attention', torch._C._nn.scaled_dot_product_attention)
        expected = outputs(backbone, x)
    assert_close(outputs(deployed, x), expected, 1e-9)


def test_twice_is_once(tiny, randomise):
    backbone = randomise(tiny(**EVERY_BLOCK, final_norm=True)).eval()
    backbone.switch_to_deploy()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    modules = [type(module) for module in backbone.modules()]
    backbone.switch_to_deploy()
    after = backbone.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert [type(module) for module in backbone.modules()] == modules


def test_switched_in_training_mode_it_takes_the_running_statistics(tiny, randomise):
    backbone = randomise(tiny(**EVERY_BLOCK, final_norm=True, drop_path_rate=0.5)).double().eval()
    x = torch.randn(2, 3, 33, 47, dtype=torch.float64)
    expected = outputs(backbone, x)
    backbone.train().switch_to_deploy()
    assert_close(outputs(backbone.eval(), x), expected, 1e-9)


def test_no_size_is_baked_in(tiny, randomise):
    """Traced at one size, the deploy form is right at others: every reshape takes its numbers from the graph."""
    backbone = randomise(tiny(**EVERY_BLOCK)).eval()
    backbone.switch_to_deploy()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)
        traced = torch.jit.trace(backbone, torch.randn(1, 3, 64, 64), check_trace=False)
    for shape in [(2, 3, 96, 160), (3, 3, 64, 32)]:
        x = torch.randn(shape)
        assert_close(outputs(traced, x), outputs(backbone, x), 1e-5)


def test_the_training_network_is_untouched_by_the_switch_of_a_copy(tiny):
    backbone = tiny(final_norm=True)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    switched(backbone)
    assert all(torch.equal(backbone.state_dict()[name], value) for name, value in before.items())
