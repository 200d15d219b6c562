"""Export of a checkpoint to an artefact that runs without PyTorch, and the proof that both give the same results.

``custom_imports=dict(imports=['mmtrtvit.deploy'])`` in a deploy config registers rewriters and backends with mmdeploy.
They are registered as soon as both this package and mmdeploy are imported, in either order; this package does not
import mmdeploy by itself. :func:`load` needs NumPy, OpenCV and a backend only.
"""

import importlib

from ..environment import require
from ..runtime import ClassScores, Detections, LabelMap, Predictor, load
from ..when_imported import when_imported

_EXPORT = {
    'ClassificationParity': 'proof.classification_parity',
    'DetectionParity': 'proof.detection_parity',
    'PredictorModel': 'proof.results',
    'SegmentationParity': 'proof.segmentation_parity',
    'Segmented': 'proof.segmentation_parity',
    'compare_detections': 'proof.detection_parity',
    'compare_label_maps': 'proof.segmentation_parity',
    'compare_scores': 'proof.classification_parity',
    'deploy': 'conversion',
}
"""Name to module, for the names that need PyTorch and OpenMMLab."""

__all__ = ['ClassScores', 'Detections', 'LabelMap', 'Predictor', 'load', *_EXPORT]


def _register() -> None:
    # each registers itself, so it does not matter which of them is imported first and brings mmdeploy along
    for name in ('export.mmdeploy_patches', 'export.rewriters', 'mmdeploy_backend', 'mmdeploy_tasks'):
        importlib.import_module(f'.{name}', __name__)


when_imported('mmdeploy', _register)


def __getattr__(name: str):
    if name in _EXPORT:
        require(networks=True)
        return getattr(importlib.import_module(f'.{_EXPORT[name]}', __name__), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
