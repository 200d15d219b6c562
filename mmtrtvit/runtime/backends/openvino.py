"""OpenVINO through its current Python API (2024 and newer). mmdeploy uses the older one, which was removed."""

import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...errors import DeployError
from .base import Backend, Session, TensorSpec, import_package
from .openvino_topk import take_equal_values_by_place

HINTS = {'fp32': 'f32', 'int8': 'f32', 'bf16': 'bf16', 'fp16': 'f32'}
"""Precision of an artefact to OpenVINO's hint. INT8 and FP16 are in the graph itself; the rest of it stays FP32."""


def _read(openvino, path: Path):
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


class OpenVinoSession(Session):
    """An ONNX file or an IR (``.xml`` with ``.bin``) in OpenVINO on the CPU.

    Args:
        path: The ``.onnx`` or ``.xml`` file.
        threads: Threads to use; by default one per core.
        precision: Precision of the arithmetic: ``'fp32'``, or ``'bf16'`` if the CPU supports it. It is always set
            explicitly, because OpenVINO defaults to bfloat16 on CPUs with AMX.

    Raises:
        DeployError: If the package or the file cannot be used, or the CPU does not support the precision.
    """

    def __init__(self, path: str | os.PathLike, *, threads: int | None = None, precision: str = 'fp32') -> None:
        openvino = import_package('openvino')
        if precision not in HINTS:
            raise DeployError(
                f'OpenVINO has no precision {precision!r}.', expected=f'one of {", ".join(HINTS)}', fix='choose another'
            )
        hint = HINTS[precision]
        core = openvino.Core()
        if hint == 'bf16' and 'BF16' not in core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES'):
            raise DeployError(
                'This CPU has no bfloat16 arithmetic, so OpenVINO would compute in FP32 all the same.',
                expected='a CPU with AVX512-BF16 or AMX (Intel Cooper Lake, Sapphire Rapids, AMD Zen 4, or newer)',
                fix='use --precision fp32 here',
            )
        settings = {'INFERENCE_PRECISION_HINT': hint, 'PERFORMANCE_HINT': 'LATENCY'}
        if threads:
            settings['INFERENCE_NUM_THREADS'] = threads
        model = _read(openvino, Path(path))
        try:
            self._model = core.compile_model(model, 'CPU', settings)
        except Exception as error:
            raise DeployError(
                f'OpenVINO cannot compile {path}: {_reason(error)}',
                fix='export again with the versions that are installed now (tools/check_env.py lists them)',
            ) from error
        self._free = deque([self._model.create_infer_request()])
        self.inputs = tuple(map(_spec, self._model.inputs))
        self.outputs = tuple(map(_spec, self._model.outputs))

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the network on arrays that were already checked."""
        # A request holds the inputs and outputs of one run, so each thread takes one that no other thread uses.
        try:
            request = self._free.pop()
        except IndexError:
            request = self._model.create_infer_request()
        found = request.infer(dict(feeds))
        # Copies, because the next run overwrites the memory of OpenVINO's arrays.
        outputs = {spec.name: np.array(found[place]) for place, spec in enumerate(self.outputs)}
        self._free.append(request)  # not after an error, which may leave a request in any state
        return outputs


def _spec(port) -> TensorSpec:
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
    session_options=('threads', 'precision'),
    precisions_by_setting=('bf16',),
)
