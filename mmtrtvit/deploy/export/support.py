"""The networks that can be exported exactly, told from their config: all others are refused before anything is built.

The backbone and the neck may be any modules of standard operators. The steps after them, the selection of boxes and
masks, are rewritten for export (:mod:`.rewriters`). A rewritten step stands for one method of one class, so a detector
or head that overrides this method does something else and cannot be exported.

mmdeploy has forms of its own for some others, which are not exact. Its Cascade R-CNN clips the boxes between its stages
to the padded input: on ResNet-50, 343 of 400 detections were PyTorch's.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmdet.models.dense_heads import ATSSHead, DDODHead, FCOSHead, RPNHead, VFNetHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmdet.models.roi_heads import SingleRoIExtractor, StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmengine.registry import MODELS
from torch import nn

from ...errors import DeployError
from ...runtime.backends import Backend
from .describe import task_of, unscoped
from .rewriters.roi_extractor import check_roi_align
from .rewriters.selection import check_suppressed, limit_of, plain_iou_threshold

METHODS = (
    'Mask R-CNN, Faster R-CNN, RetinaNet, Semantic FPN, UperNet or another segmentor of mmseg, or an image classifier '
    'of mmpretrain'
)
"""The methods whose steps are covered, as messages list them."""

Covered = Sequence[tuple[type, Sequence[str]]]
"""Classes whose steps are covered, each with the methods that have to be its own."""

_DETECTOR: Covered = ((SingleStageDetector, ('predict',)), (TwoStageDetector, ('predict',)))
_DENSE_HEAD: Covered = ((BaseDenseHead, ('predict_by_feat', '_predict_by_feat_single', '_bbox_post_process')),)
_RPN_HEAD: Covered = ((RPNHead, ('predict_by_feat', '_predict_by_feat_single', '_bbox_post_process')),)
_ROI_HEAD: Covered = ((StandardRoIHead, ('predict', 'predict_bbox', 'predict_mask')),)
_ROI_PARTS: dict[str, Covered] = {
    'bbox_head': ((BBoxHead, ('predict_by_feat', '_predict_by_feat_single')),),
    'mask_head': ((FCNMaskHead, ('predict_by_feat', '_predict_by_feat_single')),),
    'bbox_roi_extractor': ((SingleRoIExtractor, ('forward',)),),
    'mask_roi_extractor': ((SingleRoIExtractor, ('forward',)),),
}

_WEIGHED = (FCOSHead, ATSSHead, DDODHead)
"""Heads that multiply their scores by a centerness or an IoU. VFNetHead inherits from them and does not."""

_CUSTOM = (
    *('CARAFE', 'CARAFEPack', 'DeformConv2d', 'DeformRoIPool', 'MaskedConv2d', 'ModulatedDeformConv2d', 'PSAMask'),
    *('PrRoIPool', 'RiRoIAlignRotated', 'RoIAlignRotated', 'RoIPool', 'RoIPointPool3d', 'SAConv2d'),
)
"""Layers of mmcv that the ONNX standard has no operator for."""


def check_support(model: Mapping, scope: str | None, flavour: str, backend: Backend) -> None:
    """Check that every step of a network can be exported exactly.

    Args:
        model: ``config.model``.
        scope: ``config.default_scope``.
        flavour: The flavour of the graph, ``'native'`` or ``'portable'``.
        backend: The backend that will run the graph.

    Raises:
        DeployError: Naming the part of the config that cannot, and the reason.
    """
    if task_of(model) == 'segmentation':
        from mmseg.models.decode_heads.decode_head import BaseDecodeHead  # detectors do without mmseg
        from mmseg.models.segmentors import EncoderDecoder

        _check_part('model', model, scope, ((EncoderDecoder, ('predict', 'extract_feat')),))
        for place, head in _each('model.decode_head', model['decode_head']):
            _check_part(place, head, scope, ((BaseDecodeHead, ()),))
        return
    if task_of(model) == 'classification':
        from mmpretrain.models.classifiers import ImageClassifier  # an optional package
        from mmpretrain.models.heads import ClsHead

        _check_part('model', model, scope, ((ImageClassifier, ('forward', 'predict', 'extract_feat')),))
        _check_part('model.head', model['head'], scope, ((ClsHead, ('predict', '_get_predictions')),))
        return
    test, portable = model.get('test_cfg') or {}, flavour == 'portable'
    _check_part('model', model, scope, _DETECTOR)
    if 'roi_head' not in model:
        _check_part('model.bbox_head', model.get('bbox_head'), scope, _DENSE_HEAD)
        _check_selection(test, ('nms_pre', 'max_per_img'), portable)
        _check_candidates(model['bbox_head'], test, 'model.test_cfg.nms_pre', portable, backend)
        return
    _check_part('model.rpn_head', model.get('rpn_head'), scope, _RPN_HEAD)
    _check_part('model.roi_head', model['roi_head'], scope, _ROI_HEAD)
    layers = {}
    for name, covered in _ROI_PARTS.items():
        for place, part in _each(f'model.roi_head.{name}', model['roi_head'].get(name)):
            _check_part(place, part, scope, covered)
            if 'roi_layer' in part:
                layers[f'{place}.roi_layer'] = part['roi_layer']
    _check_roi_layers(layers, portable)
    _check_selection(test.get('rpn') or {}, ('nms_pre', 'max_per_img'), portable)
    _check_candidates(model['rpn_head'], test['rpn'], 'model.test_cfg.rpn.nms_pre', portable, backend)
    _check_selection(test.get('rcnn') or {}, ('max_per_img',), portable)


def _each(place: str, settings: Any) -> Iterator[tuple[str, Mapping]]:
    """The settings of a part that may be absent, one, or a list with one for each stage."""
    if isinstance(settings, (list, tuple)):
        for index, part in enumerate(settings):
            yield f'{place}.{index}', part
    elif settings:
        yield place, settings


def _check_part(place: str, settings: Mapping | None, scope: str | None, covered: Covered) -> None:
    """Check that the class of a part has the steps that are rewritten."""
    kind = (settings or {}).get('type')
    name = getattr(kind, '__name__', kind)
    if isinstance(kind, str):
        kind = MODELS.get(kind if '.' in kind or not scope else f'{scope}.{kind}')
        if kind is None:  # not registered: building the network says so, with the names that are near
            return
    reason = _reason_against(kind, covered)
    if reason:
        raise DeployError(
            f'{place}.type={name!r} cannot be exported exactly: {reason}.' if kind else f'{place} is missing.',
            expected=f'{METHODS}, with any backbone and neck of standard operators',
            fix="choose such a method, or export this one with mmdeploy's own tools and compare the results yourself",
        )


def _reason_against(kind: type | None, covered: Covered) -> str:
    """Why the steps of a class are not covered; empty if they are."""
    own: dict[str, None] = {}
    for known, methods in covered:
        if kind is None or not issubclass(kind, known):
            continue
        changed = [method for method in methods if getattr(kind, method) is not getattr(known, method)]
        if not changed:
            weighed = issubclass(kind, _WEIGHED) and not issubclass(kind, VFNetHead)
            return 'it multiplies its scores by a centerness or an IoU' if weighed else ''
        own.update(dict.fromkeys(changed))
    if own:
        return f'it overrides {" and ".join(own)}'
    return f'it is not derived from {" or ".join(known.__name__ for known, _ in covered)}'


def _check_selection(test: Mapping, limits: Sequence[str], portable: bool) -> None:
    """Check that the selection of boxes by a head's ``test_cfg`` can be exported."""
    for name in limits:
        limit_of(test, name, portable)
    plain_iou_threshold(test.get('nms'))


def _check_candidates(head: Mapping, test: Mapping, where: str, portable: bool, backend: Backend) -> None:
    """Check that the backend's suppression considers all candidates of a dense head."""
    strides = (head.get('anchor_generator') or {}).get('strides')
    if strides and not portable:  # a head without them is checked when it is traced
        check_suppressed(backend, len(strides), test['nms_pre'], where)


def _check_roi_layers(layers: Mapping[str, Mapping], portable: bool) -> None:
    """Check that the features of boxes can be exported; ``layers`` has the place of each layer."""
    for place, layer in layers.items():
        if unscoped(layer['type']) != 'RoIAlign':
            raise DeployError(
                f'{place}.type={layer["type"]!r} is not in the ONNX standard.',
                expected="'RoIAlign'",
                fix='train with it',
            )
    defaults = dict(sampling_ratio=0, aligned=True, pool_mode='avg')
    check_roi_align({place: {**defaults, **layer} for place, layer in layers.items()}, portable)


def check_layers(network: nn.Module) -> None:
    """Check that a network has no layer without an operator in the ONNX standard.

    Raises:
        DeployError: Naming the layers.
    """
    found = {
        name: type(layer).__name__
        for name, layer in network.named_modules()
        if any(base.__module__.startswith('mmcv.ops') and base.__name__ in _CUSTOM for base in type(layer).__mro__)
    }
    if found:
        names = [f'{name} ({kind})' for name, kind in list(found.items())[:4]]
        raise DeployError(
            f'{len(found)} layers of the network are not in the ONNX standard: {", ".join(names)}'
            + (', ...' if len(found) > 4 else '.'),
            expected='layers of standard operators only',
            fix='train a network without them, such as one without dcn in its backbone',
        )
