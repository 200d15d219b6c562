"""LabelMe: one JSON file per image, with shapes drawn by hand."""

import json
import math
from pathlib import Path

from ...errors import DataError
from .records import (
    LabelledData,
    LabelledImage,
    LabelledObject,
    Pictures,
    box_around,
    check_told_size,
    image_size,
    split_of,
)

NAME = 'labelme'

_CIRCLE_CORNERS = 32


def matches(folder: Path) -> bool:
    """True if the first JSON file below a folder is LabelMe's."""
    first = next(iter(sorted(folder.rglob('*.json'))), None)
    return first is not None and b'"shapes"' in first.read_bytes()


def read(folder: Path) -> LabelledData:
    """Read a folder of LabelMe.

    Outlines of one label and ``group_id`` are parts of one object. Points and lines have no area: they are left out,
    with a note.

    Raises:
        DataError: If a file is not LabelMe's JSON, or its image is missing; names file and shape.
    """
    data = LabelledData(NAME, [], [])
    pictures = Pictures(folder)
    for path in sorted(folder.rglob('*.json')):
        content = _load(path)
        picture = pictures.find(str(content.get('imagePath') or path.stem), path)
        size = image_size(picture)
        check_told_size(path, [content.get('imageWidth'), content.get('imageHeight')], picture, size)
        objects = _objects(content['shapes'], path, data)
        data.images.append(LabelledImage(picture, path, size, objects, split_of(path.relative_to(folder).parent)))
    data.classes.sort()
    data.notes += pictures.note_unused()
    return data


def _load(path: Path) -> dict:
    try:
        content = json.loads(path.read_bytes())
        if isinstance(content['shapes'], list):
            return content
    except (ValueError, KeyError, TypeError):
        pass
    raise DataError(
        f'{path} is not a file of LabelMe.',
        expected='JSON with `shapes`, a list',
        fix='remove it from the folder, or write it again',
    )


def _objects(shapes: list, path: Path, data: LabelledData) -> list[LabelledObject]:
    parts: dict[tuple, list[tuple[float, ...]]] = {}
    boxes: dict[tuple, tuple[float, float, float, float]] = {}
    for number, shape in enumerate(shapes, 1):
        try:
            label, kind = str(shape['label']), shape.get('shape_type') or 'polygon'
            points = [(float(x), float(y)) for x, y in shape['points']]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f'{path}: shape {number} lacks a label or points of two numbers ({error!r}).',
                fix='correct or remove this shape',
            ) from error
        outline = _outline(kind, points)
        if outline is None:
            data.notes.append(f'{path}: shape {number} ({label}) is a {kind} of {len(points)} points: left out.')
            continue
        if label not in data.classes:
            data.classes.append(label)
        group = shape.get('group_id')
        key = (label, group) if group is not None else (label, None, number)
        if kind == 'rectangle':
            boxes[key] = box_around([outline])
        parts.setdefault(key, []).append(outline)
    return [
        LabelledObject(key[0], boxes[key])
        if key in boxes and len(outlines) == 1
        # a rectangle is a box alone; as a part of a group it is an outline
        else LabelledObject(key[0], box_around(outlines), tuple(outlines))
        for key, outlines in parts.items()
    ]


def _outline(kind: str, points: list[tuple[float, float]]) -> tuple[float, ...] | None:
    """``x1, y1, x2, y2, ...`` of a shape that has an area."""
    if kind == 'rectangle' and len(points) == 2:
        (x1, y1), (x2, y2) = points
        return (x1, y1, x2, y1, x2, y2, x1, y2)
    if kind == 'circle' and len(points) == 2:
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        angles = [2 * math.pi * corner / _CIRCLE_CORNERS for corner in range(_CIRCLE_CORNERS)]
        return tuple(value for a in angles for value in (x + radius * math.cos(a), y + radius * math.sin(a)))
    if kind in ('polygon', 'rectangle') and len(points) >= 3:
        return tuple(value for point in points for value in point)
    return None
