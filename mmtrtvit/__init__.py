"""mmtrtvit: detection and segmentation backbones made for deployment, under OpenMMLab.

Importing the package checks that what it needs is there, and registers its backbones:
``custom_imports = dict(imports=['mmtrtvit'])`` in a config is enough to use them.

Where OpenMMLab is not installed, nothing is registered, and all that works is to run what was exported elsewhere:
:func:`mmtrtvit.deploy.load`.
"""

import importlib

from . import environment
from .version import __version__

__all__ = ['__version__', 'engine', 'models']

if environment.is_there('mmengine'):
    environment.require()

    from . import engine, models


def __getattr__(name: str):
    if name in __all__:
        environment.require()  # says what is missing
        return importlib.import_module(f'.{name}', __name__)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
