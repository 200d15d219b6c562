"""The backends that run exported networks. To add one: describe it in a module of its own, and register it here."""

import difflib
import os
from typing import Any

from ...errors import DeployError
from .base import Backend, Session, TensorSpec
from .onnxruntime import ONNXRUNTIME
from .openvino import OPENVINO
from .tensorrt import TENSORRT, TENSORRT_RTX

BACKENDS: dict[str, Backend] = {backend.name: backend for backend in (ONNXRUNTIME, OPENVINO, TENSORRT, TENSORRT_RTX)}
"""Every backend by the name that ``--backend`` and the manifest give it, in the order of tables."""


def find_backend(name: str) -> Backend:
    """The backend of a name.

    Raises:
        DeployError: If there is none; with the nearest name.
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
    """Load a network into the backend of a name; see :meth:`Backend.open_session`."""
    return find_backend(name).open_session(path, precision=precision, **options)


__all__ = ['BACKENDS', 'Backend', 'Session', 'TensorSpec', 'find_backend', 'open_session']
