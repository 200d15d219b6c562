"""A small data set made on the spot, for machines that have none: shapes on real photographs.

:func:`make_toy_dataset` writes the same scenes in the genuine COCO and ADE20K layouts. Nothing is
downloaded: the photographs are those that scikit-image carries in its wheel.
"""

from .ade_layout import ADE_CLASSES, ADE_PALETTE
from .dataset import ToyDataset, make_toy_dataset
from .photographs import LICENCES, PHOTOGRAPHS, Photograph
from .scene import Scene, make_scene
from .scene_settings import SceneSettings
from .shapes import CLASSES, PALETTE, SHAPES, Shape
from .splits import SPLITS, Split

__all__ = [
    'ADE_CLASSES',
    'ADE_PALETTE',
    'CLASSES',
    'LICENCES',
    'PALETTE',
    'PHOTOGRAPHS',
    'SHAPES',
    'SPLITS',
    'ToyDataset',
    'Photograph',
    'Scene',
    'SceneSettings',
    'Shape',
    'Split',
    'make_toy_dataset',
    'make_scene',
]
