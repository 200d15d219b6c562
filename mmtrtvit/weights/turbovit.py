"""Names of Hiera's tensors in timm, and their names in TurboViT, which has the same building blocks.

No weights of TurboViT are published. With Hiera's own arch (``widths=(96, 192, 384, 768)``, ``depths=(1, 2, 7, 2)``,
``heads=(1, 2, 4, 8)``, ``mask_units=(8, 4, 0, 0)`` is its tiny size) the class is Hiera.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import torch

from .names import Renamed, Rule, rename


def timm(places: Sequence[tuple[int, int]]) -> tuple[Rule, ...]:
    """timm's names, where the blocks of all stages are in one list.

    Args:
        places: Stage and number in the stage of each block of that list.
    """
    blocks = [(rf'blocks\.{index}', f'stages.{stage}.{block}') for index, (stage, block) in enumerate(places)]
    return (
        Rule(r'patch_embed\.proj\.(\w+)', r'stem.conv.\1'),
        Rule(r'pos_embed', r'stem.position'),
        *(Rule(rf'{theirs}\.(norm[12]|attn\.qkv|attn\.proj)\.(\w+)', rf'{ours}.\1.\2') for theirs, ours in blocks),
        *(Rule(rf'{theirs}\.proj\.(\w+)', rf'{ours}.shortcut.\1') for theirs, ours in blocks),
        *(Rule(rf'{theirs}\.mlp\.fc1\.(\w+)', rf'{ours}.mlp.0.\1') for theirs, ours in blocks),
        *(Rule(rf'{theirs}\.mlp\.fc2\.(\w+)', rf'{ours}.mlp.2.\1') for theirs, ours in blocks),
        Rule(r'head\.(fc|norm)\.\w+', None, 'the classifier, with its norm, which there follows the pooling'),
    )


def from_timm(weights: Mapping[str, torch.Tensor], source: str = 'The checkpoint') -> Renamed:
    """Weights of timm's ``hiera_*`` under our names; errors as :func:`mmtrtvit.weights.rename`."""
    places: list[tuple[int, int]] = []
    numbers = {int(match[1]) for match in (re.match(r'blocks\.(\d+)\.', name) for name in weights) if match}
    for block in sorted(numbers):
        stage, number = places[-1] if places else (0, -1)
        # A stage begins with the block whose shortcut is a projection.
        begins = f'blocks.{block}.proj.weight' in weights
        places.append((stage + 1, 0) if begins else (stage, number + 1))
    return rename(weights, timm(places), source)


SOURCES: dict[str, Callable[..., Renamed]] = {'timm': from_timm}
"""Renaming by the name of the implementation."""
