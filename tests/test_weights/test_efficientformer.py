"""EfficientFormer's names elsewhere, spelled out a second time from the other side."""

import pytest
import torch

from mmtrtvit.errors import CheckpointError
from mmtrtvit.models import EfficientFormer
from mmtrtvit.models.backbones.efficientformer import ARCH_SETTINGS
from mmtrtvit.weights.efficientformer import SOURCES

LAYER = ('weight', 'bias')
NORM = (*LAYER, 'running_mean', 'running_var', 'num_batches_tracked')
POOLING = {'mlp.fc1': LAYER, 'mlp.norm1': NORM, 'mlp.fc2': LAYER, 'mlp.norm2': NORM}
ATTENTION = {
    'norm1': LAYER,
    'norm2': LAYER,
    'mlp.fc1': LAYER,
    'mlp.fc2': LAYER,
    'token_mixer': ('attention_biases', 'attention_bias_idxs'),
    'token_mixer.qkv': LAYER,
    'token_mixer.proj': LAYER,
}
SCALES = {
    'timm': ('ls1.gamma', 'ls2.gamma'),
    'official': ('layer_scale_1', 'layer_scale_2'),
    'mmpretrain': ('ls1.weight', 'ls2.weight'),
}
STEMS = {
    'timm': ('stem.conv1', 'stem.norm1', 'stem.conv2', 'stem.norm2'),
    'official': ('patch_embed.0', 'patch_embed.1', 'patch_embed.3', 'patch_embed.4'),
    'mmpretrain': tuple(f'backbone.patch_embed.{i}.{name}' for i in (0, 1) for name in ('conv', 'bn')),
}
EMBEDDINGS = {
    'timm': ('stages.{}.downsample.conv', 'stages.{}.downsample.norm'),
    'official': ('network.{odd}.proj', 'network.{odd}.norm'),
    'mmpretrain': ('backbone.network.{}.0.conv', 'backbone.network.{}.0.bn'),
}
STAGES = {'timm': 'stages.{}.blocks', 'official': 'network.{even}', 'mmpretrain': 'backbone.network.{}'}
ENDS = {
    'timm': ('norm', 'head', 'head_dist'),
    'official': ('norm', 'head', 'dist_head'),
    'mmpretrain': ('backbone.norm3', 'head.head', 'head.dist_head'),
}


def names_elsewhere(source, arch):
    """Every name of a classifier, and what of it is no weight of ours."""
    settings = ARCH_SETTINGS[arch]
    layers = dict(zip(STEMS[source], (LAYER, NORM) * 2, strict=True))
    single = []
    for stage, (depth, with_attention) in enumerate(zip(settings['depths'], settings['attention_blocks'], strict=True)):
        numbers = dict(odd=2 * stage - 1, even=2 * stage)
        if stage:
            layers |= dict(
                zip((name.format(stage, **numbers) for name in EMBEDDINGS[source]), (LAYER, NORM), strict=True)
            )
        # A module that flattens the map stands before the first block with attention; mmpretrain's stages begin with
        # the layer that halves the resolution.
        position = 1 if source == 'mmpretrain' and stage else 0
        for block in range(depth):
            attends = block >= depth - with_attention
            position += with_attention > 0 and block == depth - with_attention
            place = f'{STAGES[source].format(stage, **numbers)}.{position}'
            layers |= {f'{place}.{name}': tensors for name, tensors in (ATTENTION if attends else POOLING).items()}
            single += [f'{place}.{name}' for name in SCALES[source]]
            position += 1
    norm, *heads = ENDS[source]
    layers |= {norm: LAYER, **dict.fromkeys(heads, LAYER)}
    names = [f'{layer}.{name}' for layer, tensors in layers.items() for name in tensors] + single
    dropped = {f'{head}.{name}' for head in heads for name in LAYER}
    return names, dropped | {name for name in names if name.endswith('attention_bias_idxs')}


@pytest.mark.parametrize('source', SOURCES)
@pytest.mark.parametrize('arch', ARCH_SETTINGS)
def test_every_name_has_its_place_and_every_place_its_name(source, arch):
    with torch.device('meta'):
        ours = EfficientFormer(arch=arch, final_norm=True).state_dict().keys()
    names, dropped = names_elsewhere(source, arch)
    given = SOURCES[source]({name: torch.tensor(index) for index, name in enumerate(names)})
    assert given.weights.keys() == ours
    assert given.mapped.keys() | given.dropped.keys() == set(names)
    assert given.dropped.keys() == dropped and all(given.dropped.values())
    for old, new in given.mapped.items():
        assert given.weights[new] == names.index(old)


@pytest.mark.parametrize(
    ('source', 'old', 'new'),
    [
        ('timm', 'stem.norm2.running_var', 'stem.1.bn.running_var'),
        ('timm', 'stages.3.downsample.norm.bias', 'stages.3.0.embedding.bn.bias'),
        # L1's last stage: three blocks, what flattens the map (number 3), one block with attention.
        ('timm', 'stages.3.blocks.2.mlp.fc2.weight', 'stages.3.2.mlp.1.conv.weight'),
        ('timm', 'stages.3.blocks.4.mlp.fc2.weight', 'stages.3.3.mlp.2.weight'),
        ('timm', 'stages.3.blocks.4.norm1.weight', 'stages.3.3.norm1.weight'),
        ('timm', 'stages.3.blocks.4.ls1.gamma', 'stages.3.3.scale1.gamma'),
        ('timm', 'stages.2.blocks.4.mlp.norm1.running_mean', 'stages.2.4.mlp.0.bn.running_mean'),
        ('timm', 'norm.weight', 'final_norm.weight'),
        ('official', 'network.6.4.token_mixer.attention_biases', 'stages.3.3.attn.attention_biases'),
        ('official', 'network.5.proj.weight', 'stages.3.0.embedding.conv.weight'),
        ('official', 'network.2.1.layer_scale_2', 'stages.1.1.scale2.gamma'),
        ('mmpretrain', 'backbone.network.3.5.token_mixer.qkv.bias', 'stages.3.3.attn.qkv.bias'),
        ('mmpretrain', 'backbone.network.3.1.ls2.weight', 'stages.3.0.scale2.gamma'),
        ('mmpretrain', 'backbone.network.0.1.ls2.weight', 'stages.0.1.scale2.gamma'),
        ('mmpretrain', 'backbone.network.1.0.bn.weight', 'stages.1.0.embedding.bn.weight'),
    ],
)
def test_names_that_are_easily_confused(source, old, new):
    names, _ = names_elsewhere(source, 'l1')
    assert SOURCES[source](dict.fromkeys(names, torch.zeros(1))).mapped[old] == new


def test_a_backbone_of_mmpretrain_without_its_head():
    names, _ = names_elsewhere('mmpretrain', 'l3')
    alone = [name.removeprefix('backbone.') for name in names if name.startswith('backbone.')]
    with torch.device('meta'):
        ours = EfficientFormer(arch='l3', final_norm=True).state_dict().keys()
    assert SOURCES['mmpretrain'](dict.fromkeys(alone, torch.zeros(1))).weights.keys() == ours


def test_what_is_no_efficientformer_is_refused():
    names, _ = names_elsewhere('official', 'l1')
    weights = dict.fromkeys(names, torch.zeros(1))
    with pytest.raises(CheckpointError, match=r'x\.pth: unknown names: patch_embed\.0\.'):
        SOURCES['timm'](weights, 'x.pth')
    with pytest.raises(CheckpointError, match=r'x\.pth: unknown names: '):
        SOURCES['mmpretrain'](weights, 'x.pth')
    for extra in ('network.6.4.extra.weight', 'network.7.proj.weight', 'norm0.weight'):
        with pytest.raises(CheckpointError, match='unknown names'):
            SOURCES['official']({**weights, extra: torch.zeros(1)}, 'x.pth')
