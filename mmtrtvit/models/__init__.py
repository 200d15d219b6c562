"""Backbones and their layers. Importing this package registers every backbone that it lists."""

from .. import environment

environment.require()

from .backbones.base import PyramidBackbone
from .backbones.efficientformer import EfficientFormer
from .backbones.next_vit import NextViT
from .backbones.trt_vit import TRTViT
from .backbones.turbovit import TurboViT

__all__ = ['EfficientFormer', 'NextViT', 'PyramidBackbone', 'TRTViT', 'TurboViT']
