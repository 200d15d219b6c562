"""Building the engine of any backend from an ONNX file."""

from collections.abc import Callable
from pathlib import Path

import torch

from ...runtime.backends.tensorrt import TENSORRT, TENSORRT_RTX
from ..request import DeployRequest
from . import tensorrt
from .engine import Engine, megabytes

MAKERS: dict[str, Callable[[DeployRequest, Path], Engine]] = {
    backend.name: tensorrt.make for backend in (TENSORRT, TENSORRT_RTX)
}
"""Builders, by name, of the backends for which :attr:`~mmtrtvit.runtime.backends.Backend.convert` is not enough."""


def make_engine(request: DeployRequest, path: Path) -> Engine:
    """Build the engine of a backend beside its ONNX file.

    Args:
        request: The request.
        path: The ONNX file, already in its final precision.

    Raises:
        DeployError: If the backend is missing or cannot use the ONNX file.
    """
    return MAKERS.get(request.backend, _convert)(request, path)


def _convert(request: DeployRequest, path: Path) -> Engine:
    backend = request.runs_on
    engine = path.with_name(backend.engine_file)
    if backend.convert is not None:
        backend.convert(path, engine)
    # as many threads as PyTorch, so that the proof compares like with like
    threads = torch.get_num_threads() if 'threads' in backend.session_options else None
    session = backend.open_session(engine, precision=request.precision, threads=threads)
    remark = backend.remarks.get(request.precision)
    subject = f'{engine.name} in {backend.title} on {backend.place}' + (f', {remark}' if remark else '')
    weights = path.with_name(backend.weights_file or backend.engine_file)
    return Engine(engine.name, session, subject, True, megabytes(weights), weights.stat().st_size)
