"""From an ONNX file to what a backend runs: an engine, and a session to prove it by."""

import dataclasses
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import torch

from ...errors import ConfigError
from ...runtime.backends import BACKENDS, Session, open_session
from ...runtime.tensor_names import INPUT
from ..export.input_shapes import InputShapes
from ..precision.emulation import emulate

PRECISIONS = {
    'onnxruntime': ('fp32', 'fp16', 'int8'),
    'openvino': ('fp32', 'bf16', 'int8'),
    'tensorrt': ('fp32', 'fp16', 'bf16', 'int8'),
    'tensorrt-rtx': ('fp32', 'fp16', 'bf16', 'int8'),
}
"""What each backend computes in. BF16 is a setting of OpenVINO's; all else is in the graph."""

_TENSORRT_ONLY = ('targets', 'timing_cache', 'workspace_mib')


@dataclasses.dataclass(frozen=True)
class EngineOptions:
    """What only some backends know.

    Attributes:
        targets: GPUs to build for, such as ``('sm86', 'sm120')``; TensorRT for RTX only.
        timing_cache: A file of measured kernels, read if it is there and written afterwards; TensorRT only.
        workspace_mib: Limit of the scratch memory, MiB; TensorRT only, without it there is none.
    """

    targets: tuple[str, ...] = ()
    timing_cache: str | None = None
    workspace_mib: int | None = None

    def check(self, backend: str, precision: str) -> None:
        """Make sure that a backend knows these options and the precision.

        Raises:
            ConfigError: Naming the option.
        """
        if precision not in PRECISIONS[backend]:
            able = [name for name, known in PRECISIONS.items() if precision in known]
            raise ConfigError(
                f'--backend {backend} --precision {precision}: {backend} has no such precision.',
                expected=f'one of {", ".join(PRECISIONS[backend])}'
                + (f'; {precision} is known to {", ".join(able)}' if able else ''),
                fix='choose another precision or backend',
            )
        given = [name for name in _TENSORRT_ONLY if getattr(self, name)]
        if given and not backend.startswith('tensorrt'):
            raise ConfigError(
                f'--{given[0].replace("_", "-")} means nothing to --backend {backend}.',
                expected='--backend tensorrt or tensorrt-rtx beside it',
                fix='leave it out',
            )


@dataclasses.dataclass(frozen=True)
class Engine:
    """What a backend runs.

    Attributes:
        file: Its name in the artefact's folder.
        session: What the proof is made with.
        subject: What the session runs, in words.
        runs_here: Whether the session is the engine itself, so that timing it means something.
        summary: What there is to say of it in a line.
        bytes: Size of the file.
        page: A part of the report page, where the backend gives one.
        report: The same as data.
    """

    file: str
    session: Session
    subject: str
    runs_here: bool
    summary: str
    bytes: int
    page: str | None = None
    report: dict | None = None


def _megabytes(path: Path) -> str:
    return f'{path.stat().st_size / 1e6:.1f} MB'


def _onnxruntime(path: Path, precision: str, shapes: InputShapes | None, options: EngineOptions) -> Engine:
    session = open_session('onnxruntime', path)
    computed = ', which computes FP16 in float32' if precision == 'fp16' else ''
    subject = f'{path.name} in ONNX Runtime on the CPU{computed}'
    return Engine(path.name, session, subject, True, _megabytes(path), path.stat().st_size)


def _openvino(path: Path, precision: str, shapes: InputShapes | None, options: EngineOptions) -> Engine:
    from ...runtime.backends.openvino import save_ir

    engine = path.with_name(BACKENDS['openvino'].engine)
    save_ir(path, engine)
    weights = engine.with_suffix('.bin')
    session = open_session('openvino', engine, precision=precision)
    subject = f'{engine.name} in OpenVINO on the CPU'
    return Engine(engine.name, session, subject, True, _megabytes(weights), weights.stat().st_size)


def _stand_in(path: Path, precision: str) -> Session:
    """The graph in ONNX Runtime, with every tensor rounded as the engine's types say."""
    if precision == 'fp32':
        return open_session('onnxruntime', path)
    with tempfile.TemporaryDirectory() as folder:
        emulated = os.path.join(folder, path.name)
        onnx.save(emulate(onnx.load(path)), emulated)
        return open_session('onnxruntime', emulated)


def _why_not_run(package: str, targets: Sequence[str]) -> str:
    """Why this machine cannot run an engine that it built, in words; empty where it can."""
    from ...runtime.backends.tensorrt.support import require_version, why_unfit

    if not torch.cuda.is_available():
        return 'there is no GPU here'
    return why_unfit(package, require_version(package), torch.cuda.get_device_capability(), targets)


def _tensorrt(package: str) -> Callable[..., Engine]:
    def make(path: Path, precision: str, shapes: InputShapes | None, options: EngineOptions) -> Engine:
        from .tensorrt_builder import build_engine
        from .tensorrt_report import to_markdown

        backend = package.replace('_', '-')
        engine = path.with_name(BACKENDS[backend].engine)
        report = build_engine(
            path,
            engine,
            package=package,
            profiles={INPUT: shapes.profile},
            targets=options.targets or None,
            timing_cache=options.timing_cache,
            workspace_mib=options.workspace_mib,
        )
        summary = f'{_megabytes(engine)}, {len(report.layers)} layers in {sum(report.seconds.values()):.1f} s'
        why_not = _why_not_run(package, report.targets)
        if not why_not:
            session, subject, runs_here = open_session(backend, engine), f'{engine.name} on the GPU', True
        else:
            session, runs_here = _stand_in(path, precision), False
            subject = (
                f'{path.name}, the graph of the engine, in ONNX Runtime on the CPU: {why_not}, so the engine was '
                'built and not run'
            )
        size = engine.stat().st_size
        return Engine(engine.name, session, subject, runs_here, summary, size, to_markdown(report), report.to_dict())

    return make


_MAKERS: dict[str, Callable[..., Engine]] = {
    'onnxruntime': _onnxruntime,
    'openvino': _openvino,
    'tensorrt': _tensorrt('tensorrt'),
    'tensorrt-rtx': _tensorrt('tensorrt_rtx'),
}


def make_engine(backend: str, path: Path, precision: str, shapes: InputShapes | None, options: EngineOptions) -> Engine:
    """Make what a backend runs, beside its ONNX file.

    Args:
        backend: A key of :data:`~mmtrtvit.runtime.backends.BACKENDS`.
        path: The ONNX file, in its precision.
        precision: What that is.
        shapes: Input sizes.
        options: What only some backends know.

    Raises:
        DeployError: If the backend is missing or cannot use the file.
    """
    return _MAKERS[backend](path, precision, shapes, options)
