"""Backbones, one file per paper."""

from .base import PyramidBackbone
from .efficientformer import EfficientFormer
from .next_vit import NextViT
from .trt_vit import TRTViT
from .turbovit import TurboViT

__all__ = ['EfficientFormer', 'NextViT', 'PyramidBackbone', 'TRTViT', 'TurboViT']
