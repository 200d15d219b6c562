"""What a network is made of."""

from .backbones import EfficientFormer, NextViT, PyramidBackbone, TRTViT, TurboViT

__all__ = ['EfficientFormer', 'NextViT', 'PyramidBackbone', 'TRTViT', 'TurboViT']
