"""Backbones, one file per paper."""

from .base import PyramidBackbone
from .trt_vit import TRTViT

__all__ = ['PyramidBackbone', 'TRTViT']
