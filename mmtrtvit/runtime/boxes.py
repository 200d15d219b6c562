"""Boxes, as corners ``x1, y1, x2, y2``."""

import numpy as np


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union.

    Args:
        boxes: ``(4,)`` or ``(N, 4)``.
        others: ``(M, 4)``.

    Returns:
        ``(M,)`` or ``(N, M)``, 0 where boxes have no area or are not finite.
    """
    boxes, others = boxes[..., None, :].astype(np.float64), others.astype(np.float64)
    with np.errstate(invalid='ignore'):
        sides = np.minimum(boxes[..., 2:], others[:, 2:]) - np.maximum(boxes[..., :2], others[:, :2])
        shared = np.clip(sides, 0, None).prod(-1)
        areas = [np.clip(corners[..., 2:] - corners[..., :2], 0, None).prod(-1) for corners in (boxes, others)]
        return np.nan_to_num(shared / np.maximum(areas[0] + areas[1] - shared, 1e-9), nan=0.0)
