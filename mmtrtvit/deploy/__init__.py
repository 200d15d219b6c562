"""From a checkpoint to an artefact that runs without PyTorch, and the check that it is the same network.

Importing this package registers the rewriters with mmdeploy where that is installed:
``codebase_config.module=['mmtrtvit.deploy']`` in a deploy config does it. Where it is not, :func:`load` still runs what
was exported elsewhere: it needs NumPy, OpenCV and a backend.
"""

import importlib

from ..environment import is_there, require
from ..runtime import Detections, LabelMap, Predictor, load

_EXPORT = {
    'Artefact': 'proof.artefact',
    'DetectionParity': 'proof.parity',
    'SegmentationParity': 'proof.parity',
    'compare_detections': 'proof.parity',
    'compare_label_maps': 'proof.parity',
    'deploy': 'conversion',
}
"""What needs PyTorch and OpenMMLab, and where it is."""

__all__ = ['Detections', 'LabelMap', 'Predictor', 'load', 'mmdeploy_patches', 'rewriters', *_EXPORT]

if is_there('mmdeploy') and is_there('mmengine'):
    from .export import mmdeploy_patches, rewriters
    from .mmdeploy_backend import register

    register()


def __getattr__(name: str):
    if name in _EXPORT:
        if not is_there('mmengine'):
            require()  # says what is missing; otherwise importing mmtrtvit has done it
        return getattr(importlib.import_module(f'.{_EXPORT[name]}', __name__), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
