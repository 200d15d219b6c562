"""What a network is made of."""

from .backbones import PyramidBackbone, TRTViT

__all__ = ['PyramidBackbone', 'TRTViT']
