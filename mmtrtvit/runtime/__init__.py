"""Running an artefact with nothing but NumPy, OpenCV and its backend."""

from .masks import Masks
from .network import Network, open_network
from .postprocess import ClassScores, Detections, LabelMap
from .predictor import Predictor, load
from .preprocess import Preprocessing

__all__ = [
    'ClassScores',
    'Detections',
    'LabelMap',
    'Masks',
    'Network',
    'Predictor',
    'Preprocessing',
    'load',
    'open_network',
]
