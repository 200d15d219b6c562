"""Images with label maps: one PNG per image, whose values or colours are classes."""

import dataclasses
import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from ...errors import ConfigError, DataError
from .records import find_images, image_size, split_of

IGNORED = 255
"""The label of pixels that belong to no class, as mmseg has it."""

_IMAGE_FOLDERS = ('images', 'image', 'imgs', 'JPEGImages', 'leftImg8bit')
_MAP_FOLDERS = ('masks', 'mask', 'labels', 'annotations', 'label_maps', 'SegmentationClass', 'gtFine')
_SUFFIXES = ('', '_mask', '_label', '_labels', '_seg', '_gt', '_labelIds', '_labelTrainIds', '_gtFine_labelTrainIds')

_PLAIN = {'1': 'L', 'LA': 'L', 'RGBA': 'RGB'}
"""Modes of Pillow that are read as another one: without transparency, and with a byte for each bit."""

REST = 'rest'
"""Stands in a mapping for every value that it does not name."""

Value = int | tuple[int, int, int] | str
"""A grey value, a colour, or :data:`REST`."""


@dataclasses.dataclass(frozen=True)
class LabelMapPair:
    """An image and its label map.

    Attributes:
        image: The image file.
        labels: The label map.
        split: ``'train'``, ``'val'``, ``'test'`` or ``None``.
    """

    image: Path
    labels: Path
    split: str | None


def parse_mapping(words: list[str]) -> dict[Value, str]:
    """``['0=background', '255=cell', '0,0,255=sky', 'rest=other']`` as value or colour to class name.

    Raises:
        ConfigError: If a word is not of that form.
    """
    found: dict[Value, str] = {}
    for word in words:
        value, _, name = word.partition('=')
        if value == REST and name:
            found[REST] = name
            continue
        try:
            numbers = [int(number) for number in value.split(',')]
            if len(numbers) not in (1, 3) or not name or not all(0 <= number <= 255 for number in numbers):
                raise ValueError
        except ValueError as error:
            raise ConfigError(
                f'--map {word}', expected='VALUE=CLASS, R,G,B=CLASS or rest=CLASS, such as 255=cell', fix='correct it'
            ) from error
        key = numbers[0] if len(numbers) == 1 else tuple(numbers)
        if key in found:
            raise ConfigError(
                f'--map gives {value} two classes: {found[key]} and {name}.', expected='one class', fix='remove one'
            )
        found[key] = name
    return found


def find_pairs(folder: Path) -> list[LabelMapPair]:
    """Images below a folder and the label maps that belong to them by name.

    Raises:
        DataError: If images lack label maps or label maps lack images; names the first.
    """
    everything = find_images(folder)
    is_map = [bool(set(path.relative_to(folder).parts[:-1]) & set(_MAP_FOLDERS)) for path in everything]
    images = [path for path, labels in zip(everything, is_map, strict=True) if not labels]
    maps: dict[str, list[Path]] = {}
    for path in itertools.compress(everything, is_map):
        maps.setdefault(path.stem, []).append(path)
    if not maps or not images:
        raise DataError(
            f'{folder} has {len(images)} images and {sum(is_map)} label maps.',
            expected=f'images in a folder {_IMAGE_FOLDERS[0]}/ and label maps of the same names in {_MAP_FOLDERS[0]}/',
            fix='rename or link the folders',
        )
    pairs, lonely = [], []
    for image in images:
        found = [path for suffix in _SUFFIXES for path in maps.get(image.stem + suffix, ())]
        if not found:
            lonely.append(image)
            continue
        # train/masks/1.png belongs to train/images/1.jpg, and not to val/images/1.jpg
        labels = next((path for path in found if _beside(path, folder) == _beside(image, folder)), found[0])
        maps[labels.stem].remove(labels)
        pairs.append(LabelMapPair(image, labels, split_of(image.relative_to(folder).parent)))
    left = [path for paths in maps.values() for path in paths]
    for paths, what in ((lonely, 'images have no label map'), (left, 'label maps have no image')):
        if paths:
            raise DataError(
                f'{len(paths)} {what}, the first is {paths[0]}.',
                expected=f'names such as {images[0].stem}.png or {images[0].stem}_mask.png for {images[0].name}',
                fix='add or remove files',
            )
    return pairs


def _beside(path: Path, folder: Path) -> tuple[str, ...]:
    """The folders of an image or a label map, without those that tell the two apart."""
    parts = path.relative_to(folder).parts[:-1]
    return tuple(part for part in parts if part not in (*_IMAGE_FOLDERS, *_MAP_FOLDERS))


def read_values(pair: LabelMapPair) -> np.ndarray:
    """The values of a label map: ``(H, W)`` uint8, or ``(H, W, 3)`` where it has colours.

    Raises:
        DataError: If it cannot be read or has another size than its image.
    """
    try:
        with Image.open(pair.labels) as opened:
            values = np.array(opened.convert(_PLAIN.get(opened.mode, opened.mode)))
    except (OSError, SyntaxError) as error:  # Pillow's for a broken PNG
        raise DataError(f'The label map {pair.labels} cannot be read: {error}', fix='replace the file') from error
    width, height = image_size(pair.image)
    if values.shape[:2] != (height, width):
        raise DataError(
            f'The label map {pair.labels} has {values.shape[1]} x {values.shape[0]} pixels, its image {pair.image} '
            f'{width} x {height}.',
            fix='make the label map as large as the image (nearest neighbour)',
        )
    if values.dtype != np.uint8 and (values.min() < 0 or values.max() > 255):
        raise DataError(
            f'The label map {pair.labels} has values up to {values.max()}.',
            expected='0 to 255',
            fix='write it as 8 bits',
        )
    return values.astype(np.uint8)


def text_of(value: Value | np.ndarray) -> str:
    """A value or colour as the command line writes it, such as ``0,0,255``."""
    return ','.join(map(str, np.atleast_1d(value)))


def map_values(values: np.ndarray, mapping: Mapping[Value, str], classes: list[str], source: Path) -> np.ndarray:
    """Labels 0 to n - 1 of a label map; pixels of the class ``ignore`` are 255.

    Args:
        values: ``(H, W)`` or ``(H, W, 3)`` uint8.
        mapping: Value or colour to class name.
        classes: Names in order.
        source: The file, for messages.

    Raises:
        DataError: If the map has a value without a class.
    """
    number = {name: place for place, name in enumerate(classes)} | {'ignore': IGNORED}
    labels = np.full(values.shape[:2], -1, np.int16)
    for value, name in mapping.items():
        if value != REST and isinstance(value, tuple) == (values.ndim == 3):
            labels[np.all(values == value, axis=2) if values.ndim == 3 else values == value] = number[name]
    if REST in mapping:
        labels[labels < 0] = number[mapping[REST]]
    if (labels < 0).any():
        y, x = np.argwhere(labels < 0)[0]
        raise DataError(
            f'The label map {source} has the value {text_of(values[y, x])} at x={x}, y={y}, which has no class.',
            expected=', '.join(f'{text_of(value)} ({name})' for value, name in mapping.items()),
            fix='add it by --map VALUE=CLASS (or VALUE=ignore), or correct the label map',
        )
    return labels.astype(np.uint8)
