"""mmdeploy's backends ``openvino``, ``tensorrt`` and ``tensorrt-rtx``, for mmdeploy's own tools.

mmdeploy 1.3.1 builds and runs networks through APIs that OpenVINO 2024 and TensorRT 10 removed, and it does not know
TensorRT for RTX. Importing this module gives these backends the builders and sessions of this package. An export for
TensorRT then has standard operators only (:func:`records_of_standard_operators`). ONNX Runtime stays mmdeploy's own.
"""

import copyreg
import functools
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from mmdeploy.backend.base import BACKEND_MANAGERS, BaseBackendManager, BaseWrapper
from mmdeploy.core.rewriters.rewriter_utils import RewriterRegistry
from mmdeploy.utils import Backend as MMDeployBackend
from mmdeploy.utils import get_common_config, get_ir_config, get_model_inputs
from mmdeploy.utils.timer import TimeCounter

from ..environment import is_there
from ..errors import DeployError
from ..runtime.backends import Backend, Session
from ..runtime.backends.openvino import OPENVINO
from ..runtime.backends.tensorrt import TENSORRT, TENSORRT_RTX
from ..runtime.backends.tensorrt.session import TensorRTSession
from ..runtime.backends.tensorrt.support import refuse_combination, require_version
from ..runtime.tensor_names import INPUT
from ..when_imported import when_imported
from .engines.tensorrt_builder import build_engine
from .export.common_config import PRECISION_FLAGS, workspace_mib
from .export.onnx_graph import require_standard_operators, simplify
from .steps import quiet


class SessionWrapper(BaseWrapper):
    """A session behind mmdeploy's interface for networks.

    Args:
        name: The backend's name in mmdeploy, which is also that of its timer.
        session: The session.
        output_names: Outputs in the order that mmdeploy expects; by default those of the session.
    """

    def __init__(self, name: str, session: Session, output_names: Sequence[str] | None = None) -> None:
        super().__init__(list(output_names or [spec.name for spec in session.outputs]))
        self.session = session
        # mmdeploy's own wrapper of this backend claims the timer's name when it is imported, and a name may be claimed
        # once. Timers are looked up by name at each run, so both wrappers can share one.
        BACKEND_MANAGERS.find(name)
        taken = TimeCounter.names.pop(name, None)
        self._timed = TimeCounter.count_time(name)(self._run)
        if taken is not None:
            TimeCounter.names[name] = taken

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Run the network.

        Args:
            inputs: Name to tensor.

        Returns:
            Name to tensor, on the session's device.
        """
        outputs = self._timed(dict(inputs))
        return {name: outputs[name] for name in self.output_names}

    def _run(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if isinstance(self.session, TensorRTSession):
            return self.session.run_tensors(inputs)
        arrays = self.session({name: tensor.cpu().numpy() for name, tensor in inputs.items()})
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


class _Manager(BaseBackendManager):
    """Builds and loads networks for mmdeploy."""

    backend: Backend

    @classmethod
    def is_available(cls, with_custom_ops: bool = False) -> bool:
        """True if the backend's package is installed and custom operators are not requested: there are none."""
        return not with_custom_ops and is_there(cls.backend.module)


class OpenVinoManager(_Manager):
    """OpenVINO through its current API."""

    backend = OPENVINO

    @classmethod
    def get_version(cls) -> str:
        """Version of OpenVINO."""
        return importlib.metadata.version(cls.backend.module)

    @classmethod
    def build_wrapper(
        cls,
        backend_files: Sequence[str],
        device: str = 'cpu',
        input_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
        deploy_cfg: Any | None = None,
        **kwargs,
    ) -> SessionWrapper:
        """See mmdeploy's ``BaseBackendManager``."""
        return SessionWrapper(cls.backend.name, cls.backend.open_session(backend_files[0]), output_names)

    @classmethod
    def to_backend(cls, ir_files: Sequence[str], work_dir: str, deploy_cfg: Any, **kwargs) -> list[str]:
        """Convert each ONNX file to an ``.xml`` file, with a ``.bin`` file beside it.

        Raises:
            DeployError: If OpenVINO is not installed or cannot read a file.
        """
        networks = [Path(work_dir) / f'{Path(path).stem}.xml' for path in ir_files]
        for path, network in zip(map(Path, ir_files), networks, strict=True):
            cls.backend.convert(path, network)
        return list(map(str, networks))


class TensorRTManager(_Manager):
    """TensorRT 10 and 11."""

    backend = TENSORRT

    @classmethod
    def get_version(cls) -> str:
        """Version of the package."""
        return '.'.join(map(str, require_version(cls.backend.module)))

    @classmethod
    def gpu(cls, device: str) -> int:
        """Number of the GPU in mmdeploy's name of the device.

        Raises:
            DeployError: If the device is not a GPU.
        """
        if not device.startswith('cuda'):
            raise DeployError(
                f'{cls.backend.title} was asked to work on {device!r}.', expected='a GPU', fix='give --device cuda:0'
            )
        return torch.device(device).index or 0

    @classmethod
    def build_wrapper(
        cls,
        backend_files: Sequence[str],
        device: str = 'cuda',
        input_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
        deploy_cfg: Any | None = None,
        **kwargs,
    ) -> SessionWrapper:
        """See mmdeploy's ``BaseBackendManager``."""
        session = TensorRTSession(backend_files[0], cls.backend.module, output_names, f'cuda:{cls.gpu(device)}')
        return SessionWrapper(cls.backend.name, session, output_names)

    @classmethod
    def to_backend(
        cls, ir_files: Sequence[str], work_dir: str, deploy_cfg: Any, device: str = 'cuda', **kwargs
    ) -> list[str]:
        """Build an engine from each ONNX file, with the shapes and the workspace limit of a deploy config.

        The files' constants are folded first.

        Raises:
            DeployError: If the config asks for a precision by builder flags, or an engine cannot be built.
        """
        version = require_version(cls.backend.module)
        common, models = get_common_config(deploy_cfg), get_model_inputs(deploy_cfg)
        flags = any(common.get(flag) for flag in PRECISION_FLAGS)
        refuse_combination(cls.backend.module, version, uses='precision flags' if flags else '')
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
            require_standard_operators(onnx.load(path))
            simplify(path)
            build_engine(
                path,
                engine,
                package=cls.backend.module,
                profiles={
                    name: tuple(tuple(shape[f'{size}_shape']) for size in ('min', 'opt', 'max'))
                    for name, shape in shapes.items()
                },
                workspace_mib=workspace_mib({**common, **settings}),
                device=cls.build_device(device),
            )
            engines.append(str(engine))
        return engines

    @classmethod
    def build_device(cls, device: str) -> int:
        """Number of the GPU to build on, by mmdeploy's name of the device."""
        return cls.gpu(device)


class TensorRTForRTXManager(TensorRTManager):
    """TensorRT for RTX, which builds without a GPU."""

    backend = TENSORRT_RTX

    @classmethod
    def build_device(cls, device: str) -> int:
        """The first GPU: engines are built for kinds of GPUs, not for the one that is here."""
        return 0


MANAGERS = {manager.backend.name: manager for manager in (OpenVinoManager, TensorRTManager, TensorRTForRTXManager)}

_records_of_mmdeploy = RewriterRegistry.get_records


def records_of_standard_operators(self: RewriterRegistry, env: dict) -> list:
    """The rewriters for an export; those for ONNX Runtime also for the other backends of this package.

    mmdeploy's own for ``tensorrt`` write operators of its plugin library (anchors, RoIAlign, InstanceNorm) and store
    sizes of the traced image as constants (the K of a top-k). The plugin library does not exist for TensorRT 10 and
    later, which do not need it.

    Args:
        self: One of mmdeploy's rewriter registries.
        env: Backend, IR and versions of an export.
    """
    if env['backend'].value in MANAGERS:
        env = {**env, 'backend': MMDeployBackend.ONNXRUNTIME}
    return _records_of_mmdeploy(self, env)


def find_mmdeploy_backend(name: str) -> MMDeployBackend:
    """A backend of mmdeploy by its name; the processes that mmdeploy starts find it by this function."""
    return MMDeployBackend.get(name)


def _reduce(backend: MMDeployBackend) -> tuple:
    return find_mmdeploy_backend, (backend.value,)


def _replace(manager: type[_Manager]) -> None:
    name = manager.backend.name
    with quiet():  # mmdeploy tells of every new backend
        BACKEND_MANAGERS.register(name, name.upper().replace('-', '_'))(manager)


def _register() -> None:
    """Give mmdeploy the managers of this module, and have the processes that it starts do the same.

    mmdeploy's ``tools/deploy.py`` builds engines and draws results in new processes, which import nothing but
    mmdeploy. All of them are handed the backend. Unpickling it there imports this module.
    """
    RewriterRegistry.get_records = records_of_standard_operators
    copyreg.pickle(MMDeployBackend, _reduce)
    _replace(TensorRTForRTXManager)
    for manager in (OpenVinoManager, TensorRTManager):
        # mmdeploy imports this module at the first use of the backend, and registers its own manager there
        when_imported(f'mmdeploy.backend.{manager.backend.name}.backend_manager', functools.partial(_replace, manager))


_register()
