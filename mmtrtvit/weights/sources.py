"""The implementations and networks whose checkpoints can be converted, and how to tell them apart."""

import dataclasses
from collections.abc import Callable, Mapping

import torch

from ..models import EfficientFormer, NextViT, PyramidBackbone, TRTViT, TurboViT
from . import efficientformer, next_vit, resnet, turbovit
from .names import Renamed


@dataclasses.dataclass(frozen=True)
class Source:
    """An implementation of a family.

    Attributes:
        rename: Renames weights to the names of this package.
        mark: Regular expression for the start of names that this implementation of this family has and no other one.
        settings: Settings of the backbone that the weights were trained with and that neither names nor shapes tell.
        anew: Gives the reason why a tensor of the backbone is not among the renamed ones, for a source that is another
            network and fills a part of the backbone; ``None`` for a tensor that has to be there. The rest stays as
            initialised.
        title: The name of that other network.
    """

    rename: Callable[..., Renamed]
    mark: str
    settings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    anew: Callable[[str, Mapping[str, torch.Tensor]], str | None] = lambda name, given: None
    title: str = ''


@dataclasses.dataclass(frozen=True)
class Convertible:
    """A family whose weights exist elsewhere.

    Attributes:
        title: Its name in messages.
        backbone: Its class.
        sources: The implementations by name.
    """

    title: str
    backbone: type[PyramidBackbone]
    sources: Mapping[str, Source]


_POOLING = {'kv_pool': 'tokens'}
"""timm's Next-ViT pools as the official code does (``AvgPool1d`` over the flattened map), and the weights it offers are
the authors' (``bd_*``). Whoever converts weights that were trained with windows says so."""

CONVERTIBLE: dict[str, Convertible] = {
    'trtvit': Convertible(
        'TRT-ViT',
        TRTViT,
        {
            'resnet': Source(
                resnet.SOURCES['resnet'], r'(backbone\.)?layer1\.0\.(conv|bn)\d\.', anew=resnet.anew, title='ResNet'
            )
        },
    ),
    'nextvit': Convertible(
        'Next-ViT',
        NextViT,
        {
            'timm': Source(next_vit.SOURCES['timm'], r'stages\.\d+\.blocks\.\d+\.mhca\.', _POOLING),
            'official': Source(next_vit.SOURCES['official'], r'features\.\d+\.mhca\.', _POOLING),
        },
    ),
    'efficientformer': Convertible(
        'EfficientFormer',
        EfficientFormer,
        {
            'timm': Source(efficientformer.SOURCES['timm'], r'stages\.\d+\.blocks\.\d+\.ls\d\.gamma'),
            'official': Source(efficientformer.SOURCES['official'], r'network\.\d+\.\d+\.layer_scale_'),
            'mmpretrain': Source(
                efficientformer.SOURCES['mmpretrain'], r'(backbone\.)?network\.\d+\.\d+\.ls\d\.weight'
            ),
        },
    ),
    'turbovit': Convertible(
        'TurboViT', TurboViT, {'timm': Source(turbovit.SOURCES['timm'], r'blocks\.\d+\.attn\.qkv\.')}
    ),
}
"""Families by their names in the names of configs."""

OURS = r'(backbone\.)?stages\.\d+\.\d+\.'
"""Start of names that only weights of this package have."""
