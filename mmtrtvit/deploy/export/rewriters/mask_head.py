"""Masks of detected objects."""

from .registration import rewrites


@rewrites('mmdet.models.roi_heads.mask_heads.fcn_mask_head.FCNMaskHead.predict_by_feat')
def predict_by_feat(self, mask_preds, results_list, batch_img_metas, rcnn_test_cfg, rescale=False, activate_map=False):
    """The mask of each detection for its own class.

    mmdeploy indexes by the number of detections, which becomes a constant in the graph, so that a larger batch fails.

    Args:
        mask_preds: ``(B * K, C, h, w)`` logits, one channel if the head is class-agnostic.
        results_list: ``(B, K, 5)`` boxes with their score, ``(B, K)`` labels.

    Returns:
        ``(B * K, 1, h, w)`` probabilities.
    """
    if not self.class_agnostic:
        _, labels = results_list
        mask_preds = mask_preds.gather(1, labels.reshape(-1, 1, 1, 1).expand(-1, 1, *mask_preds.shape[-2:]))
    return mask_preds.sigmoid()
