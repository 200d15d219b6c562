"""Names of EfficientFormer's tensors in timm, the official code and mmpretrain, and their names here.

Tensors keep their values and shapes. All three put a layer without tensors, which flattens the map, before the first
block with attention and count it among the blocks: from there on a block's number is one less here.
"""

import re
from collections.abc import Callable, Iterable, Mapping

import torch

from .names import Renamed, Rule, rename

_BLOCK = r'stages\.(\d+)\.blocks\.(\d+)'

_LAYERS = (('conv', 'conv'), ('norm', 'bn'))
"""timm's name and ours for a convolution and the norm after it."""

_MOST_BLOCKS = 20
"""Upper bound of the blocks in a stage of any published size."""


def _attention_blocks(names: Iterable[str], stage: str) -> list[int]:
    """Numbers of the blocks with attention in the last stage, ``stage`` being the pattern of its name."""
    found = (re.fullmatch(rf'{stage}\.(\d+)\.token_mixer\.qkv\.weight', name) for name in names)
    return sorted(int(match[1]) for match in found if match)


def timm(attention_blocks: Iterable[int]) -> tuple[Rule, ...]:
    """timm's names.

    Args:
        attention_blocks: Numbers that the blocks with attention have in timm's last stage.

    ``norm`` belongs to the classifier: ``EfficientFormer(final_norm=True)`` has a place for it. The norms on the maps
    of dense prediction are in no classifier, and new in the authors' code too.
    """
    blocks = [(rf'stages\.3\.blocks\.{block}', f'stages.3.{block - 1}') for block in attention_blocks]
    return (
        *(Rule(rf'stem\.{kind}{i + 1}\.(\w+)', rf'stem.{i}.{ours}.\1') for i in (0, 1) for kind, ours in _LAYERS),
        *(
            Rule(rf'stages\.(\d+)\.downsample\.{kind}\.(\w+)', rf'stages.\1.0.embedding.{ours}.\2')
            for kind, ours in _LAYERS
        ),
        *(Rule(rf'{theirs}\.norm([12])\.(\w+)', rf'{ours}.norm\1.\2') for theirs, ours in blocks),
        *(Rule(rf'{theirs}\.mlp\.fc1\.(\w+)', rf'{ours}.mlp.0.\1') for theirs, ours in blocks),
        *(Rule(rf'{theirs}\.mlp\.fc2\.(\w+)', rf'{ours}.mlp.2.\1') for theirs, ours in blocks),
        *(Rule(rf'{theirs}\.ls([12])\.gamma', rf'{ours}.scale\1.gamma') for theirs, ours in blocks),
        *(
            Rule(rf'{theirs}\.token_mixer\.attention_biases', f'{ours}.attn.attention_biases')
            for theirs, ours in blocks
        ),
        *(Rule(rf'{theirs}\.token_mixer\.(qkv|proj)\.(\w+)', rf'{ours}.attn.\1.\2') for theirs, ours in blocks),
        Rule(
            rf'{_BLOCK}\.token_mixer\.attention_bias_idxs', None, 'offsets between pixels, computed for each input size'
        ),
        *(
            Rule(rf'{_BLOCK}\.mlp\.{kind}{i + 1}\.(\w+)', rf'stages.\1.\2.mlp.{i}.{ours}.\3')
            for i in (0, 1)
            for kind, ours in (('fc', 'conv'), ('norm', 'bn'))
        ),
        Rule(rf'{_BLOCK}\.ls([12])\.gamma', r'stages.\1.\2.scale\3.gamma'),
        Rule(r'norm\.(\w+)', r'final_norm.\1'),
        Rule(r'(head|head_dist)\.\w+', None, 'the classifier'),
    )


OFFICIAL: tuple[Rule, ...] = (
    *(
        Rule(rf'patch_embed\.{index}\.(\w+)', rf'stem.{name}.\1')
        for index, name in ((0, 'conv1'), (1, 'norm1'), (3, 'conv2'), (4, 'norm2'))
    ),
    *(Rule(rf'network\.{2 * i}\.(\d+)\.layer_scale_([12])', rf'stages.{i}.blocks.\1.ls\2.gamma') for i in range(4)),
    *(Rule(rf'network\.{2 * i}\.(\d+)\.(.+)', rf'stages.{i}.blocks.\1.\2') for i in range(4)),
    *(Rule(rf'network\.{2 * i - 1}\.proj\.(\w+)', rf'stages.{i}.downsample.conv.\1') for i in (1, 2, 3)),
    *(Rule(rf'network\.{2 * i - 1}\.norm\.(\w+)', rf'stages.{i}.downsample.norm.\1') for i in (1, 2, 3)),
    Rule(r'(norm|head)\.(\w+)', r'\1.\2'),
    Rule(r'dist_head\.(\w+)', r'head_dist.\1'),
)
"""The official classifier's names as timm's: there the layers that halve the resolution are stages of their own."""

_STAGE = r'(?:backbone\.)?network'

MMPRETRAIN: tuple[Rule, ...] = (
    *(
        Rule(rf'(?:backbone\.)?patch_embed\.{i}\.{theirs}\.(\w+)', rf'stem.{name}{i + 1}.\1')
        for i in (0, 1)
        for name, theirs in _LAYERS
    ),
    *(Rule(rf'{_STAGE}\.([1-3])\.0\.{theirs}\.(\w+)', rf'stages.\1.downsample.{name}.\2') for name, theirs in _LAYERS),
    *(
        Rule(rf'{_STAGE}\.{stages}\.{block + shift}\.{theirs}', rf'stages.\1.blocks.{block}.{ours}')
        # The layer that halves the resolution is the first of its stage.
        for stages, shift in ((r'(0)', 0), (r'([1-3])', 1))
        for block in range(_MOST_BLOCKS)
        for theirs, ours in ((r'ls([12])\.weight', r'ls\2.gamma'), (r'(.+)', r'\2'))
    ),
    Rule(r'(?:backbone\.)?norm3\.(\w+)', r'norm.\1'),
    Rule(r'(?:head\.)?head\.(\w+)', r'head.\1'),
    Rule(r'(?:head\.)?dist_head\.(\w+)', r'head_dist.\1'),
)
"""mmpretrain's names as timm's, of a classifier or of its backbone alone."""


def from_timm(weights: Mapping[str, torch.Tensor], source: str = 'The checkpoint') -> Renamed:
    """Weights of timm's ``efficientformer_*`` under our names; errors as :func:`mmtrtvit.weights.rename`."""
    return rename(weights, timm(_attention_blocks(weights, r'stages\.3\.blocks')), source)


def _by_way_of_timm(rules: tuple[Rule, ...]) -> Callable[..., Renamed]:
    def convert(weights: Mapping[str, torch.Tensor], source: str = 'The checkpoint') -> Renamed:
        as_timm = rename(weights, rules, source)
        ours = from_timm(as_timm.weights, source)
        return Renamed(
            weights=ours.weights,
            mapped={old: ours.mapped[name] for old, name in as_timm.mapped.items() if name in ours.mapped},
            dropped={old: ours.dropped[name] for old, name in as_timm.mapped.items() if name in ours.dropped},
        )

    return convert


SOURCES: dict[str, Callable[..., Renamed]] = {
    'timm': from_timm,
    'official': _by_way_of_timm(OFFICIAL),
    'mmpretrain': _by_way_of_timm(MMPRETRAIN),
}
"""Renaming by the name of the implementation."""
