"""Greedy non-maximum suppression as the fixed point of a matrix product.

Greedy suppression visits the boxes from the best to the worst and keeps a box unless a kept one before it overlaps it
too much. The result is the only solution of

    keep[j] = valid[j] and not any(keep[i] and over[i, j] for i < j)

where ``over[i, j]`` says that ``i`` comes before ``j``, has the same class, and overlaps it by more than the threshold.
Applying the right-hand side repeatedly settles the boxes in turn: after ``n`` sweeps, every box is right whose chain of
suppressions has at most ``n`` links. A sweep that changes nothing proves that the set is exactly the greedy one, and
:attr:`Suppression.settled` says so. The number of sweeps depends on the chains, not on the number of boxes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

SWEEPS = 24
"""Number of sweeps in a graph. Each one is a vector-matrix product."""


class Suppression(NamedTuple):
    """The kept boxes, and whether the result is certain.

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
        ``(..., N, N)``; NaN for two boxes without area, which exceeds no threshold.
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
    """Greedy suppression of boxes that are already sorted.

    Args:
        boxes: ``(..., N, 4)``, x1 y1 x2 y2, the best first.
        valid: ``(..., N)`` bool: the boxes that take part.
        iou_threshold: A box is suppressed by a better one that overlaps it by more than this.
        classes: ``(..., N)``; boxes of different classes do not suppress each other. ``None`` for a single class.
        sweeps: Number of sweeps over the boxes.

    Returns:
        The kept boxes, and whether the result is exact, for each of the leading dimensions.
    """
    over = overlaps(boxes) > iou_threshold
    if classes is not None:
        over = over & (classes.unsqueeze(-1) == classes.unsqueeze(-2))
    # before[i, j]: i is better than j. Built from sums, as a triangular matrix of a traced size is not portable.
    place = torch.ones_like(valid, dtype=boxes.dtype).cumsum(-1)
    over = (over & (place.unsqueeze(-1) < place.unsqueeze(-2))).to(boxes.dtype)
    allowed = valid.to(boxes.dtype)
    keep, before = allowed, allowed
    for _ in range(sweeps):
        before = keep
        suppressors = (keep.unsqueeze(-2) @ over).squeeze(-2)
        keep = allowed * (suppressors < 0.5).to(boxes.dtype)
    return Suppression(keep > 0.5, ((keep - before).abs().sum(-1) < 0.5))
