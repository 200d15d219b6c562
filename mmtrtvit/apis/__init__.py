"""Training and evaluation, as the command lines under ``tools/`` call them."""

from ..config import load_config
from .artefact import evaluate_artefact
from .evaluation import evaluate
from .training import train

__all__ = ['evaluate', 'evaluate_artefact', 'load_config', 'train']
