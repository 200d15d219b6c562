"""Training, evaluation, confusion matrices and prediction with checkpoints, as the tools call them."""

from .. import environment

environment.require()

from ..config import load_config
from .artefact import evaluate_artefact
from .confusion import confusion_matrix
from .evaluation import evaluate
from .new_config import new_config
from .prediction import load_pytorch
from .training import train

__all__ = [
    'confusion_matrix',
    'evaluate',
    'evaluate_artefact',
    'load_config',
    'load_pytorch',
    'new_config',
    'train',
]
