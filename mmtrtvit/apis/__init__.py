"""Training and evaluation, as the command lines under ``tools/`` call them."""

from .config import load_config
from .evaluation import evaluate
from .training import train

__all__ = ['evaluate', 'load_config', 'train']
