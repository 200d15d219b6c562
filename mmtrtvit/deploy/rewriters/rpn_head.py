"""RPN proposals, selected as mmdet selects them."""

import torch
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import IR, is_dynamic_shape

from .image_extent import IMAGE_EXTENT, clip_boxes
from .selection import nms_scores, top_boxes


@FUNCTION_REWRITER.register_rewriter(
    'mmdet.models.dense_heads.rpn_head.RPNHead.predict_by_feat', ir=IR.ONNX, backend='onnxruntime'
)
@FUNCTION_REWRITER.register_rewriter(
    'mmdet.models.dense_heads.rpn_head.RPNHead.predict_by_feat', ir=IR.ONNX, backend='openvino'
)
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
    """Proposals of a batch: per level the ``nms_pre`` best, NMS within each level, the ``max_per_img`` best.

    mmdeploy suppresses across levels and drops every proposal that scores less than 0.05, which mmdet does
    not do; the boxes that come out differ from PyTorch's.

    Returns:
        ``(B, K, 5)`` boxes with their score, zeros where there are fewer than K, and ``(B, K)`` labels, all 0.
    """
    ctx = FUNCTION_REWRITER.get_context()
    cfg = self.test_cfg if cfg is None else cfg
    sizes = [score.shape[-2:] for score in cls_scores]
    priors = self.anchor_generator.grid_anchors(sizes, device=cls_scores[0].device)
    batch = cls_scores[0].shape[0]

    level_boxes, level_scores, levels = [], [], []
    for level, (logits, deltas, anchors) in enumerate(zip(cls_scores, bbox_preds, priors, strict=True)):
        logits = logits.permute(0, 2, 3, 1)
        if self.use_sigmoid_cls:
            scores = logits.reshape(batch, -1).sigmoid()
        else:
            scores = logits.reshape(batch, -1, 2).softmax(-1)[..., 0]
        deltas = deltas.permute(0, 2, 3, 1).reshape(batch, -1, 4)
        if not is_dynamic_shape(ctx.cfg):
            anchors = anchors.data
        scores, index = scores.topk(cfg.nms_pre, dim=1)
        deltas = deltas.gather(1, index.unsqueeze(-1).expand(-1, -1, 4))
        level_boxes.append(self.bbox_coder.decode(anchors[index], deltas))
        level_scores.append(scores)
        levels.append(torch.full_like(scores, float(level)))
    boxes, scores, levels = (torch.cat(parts, dim=1) for parts in (level_boxes, level_scores, levels))
    boxes = clip_boxes(boxes, batch_img_metas[0][IMAGE_EXTENT])

    size = boxes[..., 2:] - boxes[..., :2]
    valid = (size > max(cfg.get('min_bbox_size', 0), 0)).all(dim=-1)
    # Each level is a class of the suppression: a score of -1 keeps a box out of the levels that it is not of.
    level_ids = torch.arange(len(cls_scores), device=boxes.device, dtype=levels.dtype).reshape(1, -1, 1)
    takes_part = (levels.unsqueeze(1) == level_ids) & valid.unsqueeze(1)
    by_level = torch.where(takes_part, scores.unsqueeze(1), torch.full_like(scores.unsqueeze(1), -1.0))
    kept = nms_scores(boxes, by_level, cfg.nms.iou_threshold, score_threshold=-0.5).amax(dim=1)
    dets, _ = top_boxes(boxes, kept, cfg.max_per_img)
    return dets, torch.zeros_like(dets[..., 0], dtype=torch.int64)
