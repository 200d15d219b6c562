"""Registration of this package's rewriters with mmdeploy, and the flavour of the graph that they write."""

from collections.abc import Callable

from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import IR, get_codebase_config

MMDEPLOY_BACKENDS = ('onnxruntime', 'openvino', 'tensorrt')
"""Backends that mmdeploy has its own rewriters for. This package's rewriters replace them."""


def rewrites(name: str) -> Callable:
    """Register a function in place of ``name`` for every ONNX backend."""

    def register(function: Callable) -> Callable:
        for backend in MMDEPLOY_BACKENDS:
            FUNCTION_REWRITER.register_rewriter(name, ir=IR.ONNX, backend=backend)(function)
        return function

    return register


def is_portable(deploy_config) -> bool:
    """True if ``codebase_config.flavour`` of a deploy config is ``'portable'``; the default is ``'native'``."""
    return get_codebase_config(deploy_config).get('flavour', 'native') == 'portable'
