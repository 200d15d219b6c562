"""How this package's rewriters are registered with mmdeploy, and which flavour of graph they write."""

from collections.abc import Callable

from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import IR, get_codebase_config

MMDEPLOY_BACKENDS = ('onnxruntime', 'openvino', 'tensorrt')
"""Backends for which mmdeploy has rewriters of its own; ours take their place."""


def rewrites(name: str) -> Callable:
    """Register a function in the place of ``name`` for every ONNX backend."""

    def register(function: Callable) -> Callable:
        for backend in MMDEPLOY_BACKENDS:
            FUNCTION_REWRITER.register_rewriter(name, ir=IR.ONNX, backend=backend)(function)
        return function

    return register


def is_portable(deploy_config) -> bool:
    """Whether ``codebase_config.flavour`` of a deploy config is ``'portable'`` (``'native'`` where it has none)."""
    return get_codebase_config(deploy_config).get('flavour', 'native') == 'portable'
