"""What runs an exported network. One module for each backend, imported only when that backend is asked for."""

import dataclasses
import difflib
import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import DeployError
from ..tensor_names import ONNX_FILE
from .base import Session, TensorSpec


@dataclasses.dataclass(frozen=True)
class Backend:
    """Where a backend's session is, and what it opens.

    Attributes:
        module: The module of this package that holds the session.
        session: Name of its class.
        engine: Name of the file that a conversion to this backend leaves.
        fixed: Arguments of the class that make it this backend.
        options: Further arguments that it knows.
    """

    module: str
    session: str
    engine: str
    fixed: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    options: tuple[str, ...] = ()


BACKENDS: dict[str, Backend] = {
    'onnxruntime': Backend('onnxruntime', 'OnnxRuntimeSession', ONNX_FILE, options=('threads', 'device')),
    'openvino': Backend('openvino', 'OpenVinoSession', 'end2end.xml', options=('threads', 'precision')),
    'tensorrt': Backend('tensorrt.session', 'TensorRTSession', 'end2end.engine', fixed={'package': 'tensorrt'}),
    'tensorrt-rtx': Backend('tensorrt.session', 'TensorRTSession', 'end2end.engine', fixed={'package': 'tensorrt_rtx'}),
}
"""Every backend by the name that ``--backend`` and the manifest give it."""


def open_session(name: str, path: str | os.PathLike, *, precision: str = 'fp32', **options: Any) -> Session:
    """Load a network into a backend.

    Args:
        name: A key of :data:`BACKENDS`.
        path: The engine file.
        precision: What the artefact was made for; only backends that choose the precision themselves look at it.
        options: What the user asks of this backend, such as ``threads``. None stands for its default.

    Raises:
        DeployError: If the backend is unknown, not installed or does not know an option, or if it cannot load the
            file.
    """
    if name not in BACKENDS:
        near = difflib.get_close_matches(str(name), BACKENDS, n=1)
        raise DeployError(
            f'The backend {name!r} is unknown.',
            expected=f'one of {", ".join(BACKENDS)}',
            fix=f'perhaps {near[0]!r} is meant' if near else '',
        )
    backend = BACKENDS[name]
    given = {key: value for key, value in options.items() if value is not None}
    unknown = sorted(set(given) - set(backend.options))
    if unknown:
        raise DeployError(
            f'The backend {name} has no option {", ".join(unknown)}.',
            expected=f'only {", ".join(backend.options)}' if backend.options else 'no options',
        )
    if not Path(path).is_file():
        raise DeployError(f'There is no file {path} for {name}.', fix='export it with tools/deploy.py')
    if 'precision' in backend.options:
        given.setdefault('precision', precision)
    try:
        module = importlib.import_module(f'.{backend.module}', __name__)
    except ModuleNotFoundError as error:
        if error.name != 'torch':
            raise
        raise DeployError(
            f'The backend {name} needs torch, which is not installed: engines work on its memory and its stream.',
            expected='torch with CUDA beside the package of the backend',
            fix='install torch for the CUDA of this machine, or export for onnxruntime or openvino, which need none',
        ) from error
    session = getattr(module, backend.session)
    return session(path, **backend.fixed, **given)


__all__ = ['BACKENDS', 'Backend', 'Session', 'TensorSpec', 'open_session']
