"""Names of Next-ViT's tensors in timm and in the official code, and their names here."""

import re
from collections.abc import Callable, Mapping, Sequence

import torch

from ..errors import CheckpointError
from ..models.backbones.next_vit import ARCH_SETTINGS
from .names import Renamed, Rule, rename

_BLOCK = r'stages\.(\d+)\.blocks\.(\d+)'

TIMM: tuple[Rule, ...] = (
    Rule(r'stem\.(\d+)\.conv\.(\w+)', r'stem.\1.conv.\2'),
    Rule(r'stem\.(\d+)\.norm\.(\w+)', r'stem.\1.bn.\2'),
    # The average that halves the resolution stands before the convolution.
    Rule(r'stages\.([1-3])\.blocks\.0\.patch_embed\.conv\.(\w+)', r'stages.\1.0.patch_embed.1.conv.\2'),
    Rule(r'stages\.([1-3])\.blocks\.0\.patch_embed\.norm\.(\w+)', r'stages.\1.0.patch_embed.1.bn.\2'),
    Rule(rf'{_BLOCK}\.patch_embed\.conv\.(\w+)', r'stages.\1.\2.patch_embed.0.conv.\3'),
    Rule(rf'{_BLOCK}\.patch_embed\.norm\.(\w+)', r'stages.\1.\2.patch_embed.0.bn.\3'),
    Rule(rf'{_BLOCK}\.mhca\.group_conv3x3\.(\w+)', r'stages.\1.\2.mhca.0.conv.\3'),
    Rule(rf'{_BLOCK}\.mhca\.norm\.(\w+)', r'stages.\1.\2.mhca.0.bn.\3'),
    Rule(rf'{_BLOCK}\.mhca\.projection\.(\w+)', r'stages.\1.\2.mhca.1.\3'),
    Rule(rf'{_BLOCK}\.norm1\.(\w+)', r'stages.\1.\2.attn.norm.\3'),
    Rule(rf'{_BLOCK}\.e_mhsa\.(q|k|v|proj)\.(\w+)', r'stages.\1.\2.attn.\3.\4'),
    Rule(rf'{_BLOCK}\.e_mhsa\.norm\.(\w+)', r'stages.\1.\2.attn.kv_norm.\3'),
    Rule(rf'{_BLOCK}\.projection\.conv\.(\w+)', r'stages.\1.\2.proj.0.conv.\3'),
    Rule(rf'{_BLOCK}\.projection\.norm\.(\w+)', r'stages.\1.\2.proj.0.bn.\3'),
    Rule(rf'{_BLOCK}\.norm2?\.(\w+)', r'stages.\1.\2.mlp.norm.\3'),
    Rule(rf'{_BLOCK}\.mlp\.(fc1|fc2)\.(\w+)', r'stages.\1.\2.mlp.\3.\4'),
    Rule(r'norm\.(\w+)', r'final_norm.\1'),
    Rule(r'head\.fc\.\w+', None, 'the classifier'),
)
"""timm's names. Its fourth stage's norm belongs to the classifier: ``NextViT(final_norm=True)`` has a place for it."""


def timm_name(name: str, depths: Sequence[int]) -> str:
    """timm's name of a tensor of the official classifier, whose blocks are in one list.

    Args:
        name: The official name. One that the official code does not use comes back as it is, or nearly so.
        depths: Number of blocks in each stage.
    """
    places = [f'stages.{stage}.blocks.{block}.' for stage, depth in enumerate(depths) for block in range(depth)]
    name = re.sub(r'^features\.(\d+)\.', lambda match: places[int(match[1])], name)
    name = re.sub(r'\.mlp\.conv([12])\.', r'.mlp.fc\1.', name)
    return re.sub(r'^proj_head\.0\.', 'head.fc.', name)


def from_timm(weights: Mapping[str, torch.Tensor], source: str = 'The checkpoint') -> Renamed:
    """Weights of timm's ``nextvit_*`` under our names; errors as :func:`mmtrtvit.weights.rename`."""
    return rename(weights, TIMM, source)


def from_official(weights: Mapping[str, torch.Tensor], source: str = 'The checkpoint') -> Renamed:
    """Weights of the official classifier under our names.

    Raises:
        CheckpointError: If its number of blocks fits no size, or as :func:`mmtrtvit.weights.rename`.
    """
    blocks = {name.split('.')[1] for name in weights if name.startswith('features.')}
    sizes = {sum(settings['depths']): settings['depths'] for settings in ARCH_SETTINGS.values()}
    depths = sizes.get(len(blocks))
    if depths is None or blocks != {str(index) for index in range(sum(depths))}:
        raise CheckpointError(
            f'{source}: {len(blocks)} blocks named features.*.',
            expected=f'{", ".join(map(str, sizes))} of them, for the sizes {", ".join(ARCH_SETTINGS)}',
            fix='name the family and the implementation that the file is of',
        )
    return rename(weights, TIMM, source, known_as=lambda name: timm_name(name, depths))


SOURCES: dict[str, Callable[..., Renamed]] = {'timm': from_timm, 'official': from_official}
"""Renaming by the name of the implementation."""
