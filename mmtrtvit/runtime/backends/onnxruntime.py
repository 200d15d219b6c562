"""ONNX Runtime."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import DeployError
from .base import Backend, Int8Form, Session, TensorSpec, available_cores, import_package

PROVIDERS = {'cpu': 'CPUExecutionProvider', 'cuda': 'CUDAExecutionProvider'}
"""Device to execution provider."""

_DTYPES = {'float': 'float32', 'double': 'float64'}
"""Element types that ONNX Runtime and NumPy name differently."""


def _spec(value: Any) -> TensorSpec:
    kind = value.type.removeprefix('tensor(').removesuffix(')')
    return TensorSpec(value.name, _DTYPES.get(kind, kind), tuple(-1 if side is None else side for side in value.shape))


class OnnxRuntimeSession(Session):
    """An ONNX file in ONNX Runtime.

    Args:
        path: The file.
        threads: Threads to use in all; by default one per core.
        streams: Runs that go on at the same time and share the threads.
        device: ``'cpu'`` or ``'cuda'`` (which needs the package ``onnxruntime-gpu``).
        profile: Start of the name of a file for the times of its kernels; None for no times.
        optimise: Whether nodes of the graph are joined and its layouts changed.

    Raises:
        DeployError: If the package, the device or the file cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        threads: int | None = None,
        streams: int = 1,
        device: str = 'cpu',
        profile: str | None = None,
        optimise: bool = True,
    ) -> None:
        onnxruntime = import_package('onnxruntime')
        provider = PROVIDERS.get(device)
        if provider not in onnxruntime.get_available_providers():
            offered = [name for name, key in PROVIDERS.items() if key in onnxruntime.get_available_providers()]
            raise DeployError(
                f'This onnxruntime cannot run on {device!r}.',
                expected=f'one of {", ".join(offered)}',
                fix='for cuda install onnxruntime-gpu in place of onnxruntime',
            )
        self.device, self.streams = device, streams
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3  # hides a warning for every fused node
        if streams > 1:
            # a run takes its caller's thread, and all runs share the others
            settings.intra_op_num_threads = max((threads or available_cores()) - streams, 0) + 1
        elif threads:
            settings.intra_op_num_threads = threads
        if profile:
            settings.enable_profiling, settings.profile_file_prefix = True, profile
        if not optimise:
            settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # Operators without a CUDA kernel run on the CPU.
        providers = list(dict.fromkeys([provider, PROVIDERS['cpu']]))
        try:
            self._session = onnxruntime.InferenceSession(str(path), settings, providers=providers)
        except Exception as error:  # each kind of failure has its own class
            raise DeployError(
                f'onnxruntime {onnxruntime.__version__} cannot load {path}: {str(error).splitlines()[0]}',
                fix='export again with the versions that are installed now (tools/check_env.py lists them)',
            ) from error
        loaded = self._session.get_providers()
        if loaded[:1] != [provider]:  # a provider whose libraries do not load is left out with a line in the log
            raise DeployError(
                f'onnxruntime {onnxruntime.__version__} could not load its {provider} and would run on '
                f'{", ".join(loaded)}.',
                expected=f'the CUDA and cuDNN libraries that this onnxruntime needs, and a GPU, for device={device!r}',
                fix="install them (its log says which is missing), or load with device='cpu'",
            )
        self.inputs = tuple(map(_spec, self._session.get_inputs()))
        self.outputs = tuple(map(_spec, self._session.get_outputs()))

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the network on arrays that were already checked."""
        names = [spec.name for spec in self.outputs]
        return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))

    def end_profile(self) -> str:
        """Write the file of ``profile``, and return its name."""
        return self._session.end_profiling()


ONNXRUNTIME = Backend(
    name='onnxruntime',
    title='ONNX Runtime',
    module='onnxruntime',
    open=OnnxRuntimeSession,
    precisions=('fp32', 'fp16', 'int8'),
    # It computes layers in float32 unless all that belongs to them is quantised.
    int8=Int8Form(whole=True, unsigned=True),
    devices=tuple(PROVIDERS),
    session_options=('threads', 'streams', 'device'),
    remarks={'fp16': 'which computes FP16 in float32'},
)
