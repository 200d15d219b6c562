"""A converted data set: its classes, its splits, and the sizes of its images."""

import dataclasses
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...errors import DataError
from ..findings import first_few
from ..preflight import read_coco_file
from .convert import CLASSES_FILE, SEG_SPLITS
from .records import IMAGE_SUFFIXES, SPLITS, image_size

READ = 200
"""Images of a split whose size is read, spread over it."""


@dataclasses.dataclass(frozen=True)
class OwnData:
    """A folder that ``tools/convert_dataset.py`` wrote, or that is laid out as COCO or ADE20K.

    Attributes:
        folder: Its absolute path.
        classes: Names of the classes, in the order of their numbers.
        images: Split to number of images.
        size: Width and height of the images, pixels: the median of each.
        annotations: Content of the COCO file of the training images; ``None`` for label maps.
        most_objects: Objects of the fullest image; 0 for label maps.
        suffix: End of the names of the images of label maps, such as ``'.jpg'``; empty for objects.
    """

    folder: Path
    classes: tuple[str, ...]
    images: Mapping[str, int]
    size: tuple[int, int]
    annotations: Mapping | None = None
    most_objects: int = 0
    suffix: str = ''

    @property
    def has_masks(self) -> bool:
        """Whether some object has a mask."""
        return any(entry.get('segmentation') for entry in (self.annotations or {}).get('annotations', ()))


def read_own_data(folder: str | os.PathLike) -> OwnData:
    """Read a converted data set.

    Args:
        folder: The ``--out`` of ``tools/convert_dataset.py``.

    Raises:
        DataError: If it is not such a folder, if train or val is missing, or if their classes differ.
    """
    folder = Path(folder).resolve()
    if not folder.is_dir():
        raise DataError(f'There is no folder {folder}.', fix='give the --out of tools/convert_dataset.py')
    annotations, label_maps = folder / 'annotations', folder / 'annotations' / SEG_SPLITS['train']
    if any(annotations.glob('instances_*.json')):
        return _read_objects(folder)
    if label_maps.is_dir() or (folder / CLASSES_FILE).is_file():
        return _read_label_maps(folder)
    raise DataError(
        f'{folder} has no data set in a layout that the configs read.',
        expected='annotations/instances_train2017.json, or annotations/training/ with label maps and classes.txt',
        fix=f'python tools/convert_dataset.py {folder} --out OTHER, then --data OTHER',
    )


def _check_splits(folder: Path, found: Mapping[str, object], form: str) -> None:
    missing = [split for split in ('train', 'val') if split not in found]
    if missing:
        raise DataError(
            f'{folder} has no split {" and no ".join(missing)}.',
            expected=form,
            fix='convert the data again: tools/convert_dataset.py takes a share of the images for val',
        )


def _read_objects(folder: Path) -> OwnData:
    paths = {split: folder / 'annotations' / f'instances_{split}2017.json' for split in SPLITS}
    found = {split: read_coco_file(path, unlabelled=split == 'test') for split, path in paths.items() if path.is_file()}
    _check_splits(folder, found, 'annotations/instances_train2017.json and annotations/instances_val2017.json')
    classes = {split: _names(content, paths[split]) for split, content in found.items()}
    for split, names in classes.items():
        if names != classes['train']:
            raise DataError(
                f'{paths[split]} has other classes than {paths["train"].name}, or the same in another order: '
                f'{first_few(names)} and {first_few(classes["train"])}.',
                expected='the same categories in every file',
                fix='convert the data again, all splits at once: python tools/convert_dataset.py FOLDER --out DIR',
            )
    train = found['train']
    try:
        sizes = np.array([(entry['width'], entry['height']) for entry in train['images']], dtype=float)
        objects = [
            Counter(entry['image_id'] for entry in content['annotations']).most_common(1) for content in found.values()
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f'{paths["train"]}: images or annotations lack a field ({error!r}).',
            fix='python tools/convert_dataset.py FOLDER --out DIR fills in areas, `iscrowd` and sizes',
        ) from error
    if not len(sizes):
        raise DataError(f'{paths["train"]} has no images.', fix='add images to train on')
    return OwnData(
        folder=folder,
        classes=tuple(classes['train']),
        images={split: len(content['images']) for split, content in found.items()},
        size=_median(sizes),
        annotations=train,
        most_objects=max((count for first in objects for _, count in first), default=0),
    )


def _names(content: Mapping, path: Path) -> list[str]:
    names = [entry.get('name') for entry in content['categories'] if isinstance(entry, Mapping)]
    if not names or not all(isinstance(name, str) for name in names):
        raise DataError(f'{path}: `categories` names no classes.', fix='give each category a `name`')
    return names


def _read_label_maps(folder: Path) -> OwnData:
    path = folder / CLASSES_FILE
    if not path.is_file():
        raise DataError(
            f'There is no {path}: label maps hold numbers only.',
            expected='the name of each class, one a line, from value 0',
            fix='write it, or convert the data by tools/convert_dataset.py',
        )
    classes = tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
    found = {
        split: [file for file in sorted(images.iterdir()) if file.suffix.lower() in IMAGE_SUFFIXES]
        for split, name in SEG_SPLITS.items()
        if (images := folder / 'images' / name).is_dir()
    }
    found = {split: files for split, files in found.items() if files}
    _check_splits(folder, found, 'images/training and images/validation, and annotations/ with the same folders')
    suffixes = Counter(file.suffix for files in found.values() for file in files)
    if len(suffixes) > 1:
        raise DataError(
            f'The images of {folder} end in {" and ".join(suffixes)}; mmseg reads one suffix.',
            expected='one image format',
            fix='save all images in one format, and convert the data again',
        )
    train = found['train']
    chosen = [train[place] for place in np.linspace(0, len(train) - 1, min(READ, len(train))).round().astype(int)]
    return OwnData(
        folder=folder,
        classes=classes,
        images={split: len(files) for split, files in found.items()},
        size=_median(np.array([image_size(file) for file in chosen], dtype=float)),
        suffix=next(iter(suffixes)),
    )


def _median(sizes: np.ndarray) -> tuple[int, int]:
    width, height = np.median(sizes, axis=0)
    return round(float(width)), round(float(height))
