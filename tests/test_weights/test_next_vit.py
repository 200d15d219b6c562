"""Next-ViT's names elsewhere, spelled out a second time from the other side."""

import pytest
import torch

from mmtrtvit.errors import CheckpointError
from mmtrtvit.models import NextViT
from mmtrtvit.models.backbones.next_vit import ARCH_SETTINGS
from mmtrtvit.weights.next_vit import SOURCES, from_official, from_timm

# Tensors of a layer in timm and the official code.
CONV, LINEAR = ('weight',), ('weight', 'bias')
NORM = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
EMBEDDING = {'patch_embed.conv': CONV, 'patch_embed.norm': NORM}
MHCA = {'mhca.group_conv3x3': CONV, 'mhca.norm': NORM, 'mhca.projection': CONV}
KINDS = {
    'C': {**MHCA, 'norm': NORM},
    'T': {
        **{f'e_mhsa.{name}': LINEAR for name in ('q', 'k', 'v', 'proj')},
        **{'norm1': NORM, 'norm2': NORM, 'projection.conv': CONV, 'projection.norm': NORM},
        **MHCA,
    },
}
MLPS = {'timm': {'mlp.fc1': LINEAR, 'mlp.fc2': LINEAR}, 'official': {'mlp.conv1': LINEAR, 'mlp.conv2': LINEAR}}
HEADS = {'timm': 'head.fc', 'official': 'proj_head.0'}


def names_elsewhere(source, arch):
    """Every name of a classifier, in the order in which the code defines them."""
    settings = ARCH_SETTINGS[arch]
    layers = {}
    for index in range(4):
        layers |= {f'stem.{index}.conv': CONV, f'stem.{index}.norm': NORM}
    count, before = 0, 64
    for stage, letters in enumerate(settings['block_types']):
        letters = letters * settings['depths'][stage] if len(letters) == 1 else letters
        for block, letter in enumerate(letters):
            width = settings['widths' if letter == 'C' else 'ntb_widths'][stage]
            within = width if letter == 'C' else width * 3 // 4
            parts = {**KINDS[letter], **MLPS[source]}
            if before != within or stage and not block:
                parts |= EMBEDDING
            if letter == 'T' and stage < 3:
                parts['e_mhsa.norm'] = NORM
            place = f'stages.{stage}.blocks.{block}' if source == 'timm' else f'features.{count}'
            layers |= {f'{place}.{name}': tensors for name, tensors in parts.items()}
            count, before = count + 1, width
    layers |= {'norm': NORM, HEADS[source]: LINEAR}
    return [f'{layer}.{name}' for layer, tensors in layers.items() for name in tensors]


@pytest.mark.parametrize('source', SOURCES)
@pytest.mark.parametrize('arch', ARCH_SETTINGS)
def test_every_name_has_its_place_and_every_place_its_name(source, arch):
    with torch.device('meta'):
        ours = NextViT(arch=arch, final_norm=True).state_dict().keys()
    names = names_elsewhere(source, arch)
    given = SOURCES[source]({name: torch.tensor(index) for index, name in enumerate(names)})
    assert given.weights.keys() == ours
    assert given.mapped.keys() | given.dropped.keys() == set(names)
    assert given.dropped == {f'{HEADS[source]}.{name}': 'the classifier' for name in LINEAR}
    for old, new in given.mapped.items():
        assert given.weights[new] == names.index(old)


@pytest.mark.parametrize(
    ('source', 'old', 'new'),
    [
        ('timm', 'stem.3.norm.running_var', 'stem.3.bn.running_var'),
        ('timm', 'stages.0.blocks.0.patch_embed.conv.weight', 'stages.0.0.patch_embed.0.conv.weight'),
        ('timm', 'stages.2.blocks.0.patch_embed.norm.bias', 'stages.2.0.patch_embed.1.bn.bias'),
        ('timm', 'stages.2.blocks.4.e_mhsa.norm.weight', 'stages.2.4.attn.kv_norm.weight'),
        ('timm', 'stages.2.blocks.4.norm1.weight', 'stages.2.4.attn.norm.weight'),
        ('timm', 'stages.2.blocks.4.norm2.weight', 'stages.2.4.mlp.norm.weight'),
        ('timm', 'stages.2.blocks.3.norm.weight', 'stages.2.3.mlp.norm.weight'),
        ('timm', 'norm.running_mean', 'final_norm.running_mean'),
        ('official', 'features.6.e_mhsa.k.weight', 'stages.1.3.attn.k.weight'),
        ('official', 'features.7.patch_embed.conv.weight', 'stages.2.0.patch_embed.1.conv.weight'),
        ('official', 'features.19.mlp.conv2.bias', 'stages.3.2.mlp.fc2.bias'),
        ('official', 'features.19.projection.norm.weight', 'stages.3.2.proj.0.bn.weight'),
    ],
)
def test_names_that_are_easily_confused(source, old, new):
    names = names_elsewhere(source, 's')
    assert SOURCES[source](dict.fromkeys(names, torch.zeros(1))).mapped[old] == new


def test_what_is_no_next_vit_is_refused():
    weights = dict.fromkeys(names_elsewhere('official', 's'), torch.zeros(1))
    with pytest.raises(CheckpointError, match=r'x\.pth: unknown names: features\.0\.'):
        from_timm(weights, 'x.pth')
    with pytest.raises(CheckpointError, match='unknown names: features.3.extra.weight'):
        from_official({**weights, 'features.3.extra.weight': torch.zeros(1)}, 'x.pth')
    with pytest.raises(CheckpointError, match='21 blocks'):
        from_official({**weights, 'features.20.norm.weight': torch.zeros(1)}, 'x.pth')
    with pytest.raises(CheckpointError, match='0 blocks'):
        from_official({'layer1.0.conv1.weight': torch.zeros(1)}, 'x.pth')
