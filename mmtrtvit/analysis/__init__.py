"""What a network takes for what: confusion matrices of detectors and segmentors."""

from .confusion import ConfusionMatrix, confusion_matrix

__all__ = ['ConfusionMatrix', 'confusion_matrix']
