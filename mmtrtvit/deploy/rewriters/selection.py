"""Non-maximum suppression and top-k on batches, in standard ONNX operators."""

import torch
from mmdeploy.mmcv.ops.nms import ONNXNMSop
from torch import Tensor


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
    num_boxes = boxes.shape[1]
    classes = scores.shape[1]
    chosen = ONNXNMSop.apply(
        boxes, scores, num_boxes, torch.tensor([iou_threshold]), torch.tensor([score_threshold])
    )
    place = (chosen[:, 0] * classes + chosen[:, 1]) * num_boxes + chosen[:, 2]
    flat = scores.reshape(-1)
    kept = torch.zeros_like(flat).scatter(0, place, torch.ones_like(place, dtype=flat.dtype))
    return torch.where(kept > 0, flat, torch.full_like(flat, -1.0)).reshape(scores.shape)


def top_boxes(boxes: Tensor, scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` best boxes of each image; places without one (score of -1 or below 0) are all zeros.

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
