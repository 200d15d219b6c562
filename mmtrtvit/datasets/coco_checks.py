"""Faults of a COCO file that mmdet or pycocotools would ignore silently, or crash on late."""

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from .coco_masks import check_masks
from .findings import Finding, first_few

FEW = 5
"""Boxes from which a convention is guessed."""


@dataclasses.dataclass(frozen=True)
class CocoUse:
    """A config's use of a COCO file.

    Attributes:
        classes: Names of the classes in the order of the labels; empty where the config accepts those of the file.
        images: The folder of the images, ``None`` where only annotations are read.
        masks: Whether masks are needed.
        evaluated: Whether pycocotools computes AP with it.
        trained: Whether the network learns from it.
        min_size: Images with a shorter side than this many pixels are left out of training.
        filter_empty: Whether images without objects are left out of training.
    """

    classes: Sequence[str] = ()
    images: Path | None = None
    masks: bool = False
    evaluated: bool = False
    trained: bool = False
    min_size: int = 0
    filter_empty: bool = False


def check_coco(content: Mapping, path: Path, use: CocoUse) -> Iterator[Finding]:
    """Faults of the content of a COCO file, the gravest kinds first.

    Args:
        content: The content, with lists ``images``, ``annotations`` and ``categories``.
        path: The file, for messages.
        use: The config's use of it.
    """
    fields = list(check_fields(content, path, use))
    yield from fields
    if any(finding.severity == 'error' for finding in fields):
        return  # the checks below read these fields
    yield from _check_ids(content, path, use)
    yield from _check_classes(content, path, use)
    yield from _check_boxes(content, path)
    if use.masks:
        yield from check_masks(content, path)
    if use.images is not None:
        yield from _check_files(content, path, use.images)
    if use.trained:
        yield from _check_what_is_left(content, path, use)
    elif use.evaluated and all(entry.get('iscrowd') for entry in content['annotations']):
        yield Finding(
            'warning',
            f'{path} has no object to evaluate with'
            + (', but crowds' if content['annotations'] else '')
            + ': AP is -1.',
            fix='add annotations, or take another file for val and test',
        )


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_length(value: object) -> bool:
    return _is_number(value) and value > 0


def _is_box(value: object) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _is_name(value: object) -> bool:
    return isinstance(value, (int, str))


VALUES: tuple[tuple[str, str, Callable[[object], bool], str], ...] = (
    ('images', 'id', _is_name, 'a number or a text'),
    ('images', 'file_name', lambda value: isinstance(value, str), 'a text'),
    ('images', 'width', _is_length, 'a number of pixels above 0'),
    ('images', 'height', _is_length, 'a number of pixels above 0'),
    ('annotations', 'id', _is_name, 'a number or a text'),
    ('annotations', 'image_id', _is_name, 'a number or a text'),
    ('annotations', 'category_id', _is_name, 'a number or a text'),
    ('annotations', 'bbox', _is_box, 'four numbers: left, top, width and height in pixels'),
    ('annotations', 'area', _is_number, 'a number of pixels'),
    ('annotations', 'iscrowd', lambda value: value in (0, 1), '0 or 1'),
    ('categories', 'id', _is_name, 'a number or a text'),
    ('categories', 'name', lambda value: isinstance(value, str), 'a text'),
)
"""Entries and their fields: what a value must be, as a function and in words."""


def check_fields(content: Mapping, path: Path, use: CocoUse) -> Iterator[Finding]:
    """Fields that are missing or unusable; all other checks read these fields.

    Args:
        content, path, use: As for :func:`check_coco`.
    """
    needed = {
        'images': ('id', 'file_name', 'width', 'height'),
        'annotations': ('id', 'image_id', 'category_id', 'bbox', 'area', *(('iscrowd',) if use.evaluated else ())),
        'categories': ('id', 'name'),
    }
    for group, keys in needed.items():
        entries = content[group]
        strange = [entry for entry in entries if not isinstance(entry, Mapping)]
        if strange:
            yield Finding(
                'error', f'{path}: `{group}` has {strange[0]!r} in it.', 'objects only', 'write the file again'
            )
            continue
        for key in keys:
            lacking = [entry for entry in entries if entry.get(key) is None]
            if lacking:
                yield Finding(
                    'error',
                    f'{path}: {len(lacking)} of {len(entries)} {group} have no `{key}`, the first has id '
                    f'{lacking[0].get("id")!r}.',
                    f'`{key}` in each',
                    'python tools/convert_dataset.py FOLDER --out DIR fills in areas, `iscrowd` and sizes',
                )
    for group, key, valid, expected in VALUES:
        entries = [entry for entry in content[group] if isinstance(entry, Mapping) and entry.get(key) is not None]
        wrong = [entry for entry in entries if not valid(entry[key])]
        if wrong:
            yield Finding(
                'error',
                f'{path}: {len(wrong)} of {len(entries)} {group} have an unusable `{key}`, the first is that of '
                f'{wrong[0].get("id")!r}: {wrong[0][key]!r}.',
                expected,
                'correct it, or export the annotations again',
            )


def _check_ids(content: Mapping, path: Path, use: CocoUse) -> Iterator[Finding]:
    for group in ('images', 'annotations', 'categories'):
        twice = [number for number, count in Counter(entry['id'] for entry in content[group]).items() if count > 1]
        if twice:
            yield Finding(
                'error',
                f'{path}: {len(twice)} ids of `{group}` are not unique, the first is {twice[0]!r}.',
                'an id of its own for each',
                'number them anew: python tools/convert_dataset.py FOLDER --out DIR does',
            )
    if use.evaluated and any(entry['id'] == 0 for entry in content['annotations']):
        yield Finding(
            'error',
            f'{path}: an annotation has id 0, which pycocotools takes for "not matched": its AP would be too low.',
            'annotation ids from 1',
            'number them anew: python tools/convert_dataset.py FOLDER --out DIR does',
        )
    for key, group in (('image_id', 'images'), ('category_id', 'categories')):
        known = {entry['id'] for entry in content[group]}
        lost = [entry for entry in content['annotations'] if entry[key] not in known]
        if lost:
            yield Finding(
                'error',
                f'{path}: {len(lost)} annotations have a `{key}` that `{group}` lacks, the first is annotation '
                f'{lost[0]["id"]!r} with {lost[0][key]!r}.',
                fix=f'add the missing {group}, or remove these annotations',
            )


def _plain(name: str) -> str:
    return name.strip().lower()


def _check_classes(content: Mapping, path: Path, use: CocoUse) -> Iterator[Finding]:
    names = [entry['name'] for entry in content['categories']]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        yield Finding('error', f'{path}: two categories are called {twice[0]!r}.', fix='rename one, or join them')
    if not use.classes:
        return
    classes = list(use.classes)
    found = [name for name in names if name in classes]
    if not found:
        yield Finding(
            'error',
            f'No class of the config is in {path}.',
            f'some of {first_few(classes)}',
            f'set `metainfo=dict(classes=...)` of the data set to the names in the file: {first_few(map(repr, names))}'
            + (
                ' (only capitals or spaces differ)'
                if {_plain(name) for name in names} & set(map(_plain, classes))
                else ''
            ),
        )
    elif found != classes[: len(found)]:
        # mmdet numbers the classes in the order of the file and names them in the order of the config
        wrong = next(place for place, name in enumerate(found) if name != classes[place])
        yield Finding(
            'error',
            f'{path}: label {wrong} is {found[wrong]!r} by the order of its categories, and {classes[wrong]!r} by the '
            'classes of the config: every name would be wrong from there on.',
            f'the classes in the order of the file: {first_few(names, 12)}',
            'set `metainfo=dict(classes=...)` in this order, or use --classes of tools/convert_dataset.py',
        )
    elif len(found) < len(classes):
        yield Finding(
            'warning',
            f'{path} has no category {first_few(classes[len(found) :])} of the config: it can never be found there.',
            fix='take it out of `metainfo.classes` and lower num_classes, or add it to the file',
        )
    left_out = {entry['id'] for entry in content['categories'] if entry['name'] not in classes}
    count = sum(entry['category_id'] in left_out for entry in content['annotations'])
    if found and count:
        others = [name for name in names if name not in classes]
        yield Finding(
            'warning',
            f'{path}: {count} of {len(content["annotations"])} objects are of classes that the config lacks '
            f'({first_few(others)}): they are left out.',
            fix='add these classes to `metainfo` and num_classes, unless that is wanted',
        )


def _check_boxes(content: Mapping, path: Path) -> Iterator[Finding]:
    sizes = {entry['id']: (entry['width'], entry['height']) for entry in content['images']}
    boxes = [(entry, *entry['bbox'], *sizes.get(entry['image_id'], (0, 0))) for entry in content['annotations']]
    boxes = [box for box in boxes if box[5] and box[6]]
    if len(boxes) >= FEW and all(max(x, y, w, h) <= 1 for _, x, y, w, h, _, _ in boxes):
        yield Finding(
            'error',
            f'{path}: no box has a number above 1: they look normalised.',
            'left, top, width and height in pixels',
            'multiply x and width by the width of the image, y and height by its height',
        )
        return
    beyond = [box for box in boxes if box[1] + box[3] > box[5] * 1.02 or box[2] + box[4] > box[6] * 1.02]
    corners = all(w > x and h > y and w <= wide * 1.02 and h <= high * 1.02 for _, x, y, w, h, wide, high in boxes)
    if len(boxes) >= FEW and corners and len(beyond) > 0.2 * len(boxes):
        yield Finding(
            'error',
            f'{path}: {len(beyond)} of {len(boxes)} boxes reach beyond their image; as corners x1, y1, x2, y2 all fit.',
            'left, top, width and height in pixels',
            'subtract left from right and top from bottom',
        )
        return
    empty = [box for box in boxes if box[3] < 1 or box[4] < 1]
    filled = [box for box in boxes if box[3] >= 1 and box[4] >= 1]
    outside = [
        box
        for box in filled
        if min(box[1] + box[3], box[5]) <= max(box[1], 0) or min(box[2] + box[4], box[6]) <= max(box[2], 0)
    ]
    flat = [box for box in filled if box[0]['area'] <= 0]
    for found, fault in (
        (empty, 'are narrower or lower than a pixel'),
        (outside, 'lie outside of their image'),
        (flat, 'are of objects whose `area` is 0'),
    ):
        if found:
            many = len(found) > 0.1 * len(boxes)
            entry = found[0][0]
            yield Finding(
                'error' if many else 'warning',
                f'{path}: {len(found)} of {len(boxes)} boxes {fault}; mmdet leaves them out. The first is annotation '
                f'{entry["id"]!r}: {entry["bbox"]}.',
                'left, top, width and height in pixels, inside of the image',
                'correct or remove them',
            )
    if beyond:
        entry = beyond[0][0]
        yield Finding(
            'warning',
            f'{path}: {len(beyond)} of {len(boxes)} boxes reach beyond their image, where they are cut off. The first '
            f'is annotation {entry["id"]!r}: {entry["bbox"]}.',
            'left, top, width and height in pixels, inside of the image',
            'correct them',
        )
    places = Counter((entry['image_id'], entry['category_id'], *entry['bbox']) for entry in content['annotations'])
    copies = [place for place, count in places.items() if count > 1]
    if copies:
        yield Finding(
            'warning',
            f'{path}: {len(copies)} objects are there more than once, with the same image, class and box; the first is '
            f'in image {copies[0][0]!r}: {list(copies[0][2:])}.',
            fix='remove the copies: each counts as an object of its own',
        )


def _check_files(content: Mapping, path: Path, folder: Path) -> Iterator[Finding]:
    listings: dict[Path, set[str]] = {}
    missing = []
    for entry in content['images']:
        file = folder / str(entry['file_name'])
        if file.parent not in listings:
            listings[file.parent] = set(os.listdir(file.parent)) if file.parent.is_dir() else set()
        if file.name not in listings[file.parent]:
            missing.append(entry['file_name'])
    if missing:
        prefixed = all((folder.parent / str(name)).is_file() for name in missing[:FEW])
        yield Finding(
            'error',
            f'{len(missing)} of {len(content["images"])} images of {path} are not in {folder}: '
            f'{first_few(missing, 1)}.',
            fix=f'the names already hold the folder: set data_prefix=dict(img={str(folder.parent)!r})'
            if prefixed
            else 'copy the images there, correct `data_prefix.img`, or take them out of the file',
        )


def _check_what_is_left(content: Mapping, path: Path, use: CocoUse) -> Iterator[Finding]:
    images = content['images']
    small = [entry for entry in images if min(entry['width'], entry['height']) < use.min_size]
    wanted = {entry['id'] for entry in content['categories'] if not use.classes or entry['name'] in use.classes}
    objects = [entry for entry in content['annotations'] if entry['category_id'] in wanted]
    filled = {entry['image_id'] for entry in objects}
    empty = [entry for entry in images if use.filter_empty and entry['id'] not in filled]
    gone = {entry['id'] for entry in (*small, *empty)}
    if len(gone) == len(images):
        because = [f'{len(small)} are smaller than {use.min_size} pixels'] if small else []
        because += [f'{len(empty)} have no object of the classes of the config'] if empty else []
        yield Finding(
            'error',
            f'0 of {len(images)} images of {path} are left to train on'
            + (f': {" and ".join(because)}.' if because else ': the file has none.'),
            fix='add images with objects, or change `filter_cfg` of the data set',
        )
    elif objects and all(entry.get('iscrowd') for entry in objects):
        yield Finding(
            'error',
            f'{path}: all {len(objects)} objects are crowds (`iscrowd` is 1), which nothing is learned from.',
            fix='set `iscrowd` to 0 for single objects',
        )
