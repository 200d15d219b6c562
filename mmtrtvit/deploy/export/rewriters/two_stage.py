"""The forward pass of a two-stage detector for export."""

from .exactness import Exactness
from .registration import rewrites


@rewrites('mmdet.models.detectors.two_stage.TwoStageDetector.forward')
def two_stage_forward(self, batch_inputs, data_samples=None, mode='predict', **kwargs):
    """Features, proposals and detections of a batch. The heads receive the true extent of each image.

    Returns:
        ``(B, K, 5)`` boxes with their score, ``(B, K)`` labels, with a mask head ``(B, K, h, w)`` masks, and in the
        portable flavour ``(B,)``: 1 if the selection of boxes is certain to equal PyTorch's.
    """
    exactness = Exactness.prepare(data_samples, batch_inputs, self.data_preprocessor)
    features = self.extract_feat(batch_inputs)
    proposals = self.rpn_head.predict(features, data_samples, rescale=False)
    results = self.roi_head.predict(features, proposals, data_samples, rescale=False)
    return exactness.append_to(results)
