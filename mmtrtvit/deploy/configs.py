"""Reading a deploy config, and what it does to the model config."""

import copy
import difflib
import os
from pathlib import Path

from mmdeploy.utils import Backend, get_backend, get_input_shape, load_config
from mmengine.config import Config

from ..errors import ConfigError, DeployError

BACKENDS = ('onnxruntime',)
"""Backends that this version exports to and runs."""

_KEYS = ('onnx_config', 'codebase_config', 'backend_config')


def load_deploy_config(path: str | os.PathLike) -> Config:
    """Read an mmdeploy deploy config and make sure that it can be used here.

    Args:
        path: The file, such as ``configs/deploy/instance-seg_onnxruntime_dynamic.py``.

    Returns:
        The config.

    Raises:
        ConfigError: If there is no such file or it is not a deploy config.
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
    if name not in BACKENDS:
        raise DeployError(
            f'{path}: mmdeploy knows the backend {name!r}, but tools/deploy.py does not convert to it yet.',
            expected=f'one of {", ".join(BACKENDS)}',
            fix='choose a deploy config of such a backend; the exported ONNX has standard operators only and can be '
            'given to that backend by its own tools',
        )
    return config


def backend_name(deploy_config: Config) -> str:
    """The backend of a deploy config, such as ``'onnxruntime'``."""
    return get_backend(deploy_config).value


def follow_input_shape(model_config: Config, deploy_config: Config) -> Config:
    """The model config with the test pipeline that an artefact of this deploy config needs.

    A fixed input shape resizes every image to exactly that shape, whatever its aspect ratio, as mmdeploy does
    it when it exports. Comparing PyTorch with the artefact is fair only on the same pipeline.

    Args:
        model_config: The model config, left as it is.
        deploy_config: A deploy config.

    Returns:
        A copy; its test data loader gives one image at a time.
    """
    config = copy.deepcopy(model_config)
    shape = get_input_shape(deploy_config)
    pipelines = [config.test_pipeline, config.test_dataloader.dataset.pipeline]
    if shape is not None:
        for transform in (transform for pipeline in pipelines for transform in pipeline):
            if transform.type == 'Resize':
                transform.update(scale=tuple(shape), keep_ratio=False)
    config.test_dataloader.batch_size = 1
    return config
