"""A label map over an image."""

from collections.abc import Mapping

import numpy as np
from mmengine.structures import PixelData

ALPHA = 0.6
"""Opacity of the colours; pixels without a class (255) are darkened by as much."""


def classes_in(labels: PixelData, metainfo: Mapping) -> list[int]:
    """Classes that a label map shows, of those that the data set has."""
    return [label for label in np.unique(labels.data.cpu().numpy()).tolist() if label < len(metainfo['classes'])]


def has_ignored(labels: PixelData, metainfo: Mapping) -> bool:
    """True if some pixels of a label map have no class."""
    return bool((labels.data >= len(metainfo['classes'])).any())


def draw_label_map(image: np.ndarray, labels: PixelData, metainfo: Mapping) -> np.ndarray:
    """Colour an image by the class of each pixel.

    Args:
        image: RGB ``(H, W, 3)`` uint8.
        labels: ``data`` of shape ``(1, H, W)``, integers.
        metainfo: ``classes`` and ``palette`` of the data set.

    Returns:
        The picture, RGB ``(H, W, 3)`` uint8.
    """
    black = len(metainfo['classes'])
    colours = np.array([*metainfo['palette'], (0, 0, 0)])
    classes = np.minimum(labels.data[0].cpu().numpy(), black)
    return ((1 - ALPHA) * image + ALPHA * colours[classes]).astype(np.uint8)
