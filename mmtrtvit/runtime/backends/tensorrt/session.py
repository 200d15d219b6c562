"""Running an engine of TensorRT or TensorRT for RTX on PyTorch's memory, in order with PyTorch's streams.

Uses the current API only: named tensors and ``execute_async_v3``, available since TensorRT 8.5.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from ....errors import DeployError
from ..base import Session, TensorSpec
from .support import PACKAGES, import_package, parse_version, refuse_combination, require_version, target_of

if TYPE_CHECKING:
    import tensorrt

TORCH_TYPES = {
    'FLOAT': torch.float32,
    'HALF': torch.float16,
    'BF16': torch.bfloat16,
    'INT8': torch.int8,
    'UINT8': torch.uint8,
    'INT32': torch.int32,
    'INT64': torch.int64,
    'BOOL': torch.bool,
}
"""TensorRT data type, by name, to PyTorch type."""


class LoadFailure(NamedTuple):
    """A known reason why an engine does not load.

    Attributes:
        words: Words in the library's message, in lower case; any of them identifies the failure.
        reason: The explanation for the user.
    """

    words: tuple[str, ...]
    reason: str


ANOTHER_GPU = 'it was built for another GPU'

LOAD_FAILURES = (
    LoadFailure(('incompatible device', 'compute capability', 'different device', 'expecting compute'), ANOTHER_GPU),
    LoadFailure(
        ('version tag', 'library version', 'engine version', 'version mismatch'),
        'it was built by another version',
    ),
    LoadFailure(('magic tag', 'truncat', 'corrupt', 'checksum'), 'it is not a complete engine'),
)
"""Known failures. The first one that matches is reported."""


@functools.cache
def shared_log(trt: ModuleType) -> 'tensorrt.ILogger':
    """The logger of this process, which tells the errors of the library to whoever listens (see :func:`heard_errors`).

    TensorRT keeps the first logger for the runtimes that follow, and its plugin library a pointer to the last one, so
    there is one, which stays.
    """

    logger: Any = trt.ILogger

    class Log(logger):
        def __init__(self) -> None:
            logger.__init__(self)
            self.listeners: dict[int, list[str]] = {}

        def log(self, severity: 'tensorrt.ILogger.Severity', message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                for heard in list(self.listeners.values()):
                    heard.append(' '.join(message.split()))

    return Log()


@contextlib.contextmanager
def heard_errors(trt: ModuleType) -> Iterator[list[str]]:
    """Collect the errors that the library logs in a ``with`` block, those of other threads included."""
    heard: list[str] = []
    listeners = cast(Any, shared_log(trt)).listeners
    listeners[id(heard)] = heard
    try:
        yield heard
    finally:
        del listeners[id(heard)]


def make_output(
    trt: ModuleType, device: torch.device, dtype: torch.dtype, stream: torch.cuda.Stream
) -> 'tensorrt.IOutputAllocator':
    """Memory for an output whose size is known only after the run. An execution context keeps it for good."""

    allocator: Any = trt.IOutputAllocator

    class Output(allocator):
        def __init__(self) -> None:
            allocator.__init__(self)
            self.memory: Tensor | None = None
            self.shape: tuple[int, ...] | None = None

        def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:
            # PyTorch aligns to 512 bytes, more than TensorRT requires; an address must not be null
            with torch.cuda.stream(stream):
                self.memory = torch.empty(max(size, 1), dtype=torch.uint8, device=device)
            return self.memory.data_ptr()

        def reallocate_output_async(self, tensor_name: str, memory: int, size: int, alignment: int, stream: int) -> int:
            return self.reallocate_output(tensor_name, memory, size, alignment)

        def notify_shape(self, tensor_name: str, shape: Sequence[int]) -> None:
            self.shape = tuple(shape)

        def take(self) -> Tensor | None:
            """Hand over the output of the run, or ``None`` if the library named no shape or asked for no memory."""
            memory, shape, self.memory, self.shape = self.memory, self.shape, None, None
            if shape is None:
                return None
            count = torch.Size(shape).numel()
            if memory is None:
                return None if count else torch.empty(shape, dtype=dtype, device=device)
            # it belongs to the pool of `stream`, which must not reuse it before the reader's stream is done
            memory.record_stream(torch.cuda.current_stream(device))
            return memory[: count * dtype.itemsize].view(dtype).reshape(shape)

    return Output()


def load_engine(
    trt: ModuleType, path: Path, package: str, capability: tuple[int, int]
) -> tuple['tensorrt.Runtime', 'tensorrt.ICudaEngine']:
    """Load an engine from its file.

    Args:
        trt: The package.
        path: The file.
        package: Its name, a key of :data:`~mmtrtvit.runtime.backends.tensorrt.support.PACKAGES`.
        capability: Compute capability of the GPU.

    Returns:
        The runtime, which must outlive the engine, and the engine.

    Raises:
        DeployError: If the file is missing or does not load. The message gives the reason if it is known.
    """
    if not path.is_file():
        raise DeployError(f'There is no engine {path}.', fix='build it with tools/deploy.py')
    title, log = PACKAGES[package].title, shared_log(trt)
    with heard_errors(trt) as errors:
        if PACKAGES[package].plugins:
            trt.init_libnvinfer_plugins(log, '')
        runtime = trt.Runtime(log)
        engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        said = '; '.join(errors) or 'no reason was given'
        reason = next(
            (known.reason for known in LOAD_FAILURES if any(word in said.lower() for word in known.words)),
            'it is damaged, or belongs to another version or GPU',
        )
        raise DeployError(
            f'{title} {trt.__version__} cannot load {path} on this GPU (compute capability '
            f'{capability[0]}.{capability[1]}): {reason}. It says: {said}',
            expected='an engine that this version built for this GPU',
            fix=f'build it again with tools/deploy.py and --targets {target_of(capability)} among others'
            if reason == ANOTHER_GPU and PACKAGES[package].targets
            else 'build it again on this machine with tools/deploy.py, or copy it again if it was copied',
        )
    return runtime, engine


class TensorRTSession(Session):
    """An engine, ready to run.

    Args:
        engine_path: The engine file.
        package: The package that built it: ``'tensorrt'`` or ``'tensorrt_rtx'``.
        output_names: Outputs to return, in this order; by default all, in the order of the engine.
        device: The GPU.

    Attributes:
        device: ``'cuda'``.
        profiles: Name to the smallest, usual and largest shape of each input.

    Raises:
        DeployError: If the package or a GPU is missing, the two do not work together, the engine does not load, or it
            lacks one of the outputs.
    """

    device = 'cuda'

    def __init__(
        self,
        engine_path: str | os.PathLike,
        package: str = 'tensorrt',
        output_names: Sequence[str] | None = None,
        device: str | torch.device = 'cuda',
    ) -> None:
        self.title = PACKAGES[package].title
        require_version(package)
        trt = import_package(package)
        self._trt = trt
        if not torch.cuda.is_available():
            raise DeployError(
                f'{self.title} needs an NVIDIA GPU to run an engine, and PyTorch sees none here.',
                expected='an NVIDIA GPU, its driver, and a build of PyTorch with CUDA',
                fix='run it on such a machine, or use the artefact of --backend onnxruntime or openvino here',
            )
        self._gpu = torch.device(device)
        capability = torch.cuda.get_device_capability(self._gpu)
        refuse_combination(package, parse_version(trt.__version__), capability)
        with torch.cuda.device(self._gpu), heard_errors(trt) as errors:
            self._runtime, engine = load_engine(trt, Path(engine_path), package, capability)
            self._engine: tensorrt.ICudaEngine = engine
            context = engine.create_execution_context()
        if context is None:
            raise DeployError(
                f'{self.title} has no memory to run {engine_path}: {"; ".join(errors) or "it gave no reason"}',
                fix='free memory of the GPU, or build the engine for smaller shapes',
            )
        self._context: tensorrt.IExecutionContext = context
        self._lock = threading.Lock()  # of the context, which holds the shapes and addresses of one run
        # TensorRT synchronises the device around runs on the default stream, which is PyTorch's current one as a rule
        self._stream = torch.cuda.Stream(self._gpu)
        self._allocators: dict[str, Any] = {}  # of outputs whose size depends on the data; the context keeps each one
        self._read_tensors(output_names)

    def _read_tensors(self, output_names: Sequence[str] | None) -> None:
        trt, engine = self._trt, self._engine
        self._types: dict[str, torch.dtype] = {}
        self.profiles: dict[str, tuple[tuple[int, ...], ...]] = {}
        inputs, outputs = [], {}
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            # by name, because older versions lack the newer members
            self._types[name] = TORCH_TYPES[engine.get_tensor_dtype(name).name]
            spec = TensorSpec(name, str(self._types[name]).removeprefix('torch.'), tuple(engine.get_tensor_shape(name)))
            if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                inputs.append(spec)
                self.profiles[name] = tuple(tuple(shape) for shape in engine.get_tensor_profile_shape(name, 0))
            else:
                outputs[name] = spec
        missing = [name for name in output_names or () if name not in outputs]
        if missing:
            raise DeployError(
                f'The engine has no output {", ".join(missing)}.',
                expected=f'some of {", ".join(outputs)}',
                fix='build the engine from the graph that belongs to this artefact',
            )
        self._every_output = tuple(outputs)
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs[name] for name in output_names or outputs)

    def _check_profile(self, name: str, shape: Sequence[int]) -> None:
        smallest, _, largest = self.profiles[name]
        if len(shape) == len(smallest) and all(
            low <= side <= high for low, side, high in zip(smallest, shape, largest, strict=True)
        ):
            return
        sides = [' x '.join(map(str, given)) for given in (shape, smallest, largest)]
        raise DeployError(
            f'Input {name!r}: {sides[0]} was given, beyond what the engine was built for.',
            expected=f'from {sides[1]} to {sides[2]}',
            fix='give images of that size and fewer at a time, or build the engine with other --dynamic and --batch',
        )

    def run_tensors(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run the network without waiting for the result, in order with PyTorch's current stream.

        The network runs on a stream of the session, which waits for the work that was queued on the current stream;
        the current stream waits for the network. After one run for a shape, further ones can be captured in a
        ``torch.cuda.CUDAGraph``, unless the size of an output depends on the data.

        Args:
            feeds: Name to tensor for every input. A tensor on another device or of another type is copied.

        Returns:
            Name to tensor, on the GPU, for every requested output.

        Raises:
            DeployError: If a shape is outside the range that the engine was built for, or the run fails.
        """
        with self._lock, torch.cuda.device(self._gpu), heard_errors(self._trt) as errors:
            return self._queue(feeds, errors)

    def _queue(self, feeds: Mapping[str, Tensor], errors: Sequence[str]) -> dict[str, Tensor]:
        context = self._context
        held = {}  # kept until the run is queued; PyTorch reuses memory in the order of the current stream
        for spec in self.inputs:
            if spec.name not in feeds:
                raise DeployError(f'Input {spec.name!r}: nothing was given.', fix='give a tensor for every input')
            self._check_profile(spec.name, feeds[spec.name].shape)
            tensor = feeds[spec.name].detach().to(self._gpu, self._types[spec.name]).contiguous()
            held[spec.name] = tensor
            if not context.set_input_shape(spec.name, tuple(tensor.shape)):
                raise self._failed(f'take {spec.name!r} of {" x ".join(map(str, tensor.shape))}', errors)
            context.set_tensor_address(spec.name, tensor.data_ptr())
        results: dict[str, Tensor] = {}
        for name in self._every_output:
            shape, dtype = tuple(context.get_tensor_shape(name)), self._types[name]
            if min(shape, default=0) < 0:  # known after the run
                if name not in self._allocators:
                    self._allocators[name] = make_output(self._trt, self._gpu, dtype, self._stream)
                    context.set_output_allocator(name, self._allocators[name])
                continue
            results[name] = torch.empty(shape, dtype=dtype, device=self._gpu)
            # an empty tensor has a null address, which TensorRT rejects
            held[name] = results[name] if results[name].numel() else torch.empty(1, dtype=dtype, device=self._gpu)
            context.set_tensor_address(name, held[name].data_ptr())
        current = torch.cuda.current_stream(self._gpu)
        self._stream.wait_stream(current)
        try:
            done = context.execute_async_v3(self._stream.cuda_stream)
        finally:
            current.wait_stream(self._stream)  # also after a failure: some of the work may have been queued
        if not done:
            raise self._failed('run the network', errors)
        for name, output in self._allocators.items():
            tensor = output.take()
            if tensor is None:
                raise self._failed(f'tell the output {name!r}', errors)
            results[name] = tensor
        return {spec.name: results[spec.name] for spec in self.outputs}

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See :meth:`Session.run`."""
        outputs = self.run_tensors({name: torch.from_numpy(np.ascontiguousarray(feeds[name])) for name in feeds})
        return {
            name: (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
            for name, tensor in outputs.items()
        }

    def _failed(self, what: str, errors: Sequence[str]) -> DeployError:
        return DeployError(
            f'{self.title} could not {what}: {"; ".join(errors) or "it gave no reason"}',
            fix='free memory of the GPU, or give smaller images; otherwise build the engine again',
        )
