"""RPN proposals, selected as mmdet selects them."""

import torch
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import is_dynamic_shape
from torch import Tensor

from ..portable import suppress
from .image_extent import IMAGE_EXTENT, clip_boxes
from .registration import backend_of, is_portable, rewrites
from .selection import EXACTNESS, check_suppressed, limit_of, nms_scores, plain_iou_threshold, top_boxes


def _suppress_natively(boxes: list[Tensor], scores: list[Tensor], iou_threshold: float) -> Tensor:
    """One ``NonMaxSuppression`` for all levels, with each level as a class."""
    levels = torch.cat([torch.full_like(part, float(level)) for level, part in enumerate(scores)], dim=1)
    together = torch.cat(scores, dim=1)
    # a score of -1 removes a box from the levels that it does not belong to
    ids = torch.arange(len(scores), device=together.device, dtype=levels.dtype).reshape(1, -1, 1)
    by_level = torch.where(levels.unsqueeze(1) == ids, together.unsqueeze(1), -torch.ones_like(together.unsqueeze(1)))
    return nms_scores(torch.cat(boxes, dim=1), by_level, iou_threshold, score_threshold=-0.5).amax(dim=1)


def _suppress_portably(boxes: list[Tensor], scores: list[Tensor], iou_threshold: float, exactness: list) -> Tensor:
    """Suppression in plain arithmetic, level by level. Adds to ``exactness`` whether each level is certain."""
    kept = []
    for level_boxes, level_scores in zip(boxes, scores, strict=True):
        keep, certain = suppress(level_boxes, level_scores > -0.5, iou_threshold)
        kept.append(torch.where(keep, level_scores, -torch.ones_like(level_scores)))
        exactness.append(certain.to(level_scores.dtype).amin(-1))
    return torch.cat(kept, dim=1)


@rewrites('mmdet.models.dense_heads.rpn_head.RPNHead.predict_by_feat')
def rpn_head_predict_by_feat(
    self,
    cls_scores,
    bbox_preds,
    score_factors=None,
    batch_img_metas=None,
    cfg=None,
    rescale=False,
    with_nms=True,
    **kwargs,
):
    """Proposals of a batch: the ``nms_pre`` best per level, NMS within each level, then the ``max_per_img`` best.

    mmdeploy suppresses across levels and drops every proposal that scores less than 0.05. mmdet does neither, so
    mmdeploy's boxes differ from PyTorch's.

    Returns:
        ``(B, K, 5)`` boxes with their score, zeros if there are fewer than K, and ``(B, K)`` labels, all 0.
    """
    ctx = FUNCTION_REWRITER.get_context()
    cfg = self.test_cfg if cfg is None else cfg
    portable = is_portable(ctx.cfg)
    candidates, most = (limit_of(cfg, name, portable) for name in ('nms_pre', 'max_per_img'))
    if not portable:
        check_suppressed(backend_of(ctx.cfg), len(cls_scores), candidates, 'model.test_cfg.rpn.nms_pre')
    sizes = [score.shape[-2:] for score in cls_scores]
    priors = self.anchor_generator.grid_anchors(sizes, device=cls_scores[0].device)
    batch = cls_scores[0].shape[0]

    extent = batch_img_metas[0][IMAGE_EXTENT]
    least_side = max(cfg.get('min_bbox_size', 0), 0)

    level_boxes, level_scores = [], []
    for logits, deltas, anchors in zip(cls_scores, bbox_preds, priors, strict=True):
        logits = logits.permute(0, 2, 3, 1)
        if self.use_sigmoid_cls:
            scores = logits.reshape(batch, -1).sigmoid()
        else:
            scores = logits.reshape(batch, -1, 2).softmax(-1)[..., 0]
        deltas = deltas.permute(0, 2, 3, 1).reshape(batch, -1, 4)
        if not is_dynamic_shape(ctx.cfg):
            anchors = anchors.data
        scores, index = scores.topk(candidates, dim=1)
        deltas = deltas.gather(1, index.unsqueeze(-1).expand(-1, -1, 4))
        boxes = clip_boxes(self.bbox_coder.decode(anchors[index], deltas), extent)
        valid = (boxes[..., 2:] - boxes[..., :2] > least_side).all(dim=-1)
        level_boxes.append(boxes)
        level_scores.append(torch.where(valid, scores, -torch.ones_like(scores)))

    iou_threshold = plain_iou_threshold(cfg.nms)
    if portable:
        kept = _suppress_portably(level_boxes, level_scores, iou_threshold, batch_img_metas[0][EXACTNESS])
    else:
        kept = _suppress_natively(level_boxes, level_scores, iou_threshold)
    dets, _ = top_boxes(torch.cat(level_boxes, dim=1), kept, most)
    return dets, torch.zeros_like(dets[..., 0], dtype=torch.int64)
