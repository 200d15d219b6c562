"""How much of a padded input is image, found inside the graph.

mmdet pads images at the right and at the bottom and clips boxes to the image, not to the padding. An exported graph has
one input, the padded batch, and mmdeploy clips to its border instead: boxes near the border come out different from
PyTorch's. But the padding is recognisable: it is exactly 0 in all channels, and no pixel is when the mean that was
subtracted is no whole number.
"""

import torch
import torch.nn as nn
from torch import Tensor

IMAGE_EXTENT = 'image_extent'
"""Where the extent is handed on, in the meta information of the data samples."""


def padding_is_recognisable(preprocessor: nn.Module) -> bool:
    """Whether no 8-bit pixel becomes 0 in every channel, so that what is 0 must be padding."""
    mean = getattr(preprocessor, 'mean', None)
    return (
        mean is not None and float(getattr(preprocessor, 'pad_value', 0)) == 0.0 and bool((mean != mean.round()).any())
    )


def _last_used(used: Tensor) -> Tensor:
    """Number of the last true entry, counted from 1: ``(B, L) -> (B,)`` float."""
    number = torch.arange(1, used.shape[1] + 1, device=used.device, dtype=torch.float32)
    return (used.to(torch.float32) * number).amax(dim=1)


def image_extent(batch: Tensor, preprocessor: nn.Module) -> Tensor:
    """Height and width of the image in each padded input.

    Args:
        batch: ``(B, C, H, W)``, normalised and padded with zeros at the right and at the bottom.
        preprocessor: What normalised it.

    Returns:
        ``(B, 4)`` float: width, height, width, height, as boxes are clipped by them. Those of the whole input
        where padding cannot be told from black pixels.
    """
    if padding_is_recognisable(preprocessor):
        used = batch.abs().amax(dim=1)
    else:
        used = torch.ones_like(batch[:, 0])
    height, width = _last_used(used.amax(dim=2) > 0), _last_used(used.amax(dim=1) > 0)
    return torch.stack([width, height, width, height], dim=1)


def clip_boxes(boxes: Tensor, extent: Tensor) -> Tensor:
    """Clip boxes ``(B, N, 4)`` to the image ``extent`` ``(B, 4)``."""
    return torch.minimum(boxes.clamp(min=0), extent.unsqueeze(1))
