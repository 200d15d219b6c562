"""mmdeploy's backend ``tensorrt`` on TensorRT 10 and 11.

mmdeploy 1.3 builds and runs engines through an API that TensorRT 10 removed. With TensorRT 10 or later,
:func:`register` replaces mmdeploy's builder and session with those of this package, so that mmdeploy's own tools work.
Their exports then use standard operators only (:func:`records_of_standard_operators`). With TensorRT 8.6 nothing is
changed, and mmdeploy's plugins keep working.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmdeploy.backend.base import BACKEND_MANAGERS, BACKEND_WRAPPER, BaseBackendManager, BaseWrapper
from mmdeploy.core.rewriters.rewriter_utils import RewriterRegistry
from mmdeploy.utils import Backend, get_common_config, get_ir_config, get_model_inputs
from mmdeploy.utils.timer import TimeCounter

from ..environment import TENSORRT_TYPED
from ..errors import DeployError
from ..runtime.backends.tensorrt.session import TensorRTSession
from ..runtime.backends.tensorrt.support import installed_version, refuse_combination, require_version
from ..runtime.tensor_names import INPUT
from .engines.tensorrt_builder import build_engine

LOWEST = TENSORRT_TYPED
"""The first version that mmdeploy's own code does not support."""


class TensorRTWrapper(BaseWrapper):
    """An engine behind mmdeploy's backend interface.

    Args:
        engine: The engine's file.
        output_names: Outputs in the order that mmdeploy expects; by default all outputs of the engine.
        device: The GPU.
    """

    def __init__(self, engine: str, output_names: Sequence[str] | None = None, device: str = 'cuda') -> None:
        session = TensorRTSession(engine, 'tensorrt', output_names, device)
        super().__init__([spec.name for spec in session.outputs])
        self.session = session

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Run the network.

        Args:
            inputs: Name to tensor.

        Returns:
            Name to tensor, on the GPU.
        """
        return self._execute(dict(inputs))

    @TimeCounter.count_time(Backend.TENSORRT.value)
    def _execute(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return self.session.run_tensors(inputs)


def _gpu(device: str) -> int:
    """Number of the GPU in mmdeploy's name of the device."""
    if not device.startswith('cuda'):
        raise DeployError(f'TensorRT was asked to work on {device!r}.', expected='a GPU', fix='give --device cuda:0')
    return torch.device(device).index or 0


class CurrentTensorRTManager(BaseBackendManager):
    """Builds and loads engines for mmdeploy."""

    @classmethod
    def is_available(cls, with_custom_ops: bool = False) -> bool:
        """True if TensorRT is installed and custom operators are not requested: there are none."""
        return not with_custom_ops and installed_version('tensorrt') is not None

    @classmethod
    def get_version(cls) -> str:
        """Version of TensorRT."""
        return '.'.join(map(str, require_version('tensorrt')))

    @classmethod
    def build_wrapper(
        cls,
        backend_files: Sequence[str],
        device: str = 'cuda',
        input_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
        deploy_cfg: Any | None = None,
        **kwargs,
    ) -> TensorRTWrapper:
        """See mmdeploy's ``BaseBackendManager``."""
        return TensorRTWrapper(backend_files[0], output_names, f'cuda:{_gpu(device)}')

    @classmethod
    def to_backend(
        cls, ir_files: Sequence[str], work_dir: str, deploy_cfg: Any, device: str = 'cuda', **kwargs
    ) -> list[str]:
        """Build an engine from each ONNX file, with the shapes and the workspace limit of a deploy config.

        Raises:
            DeployError: If the config asks for a precision by builder flags, or an engine cannot be built.
        """
        common, models = get_common_config(deploy_cfg), get_model_inputs(deploy_cfg)
        if common.get('fp16_mode') or common.get('int8_mode'):
            refuse_combination('tensorrt', require_version('tensorrt'), uses='precision flags')
        if len(models) != len(ir_files):
            raise DeployError(
                f'The deploy config has shapes for {len(models)} graphs, and there are {len(ir_files)}.',
                fix='correct backend_config.model_inputs',
            )
        names = get_ir_config(deploy_cfg).get('input_names') or [INPUT]
        engines = []
        for path, settings in zip(map(Path, ir_files), models, strict=True):
            shapes = settings['input_shapes']
            if not isinstance(shapes, Mapping):
                shapes = dict(zip(names, shapes, strict=True))
            engine = Path(work_dir) / settings.get('save_file', f'{path.stem}.engine')
            # mmdeploy writes 0 for no limit; bytes there, MiB here
            workspace = {**common, **settings}.get('max_workspace_size', 0) >> 20
            build_engine(
                path,
                engine,
                profiles={
                    name: tuple(tuple(shape[f'{size}_shape']) for size in ('min', 'opt', 'max'))
                    for name, shape in shapes.items()
                },
                workspace_mib=workspace or None,
                device=_gpu(device),
            )
            engines.append(str(engine))
        return engines


def plugins_are_there() -> bool:
    """True if the TensorRT version of mmdeploy's plugin library is installed."""
    version = installed_version('tensorrt')
    return version is not None and version < LOWEST


_records_of_mmdeploy = RewriterRegistry.get_records


def records_of_standard_operators(self: RewriterRegistry, env: dict) -> list:
    """The rewriters for an export, with those for ONNX Runtime in place of mmdeploy's for TensorRT.

    mmdeploy's own for ``tensorrt`` write operators of its plugin library (anchors, RoIAlign, InstanceNorm) and store
    sizes of the traced image as constants (the K of a top-k). TensorRT 10 and later do not need these rewriters, and
    mmdeploy has no plugin library for them. With TensorRT 8 they are kept.

    Args:
        self: One of mmdeploy's rewriter registries.
        env: Backend, IR and versions of an export.
    """
    if env['backend'] == Backend.TENSORRT and not plugins_are_there():
        env = {**env, 'backend': Backend.ONNXRUNTIME}
    return _records_of_mmdeploy(self, env)


RewriterRegistry.get_records = records_of_standard_operators


def register() -> bool:
    """Replace mmdeploy's backend ``tensorrt`` with this module if TensorRT 10 or later is installed.

    Returns:
        True if it was replaced.
    """
    version = installed_version('tensorrt')
    if version is None or version < LOWEST:
        return False
    try:
        # importing it registers mmdeploy's own backend, which must happen before ours
        importlib.import_module('mmdeploy.backend.tensorrt')
    except (ImportError, OSError):
        return False  # TensorRT without its libraries; using it raises an error
    BACKEND_MANAGERS.register(Backend.TENSORRT.value)(CurrentTensorRTManager)
    BACKEND_WRAPPER.register_module(Backend.TENSORRT.value, module=TensorRTWrapper, force=True)
    return True
