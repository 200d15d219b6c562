"""Greedy non-maximum suppression as the fixed point of a matrix product.

Greedy suppression goes through the boxes from the best to the worst and keeps a box unless a kept one before it
overlaps it too much. What it keeps is therefore the one set with

    keep[j] = valid[j] and not any(keep[i] and over[i, j] for i < j)

where ``over[i, j]`` says that ``i`` comes before ``j``, is of the same class, and overlaps it by more than allowed.
Putting the right-hand side into the left again and again settles box after box: after ``n`` sweeps every box is right
whose chain of suppressions is no longer than ``n``. When a sweep changes nothing, the set is the greedy one, exactly,
and :attr:`Suppression.settled` says so; how many sweeps that takes depends on the boxes, not on their number.
"""

from typing import NamedTuple

import torch
from torch import Tensor

SWEEPS = 24
"""Sweeps that a graph holds. Each is one product of a vector and a matrix."""


class Suppression(NamedTuple):
    """What is kept, and whether that is certain.

    Attributes:
        keep: ``(..., N)`` bool.
        settled: ``(...)`` bool: the last sweep changed nothing, so ``keep`` is exactly the greedy result.
    """

    keep: Tensor
    settled: Tensor


def overlaps(boxes: Tensor) -> Tensor:
    """Intersection over union of all pairs.

    Args:
        boxes: ``(..., N, 4)``, x1 y1 x2 y2.

    Returns:
        ``(..., N, N)``; the overlap of two boxes without area is not a number, which is above no threshold.
    """
    first, second = boxes.unsqueeze(-2), boxes.unsqueeze(-3)
    top_left = torch.maximum(first[..., :2], second[..., :2])
    bottom_right = torch.minimum(first[..., 2:], second[..., 2:])
    sides = (bottom_right - top_left).clamp(min=0)
    shared = sides[..., 0] * sides[..., 1]
    size = boxes[..., 2:] - boxes[..., :2]
    area = size[..., 0] * size[..., 1]
    return shared / (area.unsqueeze(-1) + area.unsqueeze(-2) - shared)


def suppress(
    boxes: Tensor, valid: Tensor, iou_threshold: float, classes: Tensor | None = None, sweeps: int = SWEEPS
) -> Suppression:
    """Greedy suppression of boxes that are sorted already.

    Args:
        boxes: ``(..., N, 4)``, x1 y1 x2 y2, the best first.
        valid: ``(..., N)`` bool: which of them take part.
        iou_threshold: A box is suppressed by a better one that overlaps it by more than this.
        classes: ``(..., N)``; boxes of different classes leave each other alone. ``None`` for a single class.
        sweeps: How often to go over the boxes.

    Returns:
        What is kept, and for which of the leading dimensions it is exact.
    """
    over = overlaps(boxes) > iou_threshold
    if classes is not None:
        over = over & (classes.unsqueeze(-1) == classes.unsqueeze(-2))
    # before[i, j]: i is better than j. Made from sums, as a triangle of a traced size has no portable form.
    place = torch.ones_like(valid, dtype=boxes.dtype).cumsum(-1)
    over = (over & (place.unsqueeze(-1) < place.unsqueeze(-2))).to(boxes.dtype)
    allowed = valid.to(boxes.dtype)
    keep, before = allowed, allowed
    for _ in range(sweeps):
        before = keep
        suppressors = (keep.unsqueeze(-2) @ over).squeeze(-2)
        keep = allowed * (suppressors < 0.5).to(boxes.dtype)
    return Suppression(keep > 0.5, ((keep - before).abs().sum(-1) < 0.5))
