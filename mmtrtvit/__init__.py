"""mmtrtvit: detection and segmentation backbones made for deployment, under OpenMMLab.

``custom_imports = dict(imports=['mmtrtvit'])`` in a config registers the backbones, hooks and optimiser wrappers.

A config of your own inherits from a shipped one by :func:`base_config`.

Importing the package imports neither torch nor OpenMMLab: :func:`mmtrtvit.runtime.load` needs none of them. Everything
is registered when mmengine has been imported, before this package (``custom_imports`` comes from mmengine) or after it.
Nothing of other libraries is changed; ``mmtrtvit.deploy`` does so for mmdeploy.
"""

import importlib

from .shipped import base_config
from .version import __version__
from .when_imported import when_imported

_REGISTERED = ('engine', 'models')
"""Subpackages whose import registers what they hold. They need torch, mmengine and mmcv."""

__all__ = ['__version__', 'base_config', *_REGISTERED]


def _register() -> None:
    for name in _REGISTERED:
        importlib.import_module(f'.{name}', __name__)


when_imported('mmengine', _register)


def __getattr__(name: str):
    if name in _REGISTERED:
        return importlib.import_module(f'.{name}', __name__)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
