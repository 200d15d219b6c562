"""Upsampling by a factor, for every input size."""

import torch
import torch.nn.functional as F

from .registration import rewrites


@rewrites('mmseg.models.utils.Upsample.forward')
def upsample(self, x: torch.Tensor) -> torch.Tensor:
    """mmseg's ``Upsample`` for every input size. The original would record the size of the traced image as a constant.

    Semantic FPN resizes the result to its finest level, so a wrong size goes unnoticed but the values differ.

    Shape:
        ``(B, C, H, W) -> (B, C, floor(H * scale_factor), floor(W * scale_factor))``, or ``size`` if it is given.
    """
    if self.size:
        return F.interpolate(x, self.size, None, self.mode, self.align_corners)
    return F.interpolate(x, None, self.scale_factor, self.mode, self.align_corners, recompute_scale_factor=True)
