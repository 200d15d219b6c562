"""Engines of TensorRT and TensorRT for RTX."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch

from ...runtime.backends import Session, open_session
from ...runtime.backends.onnxruntime import ONNXRUNTIME
from ...runtime.backends.tensorrt.support import require_version, why_unfit
from ...runtime.tensor_names import INPUT
from ..precision.emulation import emulate
from ..request import DeployRequest
from .engine import Engine, megabytes
from .tensorrt_builder import build_engine
from .tensorrt_report import to_markdown


def make(request: DeployRequest, path: Path) -> Engine:
    """Build an engine. If it cannot run on this machine, its graph takes its place in the proof.

    Args:
        request: The request.
        path: The ONNX file, already in its final precision.

    Raises:
        DeployError: If TensorRT is missing or cannot use the ONNX file.
    """
    backend = request.runs_on
    engine = path.with_name(backend.engine_file)
    report = build_engine(
        path,
        engine,
        package=backend.module,
        profiles={INPUT: request.shapes.profile},
        targets=request.targets or None,
        timing_cache=request.timing_cache,
        workspace_mib=request.workspace_mib,
        # Float32 layers of other precisions read 16-bit values, which TF32 holds, and sum and write float32 as well.
        tf32=request.precision != 'fp32',
    )
    why_not = _why_not_run(backend.module, report.targets)
    if not why_not:
        session, subject = open_session(backend.name, engine), f'{engine.name} on {backend.place}'
    else:
        session = _stand_in(path, request.precision)
        subject = (
            f'{path.name}, the graph of the engine, in {ONNXRUNTIME.title} on {ONNXRUNTIME.place}: {why_not}, so the '
            'engine was built and not run'
        )
    return Engine(
        file=engine.name,
        session=session,
        subject=subject,
        runs_here=not why_not,
        summary=f'{megabytes(engine)}, {len(report.layers)} layers in {sum(report.seconds.values()):.1f} s',
        bytes=engine.stat().st_size,
        page=to_markdown(report),
        report=report.to_dict(),
    )


def _why_not_run(package: str, targets: Sequence[str]) -> str:
    """The reason why this machine cannot run an engine that it built; empty if it can."""
    if not torch.cuda.is_available():
        return 'there is no GPU here'
    return why_unfit(package, require_version(package), torch.cuda.get_device_capability(), targets)


def _stand_in(path: Path, precision: str) -> Session:
    """The graph in ONNX Runtime, with every tensor rounded to the type that the engine uses."""
    if precision == 'fp32':
        return open_session(ONNXRUNTIME.name, path)
    with tempfile.TemporaryDirectory() as folder:
        emulated = Path(folder) / path.name
        onnx.save(emulate(onnx.load(path)), emulated)
        return open_session(ONNXRUNTIME.name, emulated)
