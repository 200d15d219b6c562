"""RoI features from a pyramid, in either flavour."""

from mmdeploy.codebase.mmdet.models.roi_heads.single_level_roi_extractor import single_roi_extractor__forward
from mmdeploy.core import FUNCTION_REWRITER

from ....errors import DeployError
from ..portable import PyramidAtlas, roi_levels
from .registration import is_portable, rewrites

NAME = 'mmdet.models.roi_heads.SingleRoIExtractor.forward'


@rewrites(NAME)
def single_roi_extractor_forward(self, feats, rois, roi_scale_factor=None):
    """RoIAlign of each box on its level: ``RoiAlign`` and ``NonZero`` for each level, or one ``GridSample``.

    Args:
        feats: Per level ``(B, C, H, W)``.
        rois: ``(B * N, 5)``: all boxes of the first image, then of the second, and so on; the index of the image first.

    Returns:
        ``(B * N, C, h, w)``.

    Raises:
        DeployError: If the portable flavour cannot express the config's RoIAlign.
    """
    ctx = FUNCTION_REWRITER.get_context(NAME)
    feats = feats[: self.num_inputs]
    if not is_portable(ctx.cfg):
        return single_roi_extractor__forward(self, feats, rois, roi_scale_factor)
    layer = self.roi_layers[0]
    if layer.sampling_ratio < 1 or not layer.aligned or layer.pool_mode != 'avg' or roi_scale_factor is not None:
        raise DeployError(
            f'The portable flavour cannot express RoIAlign(sampling_ratio={layer.sampling_ratio}, '
            f'aligned={layer.aligned}, pool_mode={layer.pool_mode!r}).',
            expected="sampling_ratio=1 or more, aligned=True, pool_mode='avg'",
            fix='set them in roi_layer of the config and train with them, or choose --flavour native',
        )
    boxes = rois[:, 1:].reshape(feats[0].shape[0], -1, 4)
    level = roi_levels(boxes, len(feats), self.finest_scale)
    pooled = PyramidAtlas(feats).roi_align(boxes, level, self.featmap_strides, layer.output_size, layer.sampling_ratio)
    return pooled.flatten(0, 1)
