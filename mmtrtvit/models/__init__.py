"""Backbones and their layers."""

from .. import environment

environment.require()

from .backbones import EfficientFormer, NextViT, PyramidBackbone, TRTViT, TurboViT

__all__ = ['EfficientFormer', 'NextViT', 'PyramidBackbone', 'TRTViT', 'TurboViT']
