"""TensorRT and TensorRT for RTX."""

import functools
import os
from typing import Any

from ....errors import DeployError
from ..base import Backend, Int8Form, Session
from .support import PACKAGES


def _open(name: str, package: str, path: str | os.PathLike) -> Session:
    """Load an engine. PyTorch is imported here, so that other backends do not need it."""
    try:
        from .session import TensorRTSession
    except ModuleNotFoundError as error:
        if error.name != 'torch':
            raise
        raise DeployError(
            f'The backend {name} needs torch, which is not installed: engines work on its memory and with its streams.',
            expected='torch with CUDA beside the package of the backend',
            fix='install torch for the CUDA of this machine, or export for a backend that does without',
        ) from error
    return TensorRTSession(path, package)


def _describe(name: str, module: str, **settings: Any) -> Backend:
    return Backend(
        name=name,
        title=PACKAGES[module].title,
        module=module,
        open=functools.partial(_open, name, module),
        precisions=('fp32', 'fp16', 'bf16', 'int8'),
        devices=('cuda',),
        engine_file='end2end.engine',
        # Float32 layers would cost more than INT8 saves. NVIDIA advises `shortcuts` for speed, which was not measured
        # yet; what it costs is in docs/precision.md.
        int8=Int8Form(beside='fp16'),
        flavour='portable',  # TensorRT for RTX has no other, and no TensorRT has run a native graph of this project yet
        needs_shapes=True,
        **settings,
    )


TENSORRT = _describe(
    'tensorrt',
    'tensorrt',
    build_options=('timing_cache', 'workspace_mib'),
    most_suppressed=5000,  # INMSLayer::setTopKBoxLimit
)
TENSORRT_RTX = _describe('tensorrt-rtx', 'tensorrt_rtx', build_options=('targets', 'timing_cache', 'workspace_mib'))
