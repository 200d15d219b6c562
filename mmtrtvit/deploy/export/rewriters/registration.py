"""Registration of this package's rewriters with mmdeploy, and the flavour of the graph that they write."""

from collections.abc import Callable

from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import IR, get_backend, get_codebase_config

from ....runtime.backends import BACKENDS, Backend


def rewrites(name: str) -> Callable:
    """Register a function in place of ``name``, for the rewriters that every backend of this package exports with."""
    return FUNCTION_REWRITER.register_rewriter(name, ir=IR.ONNX, backend='onnxruntime')


def is_portable(deploy_config) -> bool:
    """True if ``codebase_config.flavour`` of a deploy config is ``'portable'``; the default is ``'native'``."""
    return get_codebase_config(deploy_config).get('flavour', 'native') == 'portable'


def backend_of(deploy_config) -> Backend:
    """The backend of a deploy config."""
    return BACKENDS[get_backend(deploy_config).value]
