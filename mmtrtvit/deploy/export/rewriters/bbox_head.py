"""Detections of a two-stage head, selected as mmdet selects them."""

import torch
from mmdeploy.core import FUNCTION_REWRITER

from .image_extent import IMAGE_EXTENT, clip_boxes
from .registration import is_portable, rewrites
from .selection import EXACTNESS, best_after_suppression, limit_of, nms_scores, plain_iou_threshold, top_boxes


@rewrites('mmdet.models.roi_heads.bbox_heads.bbox_head.BBoxHead.predict_by_feat')
def bbox_head_predict_by_feat(self, rois, cls_scores, bbox_preds, batch_img_metas, rcnn_test_cfg=None, rescale=False):
    """Detections of a batch. Each class has its own box for each proposal, and its own NMS.

    mmdeploy keeps only the box of the best class of each proposal and gives that box to all classes, unlike mmdet.

    Args:
        rois: ``(B, N, 5)`` proposals, with the index of the image first; proposals without area are padding.
        cls_scores: ``(B, N, C + 1)`` logits, the background last.
        bbox_preds: ``(B, N, C * 4)``, or ``(B, N, 4)`` when class-agnostic.

    Returns:
        ``(B, K, 5)`` boxes with their score, zeros if there are fewer than K, and ``(B, K)`` labels.
    """
    ctx = FUNCTION_REWRITER.get_context()
    classes, portable = self.num_classes, is_portable(ctx.cfg)
    most = limit_of(rcnn_test_cfg, 'max_per_img', portable)
    iou_threshold, score_threshold = plain_iou_threshold(rcnn_test_cfg.nms), rcnn_test_cfg.score_thr
    proposals = rois[..., 1:]
    scores = self.loss_cls.get_activation(cls_scores) if self.custom_cls_channels else cls_scores.softmax(-1)
    scores = scores[..., :classes].transpose(1, 2)
    real = (proposals[..., 2:] > proposals[..., :2]).all(dim=-1)
    scores = scores * real.unsqueeze(1).to(scores.dtype)

    boxes = self.bbox_coder.decode(proposals, bbox_preds)
    boxes = clip_boxes(boxes.flatten(1).unflatten(1, (-1, 4)), batch_img_metas[0][IMAGE_EXTENT])
    shared = self.reg_class_agnostic
    # (B, C, N, 4): the box of each class for each proposal
    by_class = (
        boxes.unsqueeze(1).expand(-1, classes, -1, -1) if shared else boxes.unflatten(1, (-1, classes)).transpose(1, 2)
    )

    if portable:
        class_ids = torch.arange(classes, device=scores.device).reshape(1, -1, 1).expand(scores.shape)
        dets, labels, exact = best_after_suppression(
            by_class.flatten(1, 2),
            scores.flatten(1, 2),
            class_ids.flatten(1, 2),
            iou_threshold,
            score_threshold,
            most,
        )
        batch_img_metas[0][EXACTNESS].append(exact)
    else:
        if shared:
            kept = nms_scores(boxes, scores, iou_threshold, score_threshold)
        else:
            groups = by_class.flatten(0, 1), scores.flatten(0, 1).unsqueeze(1)
            kept = nms_scores(*groups, iou_threshold, score_threshold)
        kept = kept.reshape(scores.shape).flatten(1, 2)
        dets, index = top_boxes(by_class.flatten(1, 2), kept, most)
        labels = index.div(rois.shape[1], rounding_mode='floor')
    return dets, labels * (dets[..., 4] > 0).to(labels.dtype)
