"""mmdeploy's deploy configs: read one, or make one from the files in ``configs/deploy/_base_``."""

import copy
import difflib
import os
from pathlib import Path

from mmdeploy.utils import Backend, get_input_shape, load_config
from mmengine.config import Config

from ...errors import ConfigError, DeployError
from ...runtime.backends import BACKENDS
from ...runtime.tasks import TASKS, Task
from ...runtime.tensor_names import EXACT, INPUT
from ...shipped import shipped_root
from .common_config import PRECISION_FLAGS, workspace_mib
from .input_shapes import CHANNELS, InputShapes

_KEYS = ('onnx_config', 'codebase_config', 'backend_config')


def _base_config(task: Task) -> Config:
    """The part that all deploy configs of a task share, with all sides free."""
    config = Config.fromfile(shipped_root() / 'configs' / 'deploy' / '_base_' / f'{task.deploy_config}.py')
    if task.finds_boxes:
        config.onnx_config.dynamic_axes[EXACT] = {0: 'batch'}
    return config


def make_deploy_config(task: str, backend: str, flavour: str = 'native', shapes: InputShapes | None = None) -> Config:
    """Make the mmdeploy deploy config for a request.

    Args:
        task: A key of :data:`~mmtrtvit.runtime.tasks.TASKS`.
        backend: A key of :data:`~mmtrtvit.runtime.backends.BACKENDS`.
        flavour: ``'native'`` or ``'portable'``.
        shapes: Input sizes; ``None`` for any size.

    Returns:
        The config.
    """
    config = _base_config(TASKS[task])
    settings = config.onnx_config
    settings.output_names = TASKS[task].output_names(flavour)
    if EXACT not in settings.output_names:
        settings.dynamic_axes.pop(EXACT, None)
    config.backend_config = dict(type=backend)
    config.codebase_config.flavour = flavour
    if shapes is None:
        return config
    for side, fixed in ((0, shapes.batch), (2, shapes.size), (3, shapes.size)):
        if fixed is not None:
            del settings.dynamic_axes[INPUT][side]
    if not settings.dynamic_axes[INPUT]:
        del settings['dynamic_axes']
    if shapes.size is not None:
        settings.input_shape = list(shapes.size[::-1])  # mmdeploy writes width first
    if BACKENDS[backend].needs_shapes:
        profile = dict(zip(('min_shape', 'opt_shape', 'max_shape'), map(list, shapes.profile), strict=True))
        config.backend_config.model_inputs = [dict(input_shapes={INPUT: profile})]
    return config


def load_deploy_config(path: str | os.PathLike) -> Config:
    """Read an mmdeploy deploy config and check that it can be used here.

    Args:
        path: The file, such as ``configs/deploy/instance-seg_onnxruntime_dynamic.py``.

    Returns:
        The config.

    Raises:
        ConfigError: If the file is missing, is not a deploy config, names inputs or outputs that do not match a task,
            or is for TensorRT without input sizes or with flags for a precision.
        DeployError: If the backend is unknown or this version cannot export to it.
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
    except Exception as error:  # a config is a program and may raise anything
        raise ConfigError(f'The deploy config {path} cannot be read: {error}', fix='correct the file') from error
    missing = [key for key in _KEYS if key not in config]
    if missing:
        raise ConfigError(
            f'{path} is not a deploy config: it lacks {", ".join(missing)}.',
            expected=f'an mmdeploy deploy config with {", ".join(_KEYS)}',
            fix='give the model config first and the deploy config by --deploy-cfg',
        )
    name = config.backend_config.get('type')
    if name not in BACKENDS and name not in {backend.value for backend in Backend}:
        raise DeployError(
            f'{path}: the backend {name!r} is unknown.',
            expected=f'one of {", ".join(BACKENDS)}',
            fix='correct backend_config.type',
        )
    if name not in BACKENDS:
        raise DeployError(
            f'{path}: mmdeploy knows the backend {name!r}, but tools/deploy.py does not convert to it.',
            expected=f'one of {", ".join(BACKENDS)}',
            fix='choose a deploy config of such a backend; the exported ONNX has standard operators only and can be '
            'given to that backend by its own tools',
        )
    _check_tensor_names(config, path)
    flags = [flag for flag in PRECISION_FLAGS if config.backend_config.get('common_config', {}).get(flag)]
    if flags:
        raise ConfigError(
            f'{path}: backend_config.common_config has {", ".join(flags)}.',
            expected='no flags for a precision: it is a property of the graph',
            fix='leave it out, and give --precision fp16 or int8',
        )
    if BACKENDS[name].needs_shapes and shapes_of(config) is None:
        raise ConfigError(
            f'{path}: the backend {name} without an input size.',
            expected=f'backend_config.model_inputs with input_shapes of {INPUT!r}, or onnx_config.input_shape',
            fix='correct the deploy config, or use --backend and --shape or --dynamic instead',
        )
    return config


def _check_tensor_names(config: Config, path: Path) -> None:
    """Check that the inputs and outputs match a task.

    Raises:
        ConfigError: If they do not.
    """
    given = [list(config.onnx_config.get(key) or ()) for key in ('input_names', 'output_names')]
    known = list({tuple(task.outputs): None for task in TASKS.values()})
    if given[0] != [INPUT] or tuple(name for name in given[1] if name != EXACT) not in known:
        raise ConfigError(
            f'{path}: onnx_config has input_names={given[0]} and output_names={given[1]}.',
            expected=f'{[INPUT]}, and {" or ".join(str(list(names)) for names in known)} (a portable detector also has '
            f'{EXACT!r})',
            fix='correct the deploy config; runtimes find inputs and outputs by these names',
        )


def flavour_name(deploy_config: Config) -> str:
    """The flavour of a deploy config."""
    return deploy_config.codebase_config.get('flavour', 'native')


def shapes_of(deploy_config: Config) -> InputShapes | None:
    """The input sizes of a deploy config; ``None`` if it accepts any size.

    Raises:
        ConfigError: If some sides are fixed and the range of the others is missing.
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


def read_deploy_config(path: str | os.PathLike) -> dict:
    """Read the attributes of a request from a deploy config. Raises as :func:`load_deploy_config`.

    Returns:
        ``backend``, ``flavour``, ``shapes`` and ``workspace_mib``, which is None for no limit.
    """
    config = load_deploy_config(path)
    return dict(
        backend=config.backend_config.type,
        flavour=flavour_name(config),
        shapes=shapes_of(config),
        workspace_mib=workspace_mib(config.backend_config.get('common_config', {})),
    )


def for_export(deploy_config: Config) -> Config:
    """The deploy config used for tracing: all sides free, with the rewriters of ONNX Runtime.

    A fixed size is written into the graph afterwards, and everything that depends on it is folded. So all sizes and
    backends are exported in the same way. mmdeploy's own rewriters for TensorRT are not used, as they need its plugin
    library.
    """
    config = copy.deepcopy(deploy_config)
    settings = config.onnx_config
    outputs = [name for name in settings.output_names if name != EXACT]
    task = next(task for task in TASKS.values() if list(task.outputs) == outputs)
    free = _base_config(task).onnx_config.dynamic_axes
    settings.input_shape = None
    settings.dynamic_axes = {name: free[name] for name in (*settings.input_names, *settings.output_names)}
    config.backend_config = dict(type='onnxruntime')
    return config
