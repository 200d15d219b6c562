"""Detections of a dense one-stage head, selected as mmdet selects them."""

import torch
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import is_dynamic_shape

from ....errors import DeployError
from .image_extent import IMAGE_EXTENT, clip_boxes
from .registration import backend_of, is_portable, rewrites
from .selection import (
    EXACTNESS,
    best_after_suppression,
    check_suppressed,
    limit_of,
    nms_scores,
    plain_iou_threshold,
    top_boxes,
)


@rewrites('mmdet.models.dense_heads.base_dense_head.BaseDenseHead.predict_by_feat')
def dense_head_predict_by_feat(
    self,
    cls_scores,
    bbox_preds,
    score_factors=None,
    batch_img_metas=None,
    cfg=None,
    rescale=False,
    with_nms=True,
):
    """Detections of a batch: the ``nms_pre`` best pairs of anchor and class per level, then suppression in each class.

    mmdeploy takes the ``nms_pre`` best *anchors* of a level with all their classes, which keeps more candidates than
    mmdet.

    Args:
        cls_scores: Per level ``(B, A * C, H, W)`` logits.
        bbox_preds: Per level ``(B, A * 4, H, W)``.

    Returns:
        ``(B, K, 5)`` boxes with their score, zeros if there are fewer than K, and ``(B, K)`` labels.

    Raises:
        DeployError: If the head multiplies its scores by another map, like FCOS. That cannot be exported exactly.
    """
    if score_factors is not None:
        raise DeployError(
            f'{type(self).__name__} weighs its scores by a centerness or an IoU, which cannot be exported.',
            expected='a head whose scores stand for themselves, such as RetinaHead',
            fix='use such a head',
        )
    ctx = FUNCTION_REWRITER.get_context()
    cfg = self.test_cfg if cfg is None else cfg
    portable = is_portable(ctx.cfg)
    candidates, most = (limit_of(cfg, name, portable) for name in ('nms_pre', 'max_per_img'))
    if not portable:
        check_suppressed(backend_of(ctx.cfg), len(cls_scores), candidates, 'model.test_cfg.nms_pre')
    iou_threshold = plain_iou_threshold(cfg.nms)
    batch, classes = cls_scores[0].shape[0], self.num_classes
    sizes = [score.shape[-2:] for score in cls_scores]
    priors = self.prior_generator.grid_priors(sizes, device=cls_scores[0].device)

    level_boxes, level_scores, level_labels = [], [], []
    for logits, deltas, anchors in zip(cls_scores, bbox_preds, priors, strict=True):
        if not is_dynamic_shape(ctx.cfg):
            anchors = anchors.data
        logits = logits.permute(0, 2, 3, 1).reshape(batch, -1, self.cls_out_channels)
        scores = logits.sigmoid() if self.use_sigmoid_cls else logits.softmax(-1)[..., :-1]
        deltas = deltas.permute(0, 2, 3, 1).reshape(batch, -1, 4)
        # The anchors of the best pairs are among the anchors with the best class. A top-k of anchors first is cheaper
        # than a top-k of all pairs, and does not lose a pair.
        _, anchor = scores.amax(-1).topk(candidates, dim=1)
        pairs = scores.gather(1, anchor.unsqueeze(-1).expand(-1, -1, classes)).flatten(1)
        best, pair = pairs.topk(candidates, dim=1)
        anchor = anchor.gather(1, pair.div(classes, rounding_mode='floor'))
        deltas = deltas.gather(1, anchor.unsqueeze(-1).expand(-1, -1, 4))
        level_boxes.append(self.bbox_coder.decode(anchors[anchor], deltas))
        level_scores.append(best)
        level_labels.append(pair.remainder(classes))
    boxes = clip_boxes(torch.cat(level_boxes, dim=1), batch_img_metas[0][IMAGE_EXTENT])
    scores, labels = torch.cat(level_scores, dim=1), torch.cat(level_labels, dim=1)
    nothing = -torch.ones_like(scores)
    if cfg.get('min_bbox_size', -1) >= 0:
        valid = (boxes[..., 2:] - boxes[..., :2] > cfg.min_bbox_size).all(dim=-1)
        scores = torch.where(valid, scores, nothing)

    if portable:
        dets, labels, exact = best_after_suppression(boxes, scores, labels, iou_threshold, cfg.score_thr, most)
        batch_img_metas[0][EXACTNESS].append(exact)
    else:
        class_ids = torch.arange(classes, device=labels.device).reshape(1, -1, 1)
        by_class = torch.where(labels.unsqueeze(1) == class_ids, scores.unsqueeze(1), nothing.unsqueeze(1))
        kept = nms_scores(boxes, by_class, iou_threshold, cfg.score_thr).amax(dim=1)
        dets, index = top_boxes(boxes, kept, most)
        labels = labels.gather(1, index)
    return dets, labels * (dets[..., 4] > 0).to(labels.dtype)
