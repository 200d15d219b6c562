"""Size of the image in a padded input, computed inside the graph.

mmdet pads images at the right and at the bottom and clips boxes to the image, not to the padding. An exported graph has
only the padded batch as input, and mmdeploy clips to its border instead, so boxes near the border differ from
PyTorch's.
The padding can be recognised, however: it is exactly 0 in all channels, which no pixel is if the mean that was
subtracted is not a whole number.
"""

import torch
import torch.nn as nn
from torch import Tensor

IMAGE_EXTENT = 'image_extent'
"""Key of the extent in the meta information of the data samples."""


def padding_is_recognisable(preprocessor: nn.Module) -> bool:
    """True if no 8-bit pixel becomes 0 in every channel, so that zeros must be padding."""
    mean = getattr(preprocessor, 'mean', None)
    return (
        mean is not None and float(getattr(preprocessor, 'pad_value', 0)) == 0.0 and bool((mean != mean.round()).any())
    )


def _last_used(used: Tensor) -> Tensor:
    """Index of the last true entry, counted from 1: ``(B, L) -> (B,)`` float."""
    number = torch.arange(1, used.shape[1] + 1, device=used.device, dtype=torch.float32)
    return (used.to(torch.float32) * number).amax(dim=1)


def image_extent(batch: Tensor, preprocessor: nn.Module) -> Tensor:
    """Height and width of the image in each padded input.

    Args:
        batch: ``(B, C, H, W)``, normalised and padded with zeros at the right and at the bottom.
        preprocessor: The data preprocessor that normalised it.

    Returns:
        ``(B, 4)`` float: width, height, width, height, ready for clipping boxes. The whole input if padding cannot be
        told from black pixels.
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
