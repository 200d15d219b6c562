"""The forward pass of a one-stage detector for export."""

from .exactness import Exactness
from .registration import rewrites


@rewrites('mmdet.models.detectors.single_stage.SingleStageDetector.forward')
def single_stage_forward(self, batch_inputs, data_samples=None, mode='predict', **kwargs):
    """Features and detections of a batch. The head receives the true extent of each image.

    Returns:
        ``(B, K, 5)`` boxes with their score, ``(B, K)`` labels, and in the portable flavour ``(B,)``: 1 if the
        selection of boxes is certain to equal PyTorch's.
    """
    exactness = Exactness.prepare(data_samples, batch_inputs, self.data_preprocessor)
    results = self.bbox_head.predict(self.extract_feat(batch_inputs), data_samples, rescale=False)
    return exactness.append_to(results)
