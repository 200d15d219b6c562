"""COCO as other tools write it (CVAT, Roboflow, Label Studio): ids from 0, missing fields, other folders."""

import json
from collections import Counter
from collections.abc import Mapping
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

NAME = 'coco'

_KEYS = ('images', 'annotations', 'categories')


def matches(folder: Path) -> bool:
    """True if a JSON file below a folder has the keys of COCO."""
    return any(True for _ in _annotation_files(folder))


def read(folder: Path) -> LabelledData:
    """Read a folder with one COCO file for each split, or one for all images.

    Missing areas, ``iscrowd`` and sizes are filled in by the writer. Categories without an object that only group
    others (Roboflow's first one) are left out, with a note.

    Raises:
        DataError: If an annotation or an image is incomplete, or the files define different classes; names file
            and id.
    """
    data = LabelledData(NAME, [], [])
    pictures = Pictures(folder)
    order: dict[Path, list[str]] = {}
    for path, content in _annotation_files(folder):
        names = _categories(content, path, data)
        order[path] = list(names.values())
        by_image = _group_annotations(content['annotations'], names, path)
        split, seen = split_of(path.relative_to(folder)), set()
        for entry in content['images']:
            if not isinstance(entry, dict) or not entry.get('file_name') or 'id' not in entry:
                raise DataError(f'{path}: an image has no id or file_name ({entry!r}).', fix='add it')
            if entry['id'] in seen:
                raise DataError(
                    f'{path}: several images have the id {entry["id"]!r}, so it is unclear whose the objects are.',
                    expected='an id of its own for each image',
                    fix='export the annotations again',
                )
            seen.add(entry['id'])
            picture = pictures.find(str(entry['file_name']), path)
            size = image_size(picture)
            check_told_size(path, [entry.get('width'), entry.get('height')], picture, size)
            objects = by_image.pop(entry['id'], [])
            data.images.append(LabelledImage(picture, path, size, objects, split))
        if by_image:
            raise DataError(
                f'{path}: {len(by_image)} images have annotations and no entry in `images`, the first has id '
                f'{next(iter(by_image))!r}.',
                fix='add them to `images`, or remove their annotations',
            )
    data.classes = _common_order(order)
    data.notes += pictures.note_unused()
    return data


def _annotation_files(folder: Path):
    for path in sorted(folder.rglob('*.json')):
        try:
            content = json.loads(path.read_bytes())
        except ValueError:
            continue
        if isinstance(content, dict) and all(isinstance(content.get(key), list) for key in _KEYS):
            yield path, content


def _categories(content: Mapping, path: Path, data: LabelledData) -> dict:
    """Id of a category to its name."""
    try:
        names = {entry['id']: str(entry['name']) for entry in content['categories']}
        used = {annotation['category_id'] for annotation in content['annotations']}
    except (KeyError, TypeError) as error:
        raise DataError(
            f'{path}: a category or an annotation lacks {error}.', fix='export the annotations again'
        ) from error
    shared = [number for number, count in Counter(entry['id'] for entry in content['categories']).items() if count > 1]
    if shared:
        raise DataError(
            f'{path}: several categories have the id {shared[0]!r}.',
            expected='an id of its own for each category',
            fix='export the annotations again',
        )
    unknown = used - names.keys()
    if unknown:
        raise DataError(
            f'{path}: annotations of the categories {", ".join(map(repr, sorted(unknown, key=str)))}, which it lacks.',
            expected=f'category_id among {", ".join(map(str, names))}',
            fix='add these categories, or remove their annotations',
        )
    # Roboflow puts the name of the project first, as a category without objects that all others belong to.
    parents = {entry.get('supercategory') for entry in content['categories']}
    for entry in content['categories']:
        number, name = entry['id'], str(entry['name'])
        if number not in used and name in parents and entry.get('supercategory') in (None, '', 'none'):
            del names[number]
            data.notes.append(f'{path}: the category {name!r} has no object and only groups others: left out.')
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise DataError(f'{path}: two categories are called {twice[0]!r}.', fix='rename one, or join them')
    return names


def _group_annotations(annotations: list, names: Mapping, path: Path) -> dict:
    """Id of an image to its objects."""
    found: dict = {}
    for annotation in annotations:
        try:
            item = _object(annotation, names)
            found.setdefault(annotation['image_id'], []).append(item)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f'{path}: annotation {annotation.get("id") if isinstance(annotation, dict) else annotation!r} '
                f'cannot be used: {error!r}.',
                expected='image_id, category_id, and a bbox [left, top, width, height] or a segmentation',
                fix='correct or remove it',
            ) from error
    return found


def _object(annotation: Mapping, names: Mapping) -> LabelledObject:
    outlines = annotation.get('segmentation') or []
    rle = outlines if isinstance(outlines, dict) else None
    polygons = [] if rle else [tuple(map(float, outline)) for outline in outlines if len(outline) >= 6]
    box = annotation.get('bbox')
    if box is None and not polygons:
        raise KeyError('bbox')
    box = tuple(map(float, box)) if box is not None else box_around(polygons)
    if len(box) != 4:
        raise ValueError(f'bbox of {len(box)} numbers')
    crowd = bool(annotation.get('iscrowd', 0))
    area = annotation.get('area')
    area = float(area) if area else None
    return LabelledObject(names[annotation['category_id']], box, tuple(polygons), rle, crowd, area)


def _common_order(order: Mapping[Path, list[str]]) -> list[str]:
    """The classes of all files.

    Raises:
        DataError: If the files define different classes.
    """
    paths = list(order)
    for path in paths[1:]:
        if set(order[path]) != set(order[paths[0]]):
            differing = sorted(set(order[path]) ^ set(order[paths[0]]))
            raise DataError(
                f'{paths[0]} and {path} have different classes: {", ".join(differing)} in one of them only.',
                expected='the same categories in the file of each split',
                fix='export all splits of one project together, or correct `categories`',
            )
    return order[paths[0]] if paths else []
