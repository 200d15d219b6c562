"""Deploy configs of mmdeploy: reading one, making one, and what it does to the model config."""

import copy
import difflib
import os
from collections.abc import Mapping
from pathlib import Path

from mmdeploy.utils import Backend, get_input_shape, load_config
from mmengine.config import Config, ConfigDict

from ...errors import ConfigError, DeployError
from ...runtime.backends import BACKENDS
from ...runtime.tensor_names import DETS, EXACT, INPUT, LABELS, MASKS, ONNX_FILE, OUTPUT, OUTPUTS
from .describe import task_of, unscoped
from .fixed_size import FitResize, FixedShapeDetDataPreprocessor
from .input_shapes import CHANNELS, InputShapes
from .rewriters.registration import FLAVOURS

OPSET = 17
"""The first with LayerNormalization as one node."""

_FREE_SIDES = {
    INPUT: {0: 'batch', 2: 'height', 3: 'width'},
    DETS: {0: 'batch', 1: 'num_dets'},
    LABELS: {0: 'batch', 1: 'num_dets'},
    MASKS: {0: 'batch', 1: 'num_dets', 2: 'mask_height', 3: 'mask_width'},
    EXACT: {0: 'batch'},
    OUTPUT: {0: 'batch', 2: 'height', 3: 'width'},
}

_DETECTION = dict(
    type='mmdet',
    task='ObjectDetection',
    model_type='end2end',
    # Thresholds come from the model's own test_cfg; mmdeploy asks for these keys and uses some on other backends.
    post_processing=dict(
        score_threshold=0.05,
        confidence_threshold=0.005,
        iou_threshold=0.5,
        max_output_boxes_per_class=200,
        pre_top_k=5000,
        keep_top_k=100,
        background_label_id=-1,
        export_postprocess_mask=False,
    ),
)
CODEBASES = {
    'detection': _DETECTION,
    'instance': _DETECTION,
    # logits, not labels: mmseg resizes them to the image before it decides
    'segmentation': dict(type='mmseg', task='Segmentation', with_argmax=False),
}
"""``codebase_config`` of each task."""

MMDEPLOY_BACKENDS = {'tensorrt-rtx': 'tensorrt'}
"""What mmdeploy calls a backend, where it has another name for it."""

PORTABLE_BACKENDS = ('tensorrt-rtx',)
"""Backends that have neither ``NonMaxSuppression`` nor ``NonZero``."""

_KEYS = ('onnx_config', 'codebase_config', 'backend_config')


def default_flavour(backend: str, task: str) -> str:
    """The flavour that suits a backend: plain arithmetic where it lacks the standard operators."""
    return 'portable' if backend in PORTABLE_BACKENDS and task != 'segmentation' else 'native'


def make_deploy_config(
    model: Mapping, backend: str, flavour: str | None = None, shapes: InputShapes | None = None
) -> Config:
    """A deploy config for mmdeploy.

    Args:
        model: ``config.model``.
        backend: A key of :data:`~mmtrtvit.runtime.backends.BACKENDS`.
        flavour: ``'native'`` or ``'portable'``; by default what suits the backend.
        shapes: Input sizes; ``None`` for any.

    Returns:
        The config, with ``backend_config.type`` as mmdeploy calls the backend and ``codebase_config.backend`` as this
        package does.

    Raises:
        ConfigError: If backend or flavour are unknown, or a backend that needs input sizes has none.
    """
    for option, given, known in (('--backend', backend, tuple(BACKENDS)), ('--flavour', flavour, (None, *FLAVOURS))):
        if given not in known:
            raise ConfigError(
                f'{option} {given} is unknown.', expected=f'one of {", ".join(filter(None, known))}', fix='correct it'
            )
    task = task_of(model)
    flavour = flavour or default_flavour(backend, task)
    if shapes is None and backend in ('tensorrt', 'tensorrt-rtx'):
        raise ConfigError(
            f'--backend {backend} without an input size.',
            expected='--shape 800x1344, or --dynamic MIN OPT MAX for sizes that vary',
            fix='add one of them',
        )
    outputs = [*OUTPUTS[task], *([EXACT] if flavour == 'portable' and task != 'segmentation' else [])]
    fixed = () if shapes is None else ((0, shapes.batch), (2, shapes.size), (3, shapes.size))
    taken = {side for side, value in fixed if value is not None}
    free = {side: name for side, name in _FREE_SIDES[INPUT].items() if side not in taken}
    axes = {INPUT: free, **{name: _FREE_SIDES[name] for name in outputs}} if free else None
    size = shapes.size if shapes is not None else None
    backend_config = dict(type=MMDEPLOY_BACKENDS.get(backend, backend))
    if shapes is not None and backend_config['type'] == 'tensorrt':
        profile = dict(zip(('min_shape', 'opt_shape', 'max_shape'), map(list, shapes.profile), strict=True))
        backend_config['model_inputs'] = [dict(input_shapes={INPUT: profile})]
    return Config(
        dict(
            onnx_config=dict(
                type='onnx',
                export_params=True,
                keep_initializers_as_inputs=False,
                opset_version=OPSET,
                save_file=ONNX_FILE,
                input_names=[INPUT],
                output_names=outputs,
                input_shape=None if size is None else list(size[::-1]),  # mmdeploy writes width first
                optimize=False,  # mmdeploy's passes need its C++ extension; onnxslim runs instead
                **({'dynamic_axes': axes} if axes else {}),
            ),
            codebase_config=dict(
                **copy.deepcopy(CODEBASES[task]), module=['mmtrtvit.deploy'], flavour=flavour, backend=backend
            ),
            backend_config=backend_config,
        )
    )


def load_deploy_config(path: str | os.PathLike) -> Config:
    """Read an mmdeploy deploy config and make sure that it can be used here.

    Args:
        path: The file, such as ``configs/deploy/instance-seg_onnxruntime_dynamic.py``.

    Returns:
        The config.

    Raises:
        ConfigError: If there is no such file, it is not a deploy config, it names inputs or outputs that no network
            here has, or it is for TensorRT and does not say which sizes.
        DeployError: If it names a backend that is unknown or that this version does not export to.
    """
    path = Path(path)
    if not path.is_file():
        known = sorted(file.name for file in path.parent.glob('*.py'))
        near = difflib.get_close_matches(path.name, known, n=3, cutoff=0.4) or known
        raise ConfigError(
            f'There is no deploy config {path}.',
            expected=f'perhaps {", ".join(str(path.parent / name) for name in near)}'
            if near
            else 'a file such as configs/deploy/instance-seg_onnxruntime_dynamic.py',
            fix='correct --deploy-cfg',
        )
    try:
        config = load_config(str(path))[0]
    except Exception as error:  # a config is a program: anything may be raised in it
        raise ConfigError(f'The deploy config {path} cannot be read: {error}', fix='correct the file') from error
    missing = [key for key in _KEYS if key not in config]
    if missing:
        raise ConfigError(
            f'{path} is not a deploy config: it lacks {", ".join(missing)}.',
            expected=f'an mmdeploy deploy config with {", ".join(_KEYS)}',
            fix='give the model config first and the deploy config by --deploy-cfg',
        )
    name = config.backend_config.get('type')
    if name not in {backend.value for backend in Backend}:
        raise DeployError(
            f'{path}: the backend {name!r} is unknown.',
            expected=f'one of {", ".join(BACKENDS)}',
            fix='correct backend_config.type',
        )
    if backend_name(config) not in BACKENDS:
        raise DeployError(
            f'{path}: mmdeploy knows the backend {name!r}, but tools/deploy.py does not convert to it.',
            expected=f'one of {", ".join(BACKENDS)}',
            fix='choose a deploy config of such a backend; the exported ONNX has standard operators only and can be '
            'given to that backend by its own tools',
        )
    _check_names(config, path)
    if MMDEPLOY_BACKENDS.get(backend_name(config), backend_name(config)) == 'tensorrt' and shapes_of(config) is None:
        raise ConfigError(
            f'{path}: the backend {backend_name(config)} without an input size.',
            expected=f'backend_config.model_inputs with input_shapes of {INPUT!r}, or onnx_config.input_shape',
            fix='correct the deploy config, or use --backend and --shape or --dynamic instead',
        )
    return config


def _check_names(config: Config, path: Path) -> None:
    """Make sure that the inputs and outputs are those of one of the tasks.

    Raises:
        ConfigError: If they are not.
    """
    given = [list(config.onnx_config.get(key) or ()) for key in ('input_names', 'output_names')]
    known = list({tuple(names): None for names in OUTPUTS.values()})
    if given[0] != [INPUT] or tuple(name for name in given[1] if name != EXACT) not in known:
        raise ConfigError(
            f'{path}: onnx_config has input_names={given[0]} and output_names={given[1]}.',
            expected=f'{[INPUT]}, and {" or ".join(str(list(names)) for names in known)} (a portable detector also has '
            f'{EXACT!r})',
            fix='correct the deploy config; runtimes find inputs and outputs by these names',
        )


def backend_name(deploy_config: Config) -> str:
    """The backend of a deploy config as this package calls it, such as ``'onnxruntime'`` or ``'tensorrt-rtx'``."""
    return deploy_config.codebase_config.get('backend', deploy_config.backend_config.type)


def flavour_name(deploy_config: Config) -> str:
    """The flavour of a deploy config."""
    return deploy_config.codebase_config.get('flavour', 'native')


def shapes_of(deploy_config: Config) -> InputShapes | None:
    """The input sizes of a deploy config, ``None`` where it takes any.

    Raises:
        ConfigError: If only a part of them is fixed and the deploy config does not give the range of the others.
    """
    inputs = deploy_config.backend_config.get('model_inputs') or []
    profile = inputs[0].get('input_shapes', {}).get(INPUT) if inputs else None
    if profile:
        given = [list(profile.get(name) or ()) for name in ('min_shape', 'opt_shape', 'max_shape')]
        in_order = all(0 < least <= usual <= most for least, usual, most in zip(*given, strict=False))
        if {len(shape) for shape in given} != {4} or not in_order:
            raise ConfigError(
                f'The deploy config has input_shapes={profile.to_dict()} of {INPUT!r}.',
                expected='min_shape, opt_shape and max_shape of four sides each, none of which is 0 or shrinks',
                fix='correct backend_config.model_inputs',
            )
        return InputShapes(*map(tuple, given))
    size = get_input_shape(deploy_config)
    axes = deploy_config.onnx_config.get('dynamic_axes', {}).get(INPUT, {})
    if size is None:
        return None
    if axes:
        raise ConfigError(
            f'The deploy config has onnx_config.input_shape={list(size)} and free sides ({dict(axes)}).',
            expected='a fixed shape without dynamic_axes, or free sides without input_shape',
            fix='correct the deploy config, or use --shape, --dynamic and --batch instead',
        )
    return InputShapes(*[(1, CHANNELS, *size[::-1])] * 3)


def for_export(deploy_config: Config) -> Config:
    """The deploy config by which the ONNX is made: with every side free, and by the rewriters of ONNX Runtime.

    A fixed size is put into the graph afterwards, which folds whatever depends on it: one way of exporting for all
    sizes and backends. mmdeploy's own rewriters for TensorRT are left out, as they need its plugin library.
    """
    config = copy.deepcopy(deploy_config)
    config.onnx_config.input_shape = None
    names = [*config.onnx_config.input_names, *config.onnx_config.output_names]
    config.onnx_config.dynamic_axes = {name: _FREE_SIDES[name] for name in names}
    config.backend_config = dict(type='onnxruntime')
    return config


def is_resize(transform: Mapping) -> bool:
    """Whether a transform of a test pipeline gives the image its size."""
    return unscoped(transform['type']) in ('Resize', FitResize.__name__)


def follow_input_shape(model_config: Config, shapes: InputShapes | None) -> Config:
    """The model config with the test pipeline that an artefact with these input sizes needs.

    Where height and width are fixed, images are made to fit into them as large as their aspect ratio allows; they are
    then padded to them at the right and at the bottom (see :func:`pad_to_input_shape`).

    Args:
        model_config: The model config, left as it is.
        shapes: The input sizes.

    Returns:
        A copy; its test data loader gives one image at a time.
    """
    config = copy.deepcopy(model_config)
    config.test_dataloader.batch_size = 1
    if shapes is not None and shapes.size is not None:
        height, width = shapes.size
        for pipeline in (config.test_pipeline, config.test_dataloader.dataset.pipeline):
            for place, transform in enumerate(pipeline):
                if is_resize(transform):
                    pipeline[place] = ConfigDict(type=FitResize.__name__, scale=(width, height))
    return config


def pad_to_input_shape(model_config: Config, shapes: InputShapes | None) -> Config:
    """The model config whose network in PyTorch pads its input as a fixed engine needs it.

    Comparing the two is fair only on the same input: attention sees the padding.

    Returns:
        A copy, or the config itself where height and width are free.
    """
    if shapes is None or shapes.size is None:
        return model_config
    config = copy.deepcopy(model_config)
    if task_of(config.model) == 'segmentation':
        config.model.data_preprocessor.test_cfg = dict(size=shapes.size)
    else:
        config.model.data_preprocessor.update(
            type=f'mmtrtvit.{FixedShapeDetDataPreprocessor.__name__}', fixed_shape=shapes.size
        )
    return config
