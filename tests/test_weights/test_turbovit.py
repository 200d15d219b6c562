"""Hiera's names in timm, spelled out a second time from the other side."""

import pytest
import torch

from mmtrtvit.errors import CheckpointError
from mmtrtvit.models import TurboViT
from mmtrtvit.weights.turbovit import from_timm

LAYER = ('weight', 'bias')
BLOCK = ('norm1', 'attn.qkv', 'attn.proj', 'norm2', 'mlp.fc1', 'mlp.fc2')


def names_elsewhere(depths):
    layers = ['patch_embed.proj', 'head.norm', 'head.fc']
    starts = [sum(depths[:stage]) for stage in range(1, len(depths))]
    layers += [f'blocks.{block}.{name}' for block in range(sum(depths)) for name in BLOCK]
    layers += [f'blocks.{block}.proj' for block in starts]
    return ['pos_embed', *(f'{layer}.{name}' for layer in layers for name in LAYER)]


@pytest.mark.parametrize('depths', [(1, 2, 7, 2), (2, 3, 16, 3), (1, 1, 1, 1)])
def test_every_name_has_its_place_and_every_place_its_name(depths):
    arch = dict(widths=(64, 128, 256, 512), depths=depths, heads=(1, 2, 4, 8), mask_units=(8, 4, 0, 0))
    with torch.device('meta'):
        ours = {name for name in TurboViT(arch=arch).state_dict() if not name.startswith('output_norms.')}
    names = names_elsewhere(depths)
    given = from_timm({name: torch.tensor(index) for index, name in enumerate(names)})
    assert given.weights.keys() == ours
    assert given.mapped.keys() | given.dropped.keys() == set(names)
    assert given.dropped.keys() == {f'head.{layer}.{name}' for layer in ('norm', 'fc') for name in LAYER}
    for old, new in given.mapped.items():
        assert given.weights[new] == names.index(old)


def test_blocks_are_counted_by_stage():
    mapped = from_timm(dict.fromkeys(names_elsewhere((1, 2, 7, 2)), torch.zeros(1))).mapped
    assert mapped['blocks.0.mlp.fc1.bias'] == 'stages.0.0.mlp.0.bias'
    assert mapped['blocks.9.mlp.fc2.weight'] == 'stages.2.6.mlp.2.weight'
    assert mapped['blocks.10.proj.weight'] == 'stages.3.0.shortcut.weight'
    assert mapped['blocks.10.attn.proj.weight'] == 'stages.3.0.attn.proj.weight'


def test_what_is_no_hiera_is_refused():
    weights = dict.fromkeys(names_elsewhere((1, 2, 7, 2)), torch.zeros(1))
    for extra in ('pos_embed_win', 'blocks.3.ls1.gamma', 'stem.0.weight'):
        with pytest.raises(CheckpointError, match=f'x.pth: unknown names: {extra}'):
            from_timm({**weights, extra: torch.zeros(1)}, 'x.pth')
