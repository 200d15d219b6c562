"""From a checkpoint to an artefact that runs without PyTorch, and the check that it is the same network.

Importing this package registers the rewriters with mmdeploy: ``codebase_config.module=['mmtrtvit.deploy']`` in a
deploy config does it.
"""

from . import repairs, rewriters
from .artefact import Artefact
from .conversion import deploy
from .evaluation import evaluate_artefact
from .parity import DetectionParity, compare_detections

__all__ = [
    'Artefact',
    'DetectionParity',
    'compare_detections',
    'deploy',
    'evaluate_artefact',
    'repairs',
    'rewriters',
]
