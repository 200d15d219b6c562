"""ResNet's names, and those of TRT-ViT-D, whose first three stages have the bottlenecks and widths of ResNet.

No weights of TRT-ViT are published. With those of a ResNet the stem and the first three stages need not start anew:
blocks beyond ResNet's begin as identities (the last norm of their residual branch is 0), so with a ResNet-50 the maps
of these stages are ResNet's. ResNet-101 and -152 have more blocks in the third stage than TRT-ViT-D: the last ones are
left out, and the map of that stage is near ResNet's, but not the same.

torchvision, timm, mmdet and mmpretrain use the same names.
"""

import re
from collections.abc import Callable, Mapping

import torch

from ..errors import CheckpointError
from ..models.backbones.trt_vit import ARCH_SETTINGS
from .names import Renamed, Rule, rename, shown

RESNETS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks of the four stages of the ResNets with bottlenecks (arXiv:1512.03385, table 1)."""

DEPTHS: tuple[int, ...] = ARCH_SETTINGS['d']['depths']
"""Blocks of the four stages of the size that has ResNet's widths."""

_LOADED_STAGES = (0, 1, 2)
_LAYER = r'(weight|bias|running_mean|running_var|num_batches_tracked)'
_NO_SUCH_STAGE = "ResNet's last stage, where TRT-ViT has MixBlocks"
_NO_SUCH_BLOCK = 'a block beyond the depth of the stage of TRT-ViT-D'
_STARTS_ANEW = 'the stage of MixBlocks, of which ResNet has none: stays as initialised'
_STARTS_AS_IDENTITY = "a block beyond the depth of ResNet's stage: begins as an identity"


def _block(stage: int, number: str) -> tuple[Rule, ...]:
    theirs, ours = rf'(?:backbone\.)?layer{stage + 1}\.{number}', rf'stages.{stage}.\1'
    return (
        Rule(rf'{theirs}\.conv(\d)\.weight', rf'{ours}.conv\2.conv.weight'),
        Rule(rf'{theirs}\.bn(\d)\.{_LAYER}', rf'{ours}.conv\2.bn.\3'),
        Rule(rf'{theirs}\.downsample\.0\.weight', rf'{ours}.shortcut.conv.weight'),
        Rule(rf'{theirs}\.downsample\.1\.{_LAYER}', rf'{ours}.shortcut.bn.\2'),
    )


def _stage(stage: int) -> tuple[Rule, ...]:
    numbers = '|'.join(map(str, range(DEPTHS[stage])))
    beyond = Rule(rf'(?:backbone\.)?layer{stage + 1}\.(?!(?:{numbers})\.)\d+\..*', None, _NO_SUCH_BLOCK)
    return (*_block(stage, f'({numbers})'), beyond)


RULES: tuple[Rule, ...] = (
    Rule(r'(?:backbone\.)?conv1\.weight', r'stem.0.conv.weight'),
    Rule(rf'(?:backbone\.)?bn1\.{_LAYER}', r'stem.0.bn.\1'),
    *(rule for stage in _LOADED_STAGES for rule in _stage(stage)),
    Rule(r'(?:backbone\.)?layer4\..*', None, _NO_SUCH_STAGE),
    Rule(r'(?:head\.)?fc\.\w+', None, 'the classifier'),
)
"""Names of the bottleneck ResNets in torchvision, timm, mmdet and mmpretrain."""


def _depths(weights: Mapping[str, torch.Tensor]) -> tuple[int, ...]:
    blocks = {
        match.groups() for match in (re.match(r'(?:backbone\.)?layer(\d)\.(\d+)\.', name) for name in weights) if match
    }
    return tuple(sum(stage == str(number) for stage, _ in blocks) for number in (1, 2, 3, 4))


def from_resnet(weights: Mapping[str, torch.Tensor], source: str = 'The checkpoint') -> Renamed:
    """Weights of a ResNet-50, -101 or -152 under our names; errors as :func:`mmtrtvit.weights.rename`.

    Raises:
        CheckpointError: If the blocks are not those of one of these, or a tensor of a block is missing.
    """
    depths = _depths(weights)
    if depths not in RESNETS.values():
        raise CheckpointError(
            f'{source} has {", ".join(map(str, depths))} blocks in its stages.',
            expected='; '.join(f'{", ".join(map(str, blocks))} (ResNet-{name})' for name, blocks in RESNETS.items()),
            fix='give the weights of one of these, complete',
        )
    renamed = rename(weights, RULES, source)
    layers = ('conv1', 'conv2', 'conv3')
    expected = {
        f'stages.{stage}.{block}.{layer}.{name}'
        for stage in _LOADED_STAGES
        for block in range(min(depths[stage], DEPTHS[stage]))
        for layer in (*layers, *(['shortcut'] if block == 0 else []))
        for name in ('conv.weight', 'bn.weight', 'bn.bias', 'bn.running_mean', 'bn.running_var')
    }
    missing = sorted(expected - renamed.weights.keys())
    if missing:
        raise CheckpointError(
            f'{source}: {shown(missing)} (as they are named here) are missing.',
            expected='every tensor of the stem and the first three stages',
            fix='give a complete ResNet',
        )
    return renamed


def anew(name: str, given: Mapping[str, torch.Tensor]) -> str | None:
    """The reason why a tensor of TRT-ViT-D is not among the ``given`` ones of a ResNet; ``None``: it has to be."""
    if name.startswith('stages.3.'):
        return _STARTS_ANEW
    block = re.match(r'stages\.\d+\.\d+\.', name)
    if block and not any(other.startswith(block[0]) for other in given):
        return _STARTS_AS_IDENTITY
    return None


SOURCES: dict[str, Callable[..., Renamed]] = {'resnet': from_resnet}
"""Renaming by the name of the implementation."""
