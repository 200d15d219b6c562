"""Scenes in the layout of ADE20K's SceneParse150: ``images`` and ``annotations``, class lists beside them."""

from pathlib import Path

import cv2
import numpy as np

from .scene import Scene
from .shapes import CLASSES, PALETTE
from .splits import SPLITS, Split

#: Class names, in label order. In the files label k stands for ADE_CLASSES[k - 1] and 0 for unlabelled (which
#: no pixel here is), so ``reduce_zero_label=True`` is right, as it is for ADE20K.
ADE_CLASSES = ('background', *CLASSES)
#: One RGB colour per class, for pictures.
ADE_PALETTE = ((120, 120, 120), *PALETTE)

#: The real data set's objectInfo150.txt; the number is that of the classes.
OBJECT_INFO = f'objectInfo{len(ADE_CLASSES)}.txt'
SCENE_CATEGORIES = 'sceneCategories.txt'


class AdeLayout:
    """Collects scenes under ``folder`` and writes the lists that go with them.

    Args:
        folder: The folder that the data set calls ``ADEChallengeData2016``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pixels = np.zeros(len(ADE_CLASSES), np.int64)
        self._images = {name: np.zeros(len(ADE_CLASSES), np.int64) for name in SPLITS}
        self._scenes: list[str] = []
        for kind in ('images', 'annotations'):
            for split in SPLITS.values():
                (folder / kind / split.ade).mkdir(parents=True)

    def add(self, split: Split, index: int, scene: Scene, jpeg: bytes) -> None:
        """Write image ``index`` of a split and its label map."""
        stem = image_stem(split, index)
        labels = semantic_labels(scene)
        (self._folder / 'images' / split.ade / f'{stem}.jpg').write_bytes(jpeg)
        (self._folder / 'annotations' / split.ade / f'{stem}.png').write_bytes(cv2.imencode('.png', labels)[1])
        pixels = np.bincount(labels.ravel(), minlength=len(ADE_CLASSES) + 1)[1:]
        self._pixels += pixels
        self._images[split.name] += pixels > 0
        self._scenes.append(f'{stem} {scene.photograph.name}\n')

    def finish(self) -> None:
        """Write the class list (share of pixels, images per split) and the photograph behind each scene."""
        lines = ['Idx\tRatio\tTrain\tVal\tName\n']
        ratios = self._pixels / self._pixels.sum()
        for label, name in enumerate(ADE_CLASSES):
            images = '\t'.join(str(self._images[split][label]) for split in SPLITS)
            lines.append(f'{label + 1}\t{ratios[label]:.4f}\t{images}\t{name}\n')
        (self._folder / OBJECT_INFO).write_text(''.join(lines), encoding='ascii')
        (self._folder / SCENE_CATEGORIES).write_text(''.join(self._scenes), encoding='ascii')


def semantic_labels(scene: Scene) -> np.ndarray:
    """The label map of a scene: uint8 (H, W), 1 for the background, 2 and up for the shapes' classes."""
    # Entry 0 is the background, entry k is object k - 1.
    table = np.array([1, *(label + 2 for label in scene.labels)], np.uint8)
    return table[scene.instances]


def image_stem(split: Split, index: int) -> str:
    """File name of image ``index`` of a split, without suffix. ADE20K counts from 1."""
    return f'{split.ade_prefix}{index + 1:08d}'


def ade_files(split: Split, images: int) -> list[str]:
    """Every file that a split of ``images`` images has, as paths inside the ADE20K folder."""
    stems = [image_stem(split, index) for index in range(images)]
    return [
        *(f'images/{split.ade}/{stem}.jpg' for stem in stems),
        *(f'annotations/{split.ade}/{stem}.png' for stem in stems),
    ]
