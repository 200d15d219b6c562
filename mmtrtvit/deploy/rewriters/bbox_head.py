"""Detections of a two-stage head, selected as mmdet selects them."""

from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import IR

from .image_extent import IMAGE_EXTENT, clip_boxes
from .selection import nms_scores, top_boxes


@FUNCTION_REWRITER.register_rewriter(
    'mmdet.models.roi_heads.bbox_heads.bbox_head.BBoxHead.predict_by_feat', ir=IR.ONNX, backend='onnxruntime'
)
@FUNCTION_REWRITER.register_rewriter(
    'mmdet.models.roi_heads.bbox_heads.bbox_head.BBoxHead.predict_by_feat', ir=IR.ONNX, backend='openvino'
)
def bbox_head_predict_by_feat(self, rois, cls_scores, bbox_preds, batch_img_metas, rcnn_test_cfg=None, rescale=False):
    """Detections of a batch: every class has its own box of a proposal and its own NMS.

    mmdeploy keeps for each proposal only the box of its best class and gives that box to all classes, which
    mmdet does not do.

    Args:
        rois: ``(B, N, 5)`` proposals, the image's index first; those without an area are padding.
        cls_scores: ``(B, N, C + 1)`` logits, the background last.
        bbox_preds: ``(B, N, C * 4)``, or ``(B, N, 4)`` when class-agnostic.

    Returns:
        ``(B, K, 5)`` boxes with their score, zeros where there are fewer than K, and ``(B, K)`` labels.
    """
    classes = self.num_classes
    proposals = rois[..., 1:]
    scores = self.loss_cls.get_activation(cls_scores) if self.custom_cls_channels else cls_scores.softmax(-1)
    scores = scores[..., :classes].transpose(1, 2)
    real = (proposals[..., 2:] > proposals[..., :2]).all(dim=-1)
    scores = scores * real.unsqueeze(1).to(scores.dtype)

    boxes = self.bbox_coder.decode(proposals, bbox_preds)
    boxes = clip_boxes(boxes.flatten(1).unflatten(1, (-1, 4)), batch_img_metas[0][IMAGE_EXTENT])
    if self.reg_class_agnostic:
        kept = nms_scores(boxes, scores, rcnn_test_cfg.nms.iou_threshold, rcnn_test_cfg.score_thr)
        boxes = boxes.unsqueeze(1).expand(-1, classes, -1, -1)
    else:
        boxes = boxes.unflatten(1, (-1, classes)).transpose(1, 2)
        kept = nms_scores(
            boxes.flatten(0, 1),
            scores.flatten(0, 1).unsqueeze(1),
            rcnn_test_cfg.nms.iou_threshold,
            rcnn_test_cfg.score_thr,
        )
    dets, index = top_boxes(boxes.flatten(1, 2), kept.reshape(scores.shape).flatten(1, 2), rcnn_test_cfg.max_per_img)
    labels = index.div(rois.shape[1], rounding_mode='floor')
    return dets, labels * (dets[..., 4] > 0).to(labels.dtype)
