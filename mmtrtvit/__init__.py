"""mmtrtvit: detection and segmentation backbones made for deployment, under OpenMMLab.

Importing the package checks that what it needs is there, and registers its backbones:
``custom_imports = dict(imports=['mmtrtvit'])`` in a config is enough to use them.
"""

from . import environment
from .version import __version__

environment.require()

from . import engine, models  # noqa: E402  (only after the check, which explains what is missing)

__all__ = ['__version__', 'engine', 'models']
