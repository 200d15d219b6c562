"""Non-maximum suppression and top-k on batches, in standard ONNX operators."""

import contextlib
from collections.abc import Iterator

import torch
from mmcv.ops import nms
from torch import Tensor

NO_LIMIT = torch.iinfo(torch.int32).max
"""More boxes a class than there ever are: engines take the smaller of this and the number of boxes."""


@contextlib.contextmanager
def _tracing_paused() -> Iterator[None]:
    """Run operators without recording them: what they compute stands for one recorded node."""
    state = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)
    try:
        yield
    finally:
        torch._C._set_tracing_state(state)


class NonMaxSuppression(torch.autograd.Function):
    """Greedy suppression in each class of each group, as mmcv does it and as one ``NonMaxSuppression`` node.

    Shape:
        boxes ``(G, N, 4)``, scores ``(G, C, N)`` -> ``(M, 3)`` int64: group, class and box of what is kept.
    """

    @staticmethod
    def forward(ctx, boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float) -> Tensor:
        with _tracing_paused():
            rows = []
            for group, class_ in torch.cartesian_prod(*(torch.arange(n) for n in scores.shape[:2])).reshape(-1, 2):
                (candidates,) = torch.where(scores[group, class_] > score_threshold)
                if len(candidates):
                    kept = nms(boxes[group, candidates], scores[group, class_, candidates], iou_threshold)[1]
                    candidates = candidates[kept]
                rows.append(torch.stack([group.expand_as(candidates), class_.expand_as(candidates), candidates], dim=1))
            return torch.cat(rows)

    @staticmethod
    def symbolic(g, boxes, scores, iou_threshold: float, score_threshold: float):
        return g.op(
            'NonMaxSuppression',
            boxes,
            scores,
            g.op('Constant', value_t=torch.tensor([NO_LIMIT])),
            g.op('Constant', value_t=torch.tensor([iou_threshold], dtype=torch.float32)),
            g.op('Constant', value_t=torch.tensor([score_threshold], dtype=torch.float32)),
        )


def nms_scores(boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float) -> Tensor:
    """Scores after greedy non-maximum suppression, within each row of ``boxes`` and each class apart.

    Args:
        boxes: ``(G, N, 4)``, x1 y1 x2 y2.
        scores: ``(G, C, N)``: one score a box in each of C classes.
        iou_threshold: A box is suppressed by a better one that overlaps it by more than this.
        score_threshold: Only boxes with a higher score take part.

    Returns:
        ``(G, C, N)``: the score where the box survives, -1 elsewhere.
    """
    chosen = NonMaxSuppression.apply(boxes, scores, iou_threshold, score_threshold)
    place = (chosen[:, 0] * scores.shape[1] + chosen[:, 1]) * scores.shape[2] + chosen[:, 2]
    flat = scores.reshape(-1)
    kept = torch.zeros_like(flat).scatter(0, place, torch.ones_like(place, dtype=flat.dtype))
    return torch.where(kept > 0, flat, torch.full_like(flat, -1.0)).reshape(scores.shape)


def top_boxes(boxes: Tensor, scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` best boxes of each image; places without one (a score of 0 or below) are all zeros.

    Args:
        boxes: ``(B, N, 4)``.
        scores: ``(B, N)``.
        k: How many at most.

    Returns:
        ``(B, min(k, N), 5)`` boxes with their score, and ``(B, min(k, N))`` their indices in N.
    """
    best, index = scores.topk(k, dim=1)
    boxes = boxes.gather(1, index.unsqueeze(-1).expand(-1, -1, 4))
    dets = torch.cat([boxes, best.unsqueeze(-1)], dim=-1)
    return dets * (best > 0).unsqueeze(-1).to(dets.dtype), index
