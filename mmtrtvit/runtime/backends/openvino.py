"""OpenVINO through its current Python API (2024 and newer). mmdeploy uses the older one, which was removed."""

import itertools
import os
import weakref
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ...errors import DeployError
from .base import Backend, Int8Form, Session, TensorSpec, import_package
from .openvino_topk import take_equal_values_by_place

LARGE = 2**24
"""Bytes of outputs from which on they are lent, not copied. The copy took a fifth of the time of Semantic FPN, whose
logits fill 200 MB."""

HINTS = {'fp32': 'f32', 'int8': 'f32', 'bf16': 'bf16', 'fp16': 'f32'}
"""Precision of an artefact to OpenVINO's hint. INT8 and FP16 are in the graph itself; the rest of it stays FP32."""


def _read(openvino: ModuleType, path: Path) -> Any:
    try:
        model = openvino.Core().read_model(path)
    except Exception as error:  # RuntimeError with a C++ trace, mostly
        raise DeployError(
            f'OpenVINO {openvino.__version__.split("-")[0]} cannot read {path}: {_reason(error)}',
            expected='a complete ONNX file, or an .xml file with its .bin file beside it',
            fix='export again with the versions that are installed now (tools/check_env.py lists them)',
        ) from error
    if path.suffix == '.onnx':  # an IR was already changed in this way
        take_equal_values_by_place(model)
    return model


def _reason(error: Exception) -> str:
    """The reason in an OpenVINO error. The first lines only name OpenVINO's source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(('Exception from', 'Check '))]
    return (said or lines or [type(error).__name__])[0]


def save_ir(onnx_path: str | os.PathLike, path: str | os.PathLike) -> None:
    """Convert an ONNX file to OpenVINO's own format, which loads faster.

    Args:
        onnx_path: The ONNX file.
        path: The ``.xml`` file to write. The weights go beside it, into a ``.bin`` file.

    Raises:
        DeployError: If OpenVINO is not installed or cannot read the file. The message names the operators.
    """
    openvino = import_package('openvino')
    # Weights keep their precision: OpenVINO's default would store them as FP16.
    openvino.save_model(_read(openvino, Path(onnx_path)), Path(path), compress_to_fp16=False)


def _check_device(core: Any, device: str, threads: int | None) -> None:
    """Raise an error if OpenVINO has no such device, or the device has no number of threads to set."""
    there = sorted({name.partition('.')[0].lower() for name in core.available_devices})
    if device not in (*there, 'auto'):
        raise DeployError(
            f'OpenVINO finds no device {device!r} here.',
            expected=f'one of {", ".join([*there, "auto"])}',
            fix='install its driver, or choose another device',
        )
    if threads and device != 'cpu':
        raise DeployError(
            f'threads={threads} was given for device={device!r}.',
            expected='threads for the CPU only',
            fix='leave it out',
        )


class OpenVinoSession(Session):
    """An ONNX file or an IR (``.xml`` with ``.bin``) in OpenVINO.

    Args:
        path: The ``.onnx`` or ``.xml`` file.
        threads: Threads to use in all; by default one per core.
        streams: Runs that go on at the same time and share the threads.
        precision: Precision of the arithmetic: ``'fp32'``, or ``'bf16'`` if the CPU supports it. It is always set
            explicitly, because OpenVINO defaults to bfloat16 on CPUs with AMX, and to float16 on GPUs.
        device: ``'cpu'``, ``'gpu'`` or ``'npu'``, or ``'auto'`` for the best one that OpenVINO finds.
        profile: Whether to take the times of kernels.

    Raises:
        DeployError: If the package, the device or the file cannot be used, or the device lacks the precision.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        threads: int | None = None,
        streams: int = 1,
        precision: str = 'fp32',
        device: str = 'cpu',
        profile: bool = False,
    ) -> None:
        openvino = import_package('openvino')
        if precision not in HINTS:
            raise DeployError(
                f'OpenVINO has no precision {precision!r}.', expected=f'one of {", ".join(HINTS)}', fix='choose another'
            )
        hint = HINTS[precision]
        core = openvino.Core()
        _check_device(core, device, threads)
        settings: dict[str, str | int] = {'INFERENCE_PRECISION_HINT': hint, 'PERFORMANCE_HINT': 'LATENCY'}
        if device == 'auto':  # does not start on the CPU while another device compiles: results would change
            settings['ENABLE_STARTUP_FALLBACK'] = False
        if threads:
            settings['INFERENCE_NUM_THREADS'] = threads
        if streams > 1:
            settings.update(PERFORMANCE_HINT='THROUGHPUT', NUM_STREAMS=streams)
        if profile:
            settings['PERF_COUNT'] = True
        model = _read(openvino, Path(path))
        try:
            self._model = core.compile_model(model, device.upper(), settings)
        except Exception as error:
            raise DeployError(
                f'OpenVINO cannot compile {path}: {_reason(error)}',
                fix='export again with the versions that are installed now (tools/check_env.py lists them)',
            ) from error
        chosen = device if device != 'auto' else self._model.get_property('EXECUTION_DEVICES')[0]
        self.device = chosen.partition('.')[0].lower()
        name = self.device.upper()
        if hint == 'bf16' and 'BF16' not in core.get_property(name, 'OPTIMIZATION_CAPABILITIES'):
            raise DeployError(
                f'This {name} has no bfloat16 arithmetic, so OpenVINO would compute in FP32 all the same.',
                expected='a CPU with AVX512-BF16 or AMX (Intel Cooper Lake, Sapphire Rapids, AMD Zen 4, or newer)',
                fix='use --precision fp32 here',
            )
        self.streams = streams
        self._free = deque([self._model.create_infer_request()])
        self._permits = deque(range(streams))
        self.inputs = tuple(map(_spec, self._model.inputs))
        self.outputs = tuple(map(_spec, self._model.outputs))

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the network on arrays that were already checked."""
        # A request holds the inputs and outputs of one run, so each thread takes one that no other thread uses.
        try:
            request = self._free.pop()
        except IndexError:
            request = self._model.create_infer_request()
        found = request.infer(dict(feeds), share_inputs=True, share_outputs=True)
        # After an error the request is never used again, as it may be in any state.
        outputs = {spec.name: found[place] for place, spec in enumerate(self.outputs)}
        if sum(array.nbytes for array in outputs.values()) >= LARGE and self._lend(request, list(outputs.values())):
            return outputs
        # the next run of a request overwrites its outputs
        outputs = {name: np.array(array) for name, array in outputs.items()}
        self._free.append(request)
        return outputs

    def _lend(self, request: Any, arrays: list[np.ndarray]) -> bool:
        """Let a request wait until nobody holds its outputs or parts of them; False if too many are waiting."""
        try:
            permit = self._permits.pop()
        except IndexError:
            return False
        number, returned = len(arrays), itertools.count(1)

        def give_back() -> None:
            if next(returned) == number:
                self._free.append(request)
                self._permits.append(permit)

        for array in arrays:
            weakref.finalize(array, give_back).atexit = False
        return True

    def profiled(self, feeds: Mapping[str, np.ndarray]) -> list[tuple[str, str, float]]:
        """Run the network with ``profile``; name, operator and milliseconds of each kernel, in their order."""
        request = self._free[0]
        request.infer(dict(feeds))
        return [
            (entry.node_name, entry.node_type, entry.real_time.total_seconds() * 1e3)
            for entry in request.profiling_info
            if entry.status == entry.Status.EXECUTED
        ]

    def joined_nodes(self) -> dict[str, tuple[str, ...]]:
        """Name of each kernel to the names of the nodes that it joins."""
        kernels = self._model.get_runtime_model().get_ordered_ops()
        named = {kernel.get_friendly_name(): kernel.get_rt_info() for kernel in kernels}
        return {
            name: tuple(filter(None, str(about['originalLayersNames'].astype(str)).split(',')))
            for name, about in named.items()
            if 'originalLayersNames' in about
        }


def _spec(port: Any) -> TensorSpec:
    shape = tuple(side.get_length() if side.is_static else -1 for side in port.partial_shape)
    return TensorSpec(port.any_name, port.element_type.to_dtype().name, shape)


OPENVINO = Backend(
    name='openvino',
    title='OpenVINO',
    module='openvino',
    open=OpenVinoSession,
    precisions=('fp32', 'bf16', 'int8'),
    convert=save_ir,
    engine_file='end2end.xml',
    weights_file='end2end.bin',
    devices=('cpu', 'gpu', 'npu', 'auto'),
    session_options=('threads', 'streams', 'precision', 'device'),
    precisions_by_setting=('bf16',),
    # It moves quantisation in front of a concatenation, and computes a convolution behind it wrongly if that is INT8:
    # the last stage of TRT-ViT became noise. UINT8 is exact there, and nothing else differs.
    int8=Int8Form(unsigned=True),
)
