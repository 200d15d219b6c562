"""RoI features from a pyramid, in either flavour."""

from mmdeploy.codebase.mmdet.models.roi_heads.single_level_roi_extractor import single_roi_extractor__forward
from mmdeploy.core import FUNCTION_REWRITER

from ....errors import DeployError
from ..portable import PyramidAtlas, roi_levels
from .registration import is_portable, rewrites


def check_roi_align(place: str, sampling_ratio: int, aligned: bool, pool_mode: str, portable: bool) -> None:
    """Check that a flavour computes what mmcv's RoIAlign computes.

    The standard operator chooses the number of samples for each box as mmcv does (``sampling_ratio=0``, mmdet's
    default); plain arithmetic cannot. The maximum is another one in both: of weighted pixels, not of samples.

    Args:
        place: Place of the layer in the config.
        sampling_ratio: Samples per bin and side; 0 for a number that depends on the box.
        aligned: Whether the centre of a pixel is at half a pixel.
        pool_mode: ``'avg'`` or ``'max'``.
        portable: Whether the graph is to be portable.

    Raises:
        DeployError: If it does not.
    """
    if pool_mode != 'avg':
        raise DeployError(
            f'{place}.pool_mode={pool_mode!r} cannot be exported exactly.',
            expected="'avg', mmdet's default",
            fix=f'--cfg-options {place}.pool_mode=avg, and evaluate the checkpoint with it as well',
        )
    if portable and (sampling_ratio < 1 or not aligned):
        given, wanted = ('sampling_ratio', 2) if sampling_ratio < 1 else ('aligned', True)
        raise DeployError(
            f'The portable flavour cannot express {place}.{given}={sampling_ratio if sampling_ratio < 1 else aligned}.',
            expected='sampling_ratio=1 or more, aligned=True',
            fix=f'--flavour native where the backend has RoiAlign, or --cfg-options {place}.{given}={wanted}, and '
            'evaluate the checkpoint with it as well',
        )


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
        DeployError: If the flavour cannot express the config's RoIAlign.
    """
    ctx = FUNCTION_REWRITER.get_context(NAME)
    feats = feats[: self.num_inputs]
    portable, layer = is_portable(ctx.cfg), self.roi_layers[0]
    check_roi_align('roi_layer', layer.sampling_ratio, layer.aligned, layer.pool_mode, portable)
    if not portable:
        return single_roi_extractor__forward(self, feats, rois, roi_scale_factor)
    if roi_scale_factor is not None:
        raise DeployError(
            f'The portable flavour cannot express roi_scale_factor={roi_scale_factor}.',
            expected='boxes that are pooled as they are',
            fix='choose --flavour native',
        )
    boxes = rois[:, 1:].reshape(feats[0].shape[0], -1, 4)
    level = roi_levels(boxes, len(feats), self.finest_scale)
    pooled = PyramidAtlas(feats).roi_align(boxes, level, self.featmap_strides, layer.output_size, layer.sampling_ratio)
    return pooled.flatten(0, 1)
