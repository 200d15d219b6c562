"""Description of a network's pre- and postprocessing as plain data.

Test pipelines and data preprocessors of OpenMMLab are programs. An artefact needs only a few numbers of them, which are
extracted here. A pipeline that cannot be described by these numbers is refused.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ...config import pipeline_of
from ...errors import DeployError

_LOADING = ('LoadImageFromFile', 'LoadImageFromNDArray')
_WITHOUT_EFFECT = ('LoadAnnotations', 'PackDetInputs', 'PackSegInputs', 'PackInputs')
"""Transforms that do not change the image."""

_RESIZING = {'Resize': ('scale', 'keep_ratio'), 'FitResize': ('scale',), 'ResizeEdge': ('scale',)}
"""Transforms that resize, and the settings that the description covers."""

_CROPPING = {'CenterCrop': ('crop_size',)}
"""Transforms that cut out a part, and the settings that the description covers."""

_DEFAULTS: dict[str, dict[str, tuple]] = {
    **dict.fromkeys(
        _LOADING,
        {
            'to_float32': (False,),
            'color_type': ('color',),
            'imdecode_backend': ('cv2', None),
            'file_client_args': (None,),
            'backend_args': (None,),
            'ignore_empty': (False, True),
        },
    ),
    'Resize': {
        'scale_factor': (None,),
        'interpolation': ('bilinear',),
        'backend': ('cv2',),
        'clip_object_border': (True, False),
    },
    'FitResize': {},
    'ResizeEdge': {'edge': ('short',), 'interpolation': ('bilinear',), 'backend': ('cv2',)},
    'CenterCrop': {'auto_pad': (False,), 'pad_cfg': (None,), 'clip_object_border': (True, False)},
}
"""Settings of a transform that the description does not cover, and the values at which they have no effect."""

_DETECTION_TRAINING = (
    *('pad_mask', 'mask_pad_value', 'pad_seg', 'seg_pad_value', 'boxtype2tensor', 'non_blocking', 'batch_augments'),
)
_TRAINING_ONLY = {
    'DetDataPreprocessor': _DETECTION_TRAINING,
    'FixedShapeDetDataPreprocessor': _DETECTION_TRAINING,
    'SegDataPreProcessor': ('size', 'size_divisor', 'seg_pad_val', 'batch_augments'),
    'ClsDataPreprocessor': ('num_classes', 'to_onehot', 'batch_augments'),
}
"""Settings of each data preprocessor that do not affect test images."""

_PADDING = {
    'DetDataPreprocessor': ('pad_size_divisor', 'pad_value'),
    'FixedShapeDetDataPreprocessor': ('pad_size_divisor', 'pad_value', 'fixed_shape'),
    'SegDataPreProcessor': ('test_cfg', 'pad_val'),
    'ClsDataPreprocessor': ('pad_size_divisor', 'pad_value'),
}
"""Settings of each data preprocessor that control padding."""

_WINDOW = ('crop_size', 'stride')
"""Settings of ``test_cfg`` that describe a sliding window."""

_NORMALISING = ('mean', 'std', 'bgr_to_rgb', 'rgb_to_bgr', 'to_rgb')


def unscoped(name: Any) -> str:
    """The name of a ``type`` in a config without its scope. The config may also hold the class itself."""
    return str(getattr(name, '__name__', name)).rpartition('.')[2]


def _refuse(what: str, expected: str) -> DeployError:
    return DeployError(
        f'The preprocessing of this config cannot be described to a runtime: {what}.',
        expected=expected,
        fix='change the pipeline of the test data set or data_preprocessor in the config, or run the network in mmdet, '
        'mmseg or mmpretrain',
    )


def _describe_resize(name: str, transform: Mapping) -> dict:
    scale = transform.get('scale')
    if name == 'ResizeEdge' and transform.get('edge', 'short') != 'short':
        raise _refuse(f'ResizeEdge has edge={transform["edge"]!r}', "edge='short'")
    scale = (scale, scale) if isinstance(scale, int) else scale
    if not (isinstance(scale, Sequence) and len(scale) == 2 and all(isinstance(side, int) for side in scale)):
        raise _refuse(f'{name} has scale {scale!r}', 'a width and a height in pixels')
    fixed = {'FitResize': 'fit', 'ResizeEdge': 'short'}
    rule = fixed.get(name) or ('edges' if transform.get('keep_ratio') else 'stretch')
    return {'rule': rule, 'width': scale[0], 'height': scale[1]}


def _describe_crop(transform: Mapping, resize: Mapping | None) -> list[int]:
    """Height and width that are cut out of the middle of a resized image."""
    size = transform.get('crop_size')
    size = (size, size) if isinstance(size, int) else size
    if not (isinstance(size, Sequence) and len(size) == 2 and all(isinstance(side, int) for side in size)):
        raise _refuse(f'CenterCrop has crop_size {size!r}', 'a width and a height in pixels')
    if resize is None or resize['rule'] not in ('short', 'stretch'):
        raise _refuse('CenterCrop comes without a resize that sets the shorter side', 'ResizeEdge before it')
    if size[0] > resize['width'] or size[1] > resize['height']:
        raise _refuse(f'CenterCrop takes {size}, more than is left after resizing', 'a crop within the resized image')
    return [size[1], size[0]]


def _describe_pipeline(pipeline: Sequence[Mapping]) -> tuple[dict | None, list[int] | None]:
    """The only resize of a test pipeline, and the crop after it; None if there is none."""
    resize = crop = None
    for transform in pipeline:
        name = unscoped(transform['type'])
        settings = {key: value for key, value in transform.items() if key != 'type'}
        if name in _WITHOUT_EFFECT:
            continue
        if name not in _DEFAULTS:
            raise _refuse(f'the test pipeline has {name}', f'{", ".join((*_DEFAULTS, *_WITHOUT_EFFECT))} only')
        described = {**_RESIZING, **_CROPPING}.get(name, ())
        for key, value in settings.items():
            if key not in described and value not in _DEFAULTS[name].get(key, ()):
                allowed = ' or '.join(map(repr, _DEFAULTS[name].get(key, ()))) or 'no such setting'
                raise _refuse(f'{name} has {key}={value!r}', allowed)
        if name in _RESIZING:
            if resize is not None:
                raise _refuse(f'the test pipeline resizes twice, the second time by {name}', 'once')
            resize = _describe_resize(name, settings)
        if name in _CROPPING:
            if crop is not None:
                raise _refuse('the test pipeline crops twice', 'once')
            crop = _describe_crop(settings, resize)
    return resize, crop


def _describe_padding(name: str, preprocessor: Mapping, input_shape: Sequence[int] | None) -> dict:
    """The size that images are padded to, at the right and the bottom, and the padding value."""
    if name == 'SegDataPreProcessor':
        test = preprocessor.get('test_cfg') or {}
        divisor, size = test.get('size_divisor') or 1, test.get('size')
        value = preprocessor.get('pad_val', 0)
    else:
        divisor, size = preprocessor.get('pad_size_divisor', 1), preprocessor.get('fixed_shape')
        value = preprocessor.get('pad_value', 0)
    shape = input_shape if input_shape is not None else size
    return {'value': float(value), 'divisor': int(divisor), 'shape': None if shape is None else [int(s) for s in shape]}


def describe_preprocessing(model_config: Mapping, input_shape: Sequence[int] | None = None) -> dict:
    """Describe the preprocessing by a test pipeline and a data preprocessor.

    Args:
        model_config: A config of mmdet, mmseg or mmpretrain; the pipeline of its test data set and
            ``model.data_preprocessor`` are read.
        input_shape: Height and width of the network's input if they are fixed. Images are padded to this size.

    Returns:
        ``resize``: ``width``, ``height`` and ``rule`` (one of :data:`RESIZE_RULES`), or None;
        ``crop``, if there is one: height and width of the middle of the resized image that the network sees;
        ``channels``: ``'rgb'`` or ``'bgr'``; ``mean``, ``std``: three numbers each;
        ``pad``: ``value`` (after normalisation), ``divisor`` and ``shape`` (height and width, or None).

    Raises:
        DeployError: If the preprocessing cannot be described in this way.
    """
    resize, crop = _describe_pipeline(pipeline_of(model_config))
    preprocessor = model_config['model'].get('data_preprocessor') or {}
    name = unscoped(preprocessor.get('type'))
    if 'type' not in preprocessor and task_of(model_config['model']) == 'classification':
        name = 'ClsDataPreprocessor'  # mmpretrain's default
    if name not in _TRAINING_ONLY:
        raise _refuse(f'the data preprocessor is {name}', ' or '.join(_TRAINING_ONLY))
    unknown = set(preprocessor) - {'type', *_NORMALISING, *_PADDING[name], *_TRAINING_ONLY[name]}
    if unknown:
        raise _refuse(f'{name} has {", ".join(sorted(unknown))}', f'no settings but {", ".join(_NORMALISING)}, padding')
    mean, std = preprocessor.get('mean') or [0.0], preprocessor.get('std') or [1.0]
    if len(mean) not in (1, 3) or len(mean) != len(std):
        raise _refuse(f'{len(mean)} means and {len(std)} deviations', 'one or three of each')
    swapped = any(preprocessor.get(key) for key in ('bgr_to_rgb', 'rgb_to_bgr', 'to_rgb'))
    return {
        'resize': resize,
        **({'crop': crop} if crop else {}),
        'channels': 'rgb' if swapped else 'bgr',  # OpenCV reads blue first
        'mean': [float(value) for value in mean] * (3 // len(mean)),
        'std': [float(value) for value in std] * (3 // len(std)),
        'pad': _describe_padding(name, preprocessor, input_shape),
    }


def task_of(model: Mapping) -> str:
    """The task of a network, one of :data:`TASKS`.

    Args:
        model: ``config.model``.
    """
    if 'decode_head' in model:
        return 'segmentation'
    if unscoped(model.get('type')) == 'ImageClassifier':
        return 'classification'
    return 'instance' if (model.get('roi_head') or {}).get('mask_head') else 'detection'


def describe_postprocessing(model: Mapping) -> dict:
    """Describe the postprocessing of a network's outputs.

    Args:
        model: ``config.model``.

    Returns:
        For segmentation ``align_corners`` (False), which says how logits are resized; for instances
        ``mask_threshold``; empty for boxes and classes of images.

    Raises:
        DeployError: If the postprocessing cannot be described in this way.
    """
    task = task_of(model)
    if task == 'instance':
        return {'mask_threshold': float(model['test_cfg']['rcnn'].get('mask_thr_binary', 0.5))}
    if task in ('detection', 'classification'):
        return {}
    heads = model['decode_head']
    head = heads[-1] if isinstance(heads, (list, tuple)) else heads
    if (head.get('out_channels') or head['num_classes']) < 2:
        raise DeployError(
            'The segmentation head has one output channel.',
            expected='one channel for each class',
            fix='train with num_classes=2 and without out_channels=1',
        )
    if head.get('align_corners', False):
        raise DeployError(
            'The segmentation head has align_corners=True.',
            expected='align_corners=False, as runtimes resize images and logits',
            fix='train with it, or set it with --cfg-options model.decode_head.align_corners=False, and evaluate the '
            'checkpoint with it as well',
        )
    return {'align_corners': False}


def describe_window(model: Mapping) -> dict | None:
    """Describe the sliding window of a segmentor.

    Args:
        model: ``config.model``.

    Returns:
        ``size`` and ``stride``, height and width each; None for a network that is given whole images.

    Raises:
        DeployError: If the mode of ``test_cfg`` is unknown, or the window is incomplete or leaves pixels out.
    """
    test = model.get('test_cfg') or {}
    mode = test.get('mode', 'whole')
    if task_of(model) != 'segmentation' or mode == 'whole':
        return None
    size, stride = ([test.get(name)] * 2 if isinstance(test.get(name), int) else test.get(name) for name in _WINDOW)
    fits = all(
        isinstance(sides, Sequence) and len(sides) == 2 and all(isinstance(side, int) and side > 0 for side in sides)
        for sides in (size, stride)
    )
    if mode != 'slide' or not fits or any(step > side for side, step in zip(size, stride, strict=True)):
        raise DeployError(
            f'test_cfg is {dict(test)}.',
            expected="mode='whole', or mode='slide' with crop_size and stride, height and width each, and a stride "
            'within the crop',
            fix='correct model.test_cfg of the config, or use --cfg-options model.test_cfg.mode=whole, and evaluate '
            'the checkpoint with it as well',
        )
    return {'size': list(size), 'stride': list(stride)}


def describe_model(model_config: Mapping, metainfo: Mapping, input_shape: Sequence[int] | None = None) -> dict:
    """The part of a manifest that follows from the model config.

    Args:
        model_config: A config of mmdet, mmseg or mmpretrain.
        metainfo: ``classes`` and optionally ``palette`` of its test data set.
        input_shape: As in :func:`describe_preprocessing`.

    Raises:
        DeployError: If the config cannot be described.
    """
    model = model_config['model']
    window = describe_window(model)
    palette = metainfo.get('palette') or ()  # mmdet also allows the name of a palette
    return {
        'method': unscoped(model['type']),
        'task': task_of(model),
        'preprocessing': describe_preprocessing(model_config, input_shape),
        'postprocessing': describe_postprocessing(model),
        **({'window': window} if window else {}),
        'classes': list(metainfo.get('classes') or ()),
        'palette': [] if isinstance(palette, str) else [[int(value) for value in colour] for colour in palette],
    }
