"""Photographs in one folder for each class: the layout of ImageNet, which classifiers are trained on."""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..errors import DataError
from .findings import Finding, first_few

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')
"""Files that mmpretrain reads."""


def count_images(folder: Path) -> dict[str, int]:
    """Class to number of images of a folder with a folder for each class, in mmpretrain's order: that of the names."""
    folders = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    return {
        entry.name: sum(Path(name).suffix.lower() in IMAGE_SUFFIXES for _, _, names in os.walk(entry) for name in names)
        for entry in folders
    }


def check_class_folders(folder: Path, classes: Sequence[str], named: bool) -> Iterator[Finding]:
    """Faults of a folder that a classifier reads.

    Args:
        folder: It has a folder for each class.
        classes: Classes of the config, in the order of their numbers.
        named: Whether these are names of folders. ImageNet's folders have other names than its classes.
    """
    found = count_images(folder)
    if not found:
        yield Finding(
            'error',
            f'{folder} has no folders.',
            'a folder of images for each class, such as train/ants and train/bees',
            'sort the images into folders, or correct the data root',
        )
        return
    empty = [name for name, images in found.items() if not images]
    if empty:
        yield Finding(
            'error',
            f'{folder} has no images of {first_few(empty)}.',
            f'files that end in {", ".join(IMAGE_SUFFIXES)}',
            'add images, or remove the empty folders',
        )
    if classes and (list(found) != list(classes) if named else len(found) != len(classes)):
        yield Finding(
            'error',
            f'{folder} has {len(found)} folders ({first_few(found)}), the config {len(classes)} classes '
            f'({first_few(classes)}).',
            'a folder for each class; their names in order are the classes',
            'correct metainfo=dict(classes=...) of the data sets, or the folders',
        )


@dataclasses.dataclass(frozen=True)
class ClassFolders:
    """A data set for classifiers.

    Attributes:
        folder: Its absolute path; ``train`` and ``val`` are in it, perhaps ``test``.
        classes: Names of the classes, in the order of their numbers.
        images: Split to number of images.
        largest: Share of the most frequent class of ``val``: the accuracy of guessing it always.
    """

    folder: Path
    classes: tuple[str, ...]
    images: Mapping[str, int]
    largest: float


def read_class_folders(folder: str | os.PathLike) -> ClassFolders:
    """Read a data set for classifiers.

    Args:
        folder: It has ``train`` and ``val``, perhaps ``test``, each with a folder for each class.

    Raises:
        DataError: If a split is missing, or they have different classes, or a class has no images.
    """
    folder = Path(folder).resolve()
    counts = {split: count_images(folder / split) for split in ('train', 'val', 'test') if (folder / split).is_dir()}
    missing = [split for split in ('train', 'val') if split not in counts]
    if missing:
        raise DataError(
            f'{folder} has no folder {" and no ".join(missing)}.',
            expected='train/ and val/, each with a folder of images for each class',
            fix='give the folder that holds both; take some images of each class apart for val',
        )
    classes = tuple(counts['train'])
    for split in counts:
        faults = check_class_folders(folder / split, classes, named=True)
        for fault in faults:
            raise DataError(fault.message, expected=fault.expected, fix=fault.fix)
    if len(classes) < 2:
        raise DataError(f'{folder} has one class, {classes[0]}.', expected='two or more', fix='add folders of images')
    val = counts['val'].values()
    return ClassFolders(
        folder, classes, {split: sum(found.values()) for split, found in counts.items()}, max(val) / sum(val)
    )
