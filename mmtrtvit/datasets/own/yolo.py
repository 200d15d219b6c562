"""YOLO: one text file per image, one line per object, numbers as shares of the image (ultralytics, Roboflow)."""

import math
from pathlib import Path

import yaml

from ...errors import DataError
from .records import (
    LabelledData,
    LabelledImage,
    LabelledObject,
    box_around,
    find_images,
    image_size,
    read_lines,
    split_of,
)

NAME = 'yolo'

_NOT_LABELS = ('classes.txt', 'obj.names', 'train.txt', 'val.txt', 'valid.txt', 'test.txt', 'requirements.txt')


def matches(folder: Path) -> bool:
    """True if a folder holds text files of numbers beside images, or a data.yaml that names classes."""
    return _class_file(folder) is not None and any(_label_files(folder))


def read(folder: Path) -> LabelledData:
    """Read a folder of YOLO: boxes (``class cx cy w h``) or outlines (``class x1 y1 x2 y2 ...``).

    Splits are those of the folders (``train/``, ``valid/``, ``images/val/`` ...). An image without a text file has no
    objects, as YOLO has it.

    Raises:
        DataError: If no file names the classes, or a line is not of that form; names file and line.
    """
    classes = _read_classes(folder)
    labels = {_key(path): path for path in _label_files(folder)}
    data = LabelledData(NAME, classes, [])
    without = []
    for picture in find_images(folder):
        size = image_size(picture)
        path = labels.pop(_key(picture), None)
        if path is None:
            without.append(picture)
        objects = [] if path is None else _read_objects(path, classes, size)
        split = split_of(picture.relative_to(folder).parent)
        data.images.append(LabelledImage(picture, path or picture, size, objects, split))
    if labels:
        first = next(iter(labels.values()))
        raise DataError(
            f'{len(labels)} label files have no image, the first is {first}.',
            expected=f'an image {first.stem}.jpg, or another suffix, in the folder images/ beside labels/',
            fix='add the images, or remove the label files',
        )
    if without:
        data.notes.append(f'{len(without)} images have no label file and so no objects, the first is {without[0]}.')
    return data


def _key(path: Path) -> tuple[str, ...]:
    """Key that an image and its label file share: the path without suffix and without ``images`` or ``labels``."""
    return tuple(part for part in path.with_suffix('').parts if part not in ('images', 'labels'))


def _label_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob('*.txt')
        if path.name not in _NOT_LABELS and not path.name.lower().startswith('readme')
    )


def _class_file(folder: Path) -> Path | None:
    for name in ('data.yaml', 'data.yml', '*.yaml', '*.yml', 'classes.txt', 'obj.names'):
        for path in sorted(folder.rglob(name)):
            return path
    return None


def _read_classes(folder: Path) -> list[str]:
    path = _class_file(folder)
    if path is None:
        raise DataError(
            f'No file below {folder} names the classes.',
            expected='data.yaml with `names`, or classes.txt with one name a line',
            fix='add one of them',
        )
    if path.suffix not in ('.yaml', '.yml'):
        return [line.strip() for line in read_lines(path) if line.strip()]
    try:
        content = yaml.safe_load('\n'.join(read_lines(path)))
        names = content['names']
        return [str(names[key]) for key in sorted(names)] if isinstance(names, dict) else [str(name) for name in names]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise DataError(
            f'{path} does not name the classes: {" ".join(str(error).split())}',
            expected='`names: [first, second]`',
            fix='add `names`',
        ) from error


def _read_objects(path: Path, classes: list[str], size: tuple[int, int]) -> list[LabelledObject]:
    objects = []
    for number, line in enumerate(read_lines(path), 1):
        words = line.split()
        if not words:
            continue
        try:
            index, values = int(words[0]), [float(word) for word in words[1:]]
        except ValueError as error:
            raise _bad_line(path, number, line) from error
        if len(values) != 4 and (len(values) < 6 or len(values) % 2):
            raise _bad_line(path, number, line)
        if not 0 <= index < len(classes):
            raise DataError(
                f'{path}, line {number}: class {index}, where there are {len(classes)} classes.',
                expected=f'0 to {len(classes) - 1}',
                fix='correct the line, or the list of names',
            )
        far = [value for value in values if not -0.5 <= value <= 1.5 and not math.isnan(value)]
        if far:
            raise DataError(
                f'{path}, line {number}: {far[0]:g} as a share of the image.',
                expected='shares from 0 to 1; these look like pixels',
                fix='divide x by the width and y by the height of the image',
            )
        objects.append(_object(classes[index], values, size))
    return objects


def _object(label: str, values: list[float], size: tuple[int, int]) -> LabelledObject:
    width, height = size
    if len(values) == 4:
        x, y, wide, high = values[0] * width, values[1] * height, values[2] * width, values[3] * height
        return LabelledObject(label, (x - wide / 2, y - high / 2, wide, high))
    outline = tuple(value * size[place % 2] for place, value in enumerate(values))
    return LabelledObject(label, box_around([outline]), (outline,))


def _bad_line(path: Path, number: int, line: str) -> DataError:
    return DataError(
        f'{path}, line {number}: {line[:60]!r}.',
        expected='`class cx cy w h`, or `class x1 y1 x2 y2 x3 y3 ...` for an outline',
        fix='correct or remove the line',
    )
