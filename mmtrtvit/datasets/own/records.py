"""Annotated images in memory, whatever format they were read from."""

import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from ...errors import DataError

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
SPLITS = ('train', 'val', 'test')

_SPLIT_NAMES = {
    'train': 'train',
    'training': 'train',
    'train2017': 'train',
    'val': 'val',
    'valid': 'val',
    'validation': 'val',
    'val2017': 'val',
    'test': 'test',
    'testing': 'test',
}
_ROTATED = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without the byte order mark of Windows.

    Raises:
        DataError: If it is not UTF-8.
    """
    try:
        return path.read_text(encoding='utf-8-sig').splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f'{path} is not text in UTF-8.', fix='save it as UTF-8, or remove it') from error


@dataclasses.dataclass(frozen=True)
class LabelledObject:
    """One object of an image.

    Attributes:
        label: Name of its class.
        box: Left, top, width and height in pixels of the image.
        polygons: Outlines, ``[x1, y1, x2, y2, ...]`` in pixels each; empty for a box alone.
        rle: COCO's run lengths (``size`` and ``counts``) in place of polygons.
        crowd: Whether it is a group, which COCO leaves out of the evaluation.
        area: Area in pixels, if the source has it; AP of small, medium and large objects goes by it.
    """

    label: str
    box: tuple[float, float, float, float]
    polygons: tuple[tuple[float, ...], ...] = ()
    rle: dict | None = None
    crowd: bool = False
    area: float | None = None


@dataclasses.dataclass
class LabelledImage:
    """An image and its objects.

    Attributes:
        path: The image file.
        source: The file that its annotation was read from, for messages.
        size: Width and height in pixels, as OpenCV reads it (EXIF orientation applied).
        objects: Its objects.
        split: ``'train'``, ``'val'``, ``'test'``, or ``None`` where the source has no splits.
    """

    path: Path
    source: Path
    size: tuple[int, int]
    objects: list[LabelledObject]
    split: str | None = None


@dataclasses.dataclass
class LabelledData:
    """A data set that was read from a folder.

    Attributes:
        format: Name of the format.
        classes: Names of the classes, in the order of the source; by name where the format has no order.
        images: The images.
        notes: Everything that was left out or changed, one line each.
    """

    format: str
    classes: list[str]
    images: list[LabelledImage]
    notes: list[str] = dataclasses.field(default_factory=list)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image file in pixels, as OpenCV reads it.

    Raises:
        DataError: If the file is missing or cannot be read.
    """
    if not path.is_file():
        raise DataError(f'There is no image {path}.', fix='add the file, or remove its annotation')
    try:
        with Image.open(path) as image:
            width, height = image.size
            return (height, width) if image.getexif().get(274) in _ROTATED else (width, height)
    except OSError as error:
        raise DataError(f'The image {path} cannot be read: {error}', fix='replace the file, or remove it') from error


def find_images(folder: Path) -> list[Path]:
    """Every image file below a folder, in order of the path."""
    return sorted(path for path in folder.rglob('*') if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


class Pictures:
    """The image files below a folder, found by the names that annotation files give them.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_stem: dict[str, list[Path]] = {}
        for path in find_images(folder):
            self._by_stem.setdefault(path.stem, []).append(path)
        self._unused = {path for paths in self._by_stem.values() for path in paths}

    def find(self, name: str, source: Path) -> Path:
        """The image of an annotation file.

        Args:
            name: A file name, perhaps with folders of another machine before it and with another suffix.
            source: The annotation file. An image beside it, or of the same split, comes before others of the name.

        Raises:
            DataError: If no image matches, or several match equally well.
        """
        name = name.replace('\\', '/')
        found = [path for path in (source.parent / name, self.folder / name) if name and path.is_file()][:1]
        found = found or self._by_stem.get(Path(name).stem) or self._by_stem.get(source.stem) or []
        split = split_of(source.relative_to(self.folder))
        if len(found) > 1 and split:
            found = [path for path in found if split_of(path.relative_to(self.folder).parent) == split] or found
        if not found:
            raise DataError(
                f'There is no image for {source} (it names {name!r}).',
                expected=f'that file below {self.folder}',
                fix='add the image, or remove its annotation',
            )
        if len(found) > 1:
            raise DataError(
                f'{source} names the image {name!r}; there are {len(found)} of that name: {found[0]}, {found[1]} ...',
                expected='one image',
                fix='give the folder in the annotation, or rename the images',
            )
        self._unused.discard(found[0])
        return found[0]

    def note_unused(self) -> list[str]:
        """A note that names the images which no annotation file wanted; empty where there are none."""
        if not self._unused:
            return []
        return [f'{len(self._unused)} images have no annotation: left out. The first is {min(self._unused)}.']


def check_told_size(path: Path, told: Sequence[float | None], picture: Path, size: tuple[int, int]) -> None:
    """Make sure that an annotation file has the size of its image, where it has any.

    Raises:
        DataError: If the sizes differ: the boxes are those of another image.
    """
    if all(told) and tuple(map(int, told)) != size:
        raise DataError(
            f'{path} says {int(told[0])} x {int(told[1])} pixels; its image {picture} has {size[0]} x {size[1]}.',
            expected='annotations in pixels of this image',
            fix='use the images that were annotated, or annotate these again',
        )


def split_of(path: str | os.PathLike) -> str | None:
    """The split that a path names by one of its folders or by the stem of its file, the last one first."""
    parts = Path(path).parts
    for part in (Path(parts[-1]).stem, *reversed(parts[:-1])) if parts else ():
        for word in (part, *part.replace('-', '_').split('_')):
            if word.lower() in _SPLIT_NAMES:
                return _SPLIT_NAMES[word.lower()]
    return None


def box_around(polygons: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """Left, top, width and height of the box around some outlines."""
    xs = [x for polygon in polygons for x in polygon[0::2]]
    ys = [y for polygon in polygons for y in polygon[1::2]]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def objects_inside(image: LabelledImage) -> Iterator[tuple[LabelledObject | None, str]]:
    """Cut the objects of an image off at its border; each comes with a note if it was changed or cannot be used.

    Yields:
        The object, ``None`` for one without area inside of the image; and the note, empty for an object that was left
        as it is.
    """
    width, height = image.size
    for number, item in enumerate(image.objects, 1):
        left, top, wide, high = item.box
        x1, y1 = max(left, 0.0), max(top, 0.0)
        x2, y2 = min(left + wide, float(width)), min(top + high, float(height))
        place = f'{image.source}: object {number} ({item.label})'
        if not all(map(math.isfinite, (left, top, wide, high))):
            yield None, f'{place} has a box that is not finite ({left}, {top}, {wide}, {high}): left out'
        elif wide <= 0 or high <= 0:
            yield None, f'{place} has no area ({wide:g} x {high:g} pixels): left out'
        elif x2 <= x1 or y2 <= y1:
            yield None, f'{place} lies outside of the image: left out'
        elif (x1, y1, x2, y2) != (left, top, left + wide, top + high):
            cut = dataclasses.replace(item, box=(x1, y1, x2 - x1, y2 - y1))
            # half a pixel beyond the border is rounding, not an error of the annotation
            beyond = max(x1 - left, y1 - top, left + wide - x2, top + high - y2)
            yield cut, f'{place} reaches {beyond:.1f} pixels beyond the image: cut off' if beyond > 1 else ''
        else:
            yield item, ''
