"""A small data set made on the spot, for machines that have none: shapes on real photographs.

:func:`make_embedded_dataset` writes the same scenes in the genuine COCO and ADE20K layouts. Nothing is
downloaded: the photographs are those that scikit-image carries in its wheel.
"""

from mmtrtvit.datasets.embedded.ade_layout import ADE_CLASSES, ADE_PALETTE
from mmtrtvit.datasets.embedded.dataset import EmbeddedSummary, make_embedded_dataset
from mmtrtvit.datasets.embedded.photographs import LICENCES, PHOTOGRAPHS, Photograph
from mmtrtvit.datasets.embedded.scene import Scene, make_scene
from mmtrtvit.datasets.embedded.scene_settings import SceneSettings
from mmtrtvit.datasets.embedded.shapes import CLASSES, PALETTE, SHAPES, Shape
from mmtrtvit.datasets.embedded.splits import SPLITS, Split

__all__ = [
    'ADE_CLASSES',
    'ADE_PALETTE',
    'CLASSES',
    'LICENCES',
    'PALETTE',
    'PHOTOGRAPHS',
    'SHAPES',
    'SPLITS',
    'EmbeddedSummary',
    'Photograph',
    'Scene',
    'SceneSettings',
    'Shape',
    'Split',
    'make_embedded_dataset',
    'make_scene',
]
