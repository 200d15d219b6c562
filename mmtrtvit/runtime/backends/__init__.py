"""The backends that run exported networks. To add one, describe it in its own module and register it here."""

import difflib
import os
from typing import Any

from ...errors import DeployError
from .base import Backend, Int8Form, Session, TensorSpec
from .onnxruntime import ONNXRUNTIME
from .openvino import OPENVINO
from .tensorrt import TENSORRT, TENSORRT_RTX

BACKENDS: dict[str, Backend] = {backend.name: backend for backend in (ONNXRUNTIME, OPENVINO, TENSORRT, TENSORRT_RTX)}
"""Name, as ``--backend`` and the manifest write it, to backend. Tables keep this order."""


def find_backend(name: str) -> Backend:
    """Find a backend by name.

    Raises:
        DeployError: If the name is unknown. The message suggests the nearest one.
    """
    if name in BACKENDS:
        return BACKENDS[name]
    near = difflib.get_close_matches(str(name), BACKENDS, n=1)
    raise DeployError(
        f'The backend {name!r} is unknown.',
        expected=f'one of {", ".join(BACKENDS)}',
        fix=f'perhaps {near[0]!r} is meant' if near else 'choose one of them',
    )


def open_session(name: str, path: str | os.PathLike, *, precision: str = 'fp32', **options: Any) -> Session:
    """Load a network into the named backend; see :meth:`Backend.open_session`."""
    return find_backend(name).open_session(path, precision=precision, **options)


__all__ = ['BACKENDS', 'Backend', 'Int8Form', 'Session', 'TensorSpec', 'find_backend', 'open_session']
