"""Pascal VOC: one XML file per image, as LabelImg and many others write it."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from ...errors import DataError
from .records import (
    LabelledData,
    LabelledImage,
    LabelledObject,
    Pictures,
    check_told_size,
    image_size,
    read_lines,
    split_of,
)

NAME = 'voc'


def matches(folder: Path) -> bool:
    """True if a folder holds XML files of Pascal VOC."""
    first = next(iter(sorted(folder.rglob('*.xml'))), None)
    return first is not None and b'<annotation' in first.read_bytes()[:4096]


def read(folder: Path) -> LabelledData:
    """Read a folder of Pascal VOC.

    Splits are those of ``ImageSets/Main/{train,val,test}.txt``, or of the folders that the XML files lie in.

    Raises:
        DataError: If a file is not XML, or an object lacks its name or box; names file and object.
    """
    files = sorted(folder.rglob('*.xml'))
    pictures = Pictures(folder)
    listed = _image_sets(folder)
    trees = [(path, _parse(path)) for path in files]
    # LabelImg and the VOC kit count pixels from 1. A box that begins at 0 shows a tool that counts from 0.
    boxes = [_box(item, path) for path, tree in trees for item in tree.iter('object')]
    first = 0.0 if any(min(box[:2]) < 1 for box in boxes) else 1.0
    data = LabelledData(NAME, [], [])
    if first and boxes:
        data.notes.append('Coordinates count from 1, as in the VOC kit: 1 was taken away.')
    for path, tree in trees:
        picture = pictures.find(tree.findtext('filename') or path.stem, path)
        size = image_size(picture)
        check_told_size(
            path, [float(tree.findtext(f'size/{side}') or 0) for side in ('width', 'height')], picture, size
        )
        objects = []
        for item in tree.iter('object'):
            label = (item.findtext('name') or '').strip()
            if not label:
                raise DataError(f'{path}: object {len(objects) + 1} has no name.', fix='name its class in the file')
            if label not in data.classes:
                data.classes.append(label)
            x1, y1, x2, y2 = _box(item, path)
            objects.append(LabelledObject(label, (x1 - first, y1 - first, x2 - x1, y2 - y1)))
        split = listed.get(path.stem) if listed else split_of(path.relative_to(folder).parent)
        data.images.append(LabelledImage(picture, path, size, objects, split))
    data.classes.sort()
    data.notes += pictures.note_unused()
    return data


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(path.read_bytes())
    except ElementTree.ParseError as error:
        raise DataError(f'{path} cannot be read as XML: {error}', fix='write the file again') from error


def _box(item: ElementTree.Element, path: Path) -> tuple[float, float, float, float]:
    try:
        return tuple(float(item.findtext(f'bndbox/{name}')) for name in ('xmin', 'ymin', 'xmax', 'ymax'))
    except (TypeError, ValueError) as error:
        raise DataError(
            f'{path}: the object {item.findtext("name")!r} has no box of four numbers.',
            expected='<bndbox> with <xmin>, <ymin>, <xmax> and <ymax>',
            fix='correct or remove this object',
        ) from error


def _image_sets(folder: Path) -> dict[str, str]:
    """Stem of an image to its split, from the lists of the VOC layout."""
    found = {}
    for split in ('train', 'val', 'test'):
        for path in sorted(folder.rglob(f'ImageSets/Main/{split}.txt')):
            found.update((line.split()[0], split) for line in read_lines(path) if line.strip())
    return found
