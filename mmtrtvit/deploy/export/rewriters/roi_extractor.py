"""RoI features from a pyramid, in either flavour."""

from collections.abc import Callable, Mapping
from typing import Any

from mmdeploy.codebase.mmdet.models.roi_heads.single_level_roi_extractor import single_roi_extractor__forward
from mmdeploy.core import FUNCTION_REWRITER

from ....errors import DeployError
from ..portable import PyramidAtlas, roi_levels
from .registration import is_portable, rewrites

ROI_ALIGN: dict[str, tuple[Callable[[Any], bool], Any, bool]] = {
    'pool_mode': (lambda value: value == 'avg', 'avg', False),
    'sampling_ratio': (lambda value: value >= 1, 2, True),
    'aligned': (bool, True, True),
}
"""Setting of mmcv's RoIAlign to a test for values that can be exported exactly, one of them, and whether the portable
flavour alone needs it.

The standard operator chooses the number of samples for each box as mmcv does (``sampling_ratio=0``, mmdet's default);
plain arithmetic cannot. Its maximum is that of weighted pixels, mmcv's that of samples.
"""


def check_roi_align(layers: Mapping[str, Mapping], portable: bool) -> None:
    """Check that a flavour computes what mmcv's RoIAlign computes.

    Args:
        layers: Place of each layer in the config to its settings, those of :data:`ROI_ALIGN`.
        portable: Whether the graph is to be portable.

    Raises:
        DeployError: If it does not. The message holds the options that change that.
    """
    for name, (fits, wanted, only_portable) in ROI_ALIGN.items():
        wrong = [place for place, layer in layers.items() if not fits(layer[name])]
        if not wrong or (only_portable and not portable):
            continue
        given = ', '.join(f'{place}.{name}={layers[place][name]!r}' for place in wrong)
        options = ' '.join(f'{place}.{name}={wanted}' for place in wrong)
        native = '--flavour native where the backend has RoiAlign, or ' if only_portable else ''
        raise DeployError(
            f'{given} cannot be exported exactly{" in the portable flavour" if only_portable else ""}.',
            expected=f'{name}={wanted!r}',
            fix=f'{native}--cfg-options {options}, and evaluate the checkpoint with it as well',
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
    check_roi_align({'roi_layer': {name: getattr(layer, name) for name in ROI_ALIGN}}, portable)
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
