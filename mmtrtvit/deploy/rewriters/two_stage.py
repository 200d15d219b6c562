"""The forward pass of a two-stage detector for export."""

from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import IR

from .image_extent import IMAGE_EXTENT, image_extent


@FUNCTION_REWRITER.register_rewriter(
    'mmdet.models.detectors.two_stage.TwoStageDetector.forward', ir=IR.ONNX, backend='onnxruntime'
)
@FUNCTION_REWRITER.register_rewriter(
    'mmdet.models.detectors.two_stage.TwoStageDetector.forward', ir=IR.ONNX, backend='openvino'
)
def two_stage_forward(self, batch_inputs, data_samples=None, mode='predict', **kwargs):
    """Features, proposals and detections of a batch, with the true extent of each image handed on to the heads.

    Returns:
        ``(B, K, 5)`` boxes with their score, ``(B, K)`` labels, and with a mask head ``(B, K, h, w)`` masks.
    """
    extent = image_extent(batch_inputs, self.data_preprocessor)
    for sample in data_samples:
        # set_metainfo would copy the value, which the tracer does not survive
        sample.set_field(name=IMAGE_EXTENT, value=extent, field_type='metainfo')
        sample.set_field(name='img_shape', value=batch_inputs.shape[2:], field_type='metainfo')
    features = self.extract_feat(batch_inputs)
    proposals = self.rpn_head.predict(features, data_samples, rescale=False)
    return self.roi_head.predict(features, proposals, data_samples, rescale=False)
