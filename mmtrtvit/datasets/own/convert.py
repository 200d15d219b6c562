"""Own data into the genuine COCO layout (objects) or ADE20K layout (label maps)."""

import dataclasses
import json
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as run_lengths
from tqdm import tqdm

from ...atomic import atomic_dir
from ...errors import ConfigError, DataError
from ...unique_names import UniqueNames
from . import coco, labelme, voc, yolo
from .label_maps import IGNORED, find_pairs, map_values, parse_mapping, read_values, text_of
from .records import SPLITS, LabelledData, LabelledImage, LabelledObject, objects_inside

READERS = {reader.NAME: reader for reader in (coco, labelme, voc, yolo)}
"""Formats of objects, in the order in which they are looked for."""

LABEL_MAPS = 'label-maps'
FORMATS = (*READERS, LABEL_MAPS)

CLASSES_FILE = 'classes.txt'
"""Names of the classes of label maps, one per line: PNG files hold numbers only."""

SEG_SPLITS = {'train': 'training', 'val': 'validation', 'test': 'testing'}
"""Split to its folder in ADE20K's layout."""

_SHOWN_NOTES = 5


@dataclasses.dataclass
class Converted:
    """A data set that was written.

    Attributes:
        folder: Its folder.
        format: The format that it was read from.
        classes: Names of the classes, in the order of their numbers.
        counts: Split to class to objects (or images that show the class, for label maps).
        images: Split to number of images.
        notes: Everything that was left out or changed.
    """

    folder: Path
    format: str
    classes: list[str]
    counts: dict[str, Counter]
    images: dict[str, int]
    notes: list[str]

    def report(self) -> str:
        """The counts by class and split, and the notes, as text."""
        width = max(map(len, ('images', *self.classes)))
        splits = list(self.images)
        lines = [f'{self.format} -> {self.folder}', ' ' * width + ''.join(f'{split:>10}' for split in splits)]
        lines.append(f'{"images":<{width}}' + ''.join(f'{self.images[split]:>10}' for split in splits))
        for name in self.classes:
            lines.append(f'{name:<{width}}' + ''.join(f'{self.counts[split][name]:>10}' for split in splits))
        for split in splits:
            absent = [name for name in self.classes if not self.counts[split][name]]
            if absent:
                lines.append(f'Note: the split {split} shows no {", ".join(absent)}.')
        lines += [f'Note: {note}' for note in self.notes[:_SHOWN_NOTES]]
        if len(self.notes) > _SHOWN_NOTES:
            lines.append(f'Note: {len(self.notes) - _SHOWN_NOTES} more, in {self.folder / "conversion.json"}')
        return '\n'.join(lines)


def convert_dataset(
    source: str | os.PathLike,
    out: str | os.PathLike,
    *,
    format: str | None = None,
    val_share: float = 0.2,
    seed: int = 0,
    copy: bool = False,
    mapping: Sequence[str] = (),
    classes: Sequence[str] = (),
) -> Converted:
    """Convert annotations to a layout that the configs here read.

    Args:
        source: Folder with images and annotations: Pascal VOC, YOLO, LabelMe, COCO, or label maps.
        out: Folder to make: COCO's layout for objects, ADE20K's for label maps.
        format: One of :data:`FORMATS`; by default the files tell.
        val_share: Share of the images that become the split ``val`` where the source has none.
        seed: Decides which images these are.
        copy: Copy the images; by default they are linked.
        mapping: For label maps: ``VALUE=CLASS``, ``R,G,B=CLASS`` or ``rest=CLASS``; the class ``ignore`` leaves pixels
            out.
        classes: The classes in the order of their numbers; for label maps without ``mapping``, the name of
            each value from 0.

    Returns:
        The data set that was written.

    Raises:
        ConfigError: If an option cannot be used.
        DataError: If the data cannot be read; names file and item. Nothing is left behind.
    """
    source, out = Path(source), Path(out)
    if not source.is_dir():
        raise DataError(f'There is no folder {source}.', fix='give the folder that holds images and annotations')
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            f'The output folder {out} exists and is not empty.',
            expected='a new folder',
            fix='choose another --out, or remove it',
        )
    if not 0 < val_share < 1:
        raise ConfigError(f'--val-share {val_share}', expected='a share between 0 and 1', fix='correct it')
    # only label maps have values to give names to
    name = format or (LABEL_MAPS if mapping else _format_of(source))
    split = _Splitter(val_share, seed)
    if name == LABEL_MAPS:
        return _convert_label_maps(source, out, split, copy, mapping, classes)
    if mapping:
        raise ConfigError(f'--map beside the format {name}.', expected='label maps', fix='leave it out')
    data = READERS[name].read(source)
    if not data.images or not any(image.objects for image in data.images):
        raise DataError(
            f'{source} has {len(data.images)} images and no object in {name} format.',
            expected='images and annotations that belong to them',
            fix='give the folder that holds both, or another --format',
        )
    data.classes = _ordered(data.classes, classes)
    return _write_coco(data, out, split, copy)


def _format_of(source: Path) -> str:
    found = [name for name, reader in READERS.items() if reader.matches(source)]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(
            f'{source} holds annotations of {" and ".join(found)}.',
            expected='one format',
            fix=f'say which: --format {found[0]}',
        )
    try:
        find_pairs(source)
    except DataError as error:
        raise DataError(
            f'The format of {source} cannot be told.',
            expected='XML files (Pascal VOC), text files with data.yaml or classes.txt (YOLO), JSON (COCO, LabelMe), '
            'or images/ and masks/ (label maps)',
            fix='give the folder that holds images and annotations, or --format to see what is wrong',
        ) from error
    return LABEL_MAPS


def _ordered(found: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The classes in the order that is wanted."""
    if not wanted:
        return list(found)
    if set(wanted) != set(found) or len(set(wanted)) != len(wanted):
        raise ConfigError(
            f'--classes {" ".join(wanted)}',
            expected=f'each of these once: {" ".join(found)}',
            fix='correct it; only the order is free',
        )
    return list(wanted)


class _Splitter:
    """Give each image its split: that of the source, or a seeded share."""

    def __init__(self, val_share: float, seed: int) -> None:
        self.val_share, self.seed = val_share, seed

    def __call__(self, given: Sequence[str | None], notes: list[str]) -> list[str]:
        if {'train', 'val'} <= set(given) and None not in given:
            return list(given)
        if any(given):
            counts = Counter(split or 'none' for split in given)
            if None in given:
                raise DataError(
                    'Only some images have a split: ' + ', '.join(f'{count} {name}' for name, count in counts.items()),
                    expected='a split for every image, or for none',
                    fix='complete the lists or folders of train and val, or remove them to split by --val-share',
                )
            if 'train' not in given:
                raise DataError(
                    f'The source has no training images, only {", ".join(counts)}.',
                    expected='a split train',
                    fix='rename the folder or list of the images to train on',
                )
        order = [place for place, split in enumerate(given) if split in (None, 'train')]
        random.Random(self.seed).shuffle(order)
        count = min(max(round(len(order) * self.val_share), 1), len(order) - 1)
        if count < 1:
            raise DataError(
                f'{len(order)} images cannot be split into train and val.', expected='2 or more', fix='add images'
            )
        drawn = set(order[:count])
        notes.append(f'{count} of {len(order)} images were drawn for val (seed {self.seed}).')
        return ['val' if place in drawn else split or 'train' for place, split in enumerate(given)]


def _file_names(paths: Sequence[Path]) -> list[str]:
    """A name for each image within its split. No two share a stem, as label maps are named after their images."""
    unique = UniqueNames()
    return [f'{unique(path.stem)}{path.suffix}' for path in paths]


def _place(path: Path, target: Path, copy: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if copy:
        shutil.copyfile(path, target)
    else:
        target.symlink_to(path.resolve())


def _write_coco(data: LabelledData, out: Path, split: Callable, copy: bool) -> Converted:
    notes = list(data.notes)
    splits = split([image.split for image in data.images], notes)
    number = {name: place for place, name in enumerate(data.classes, 1)}
    counts: dict[str, Counter] = {name: Counter() for name in SPLITS if name in splits}
    with atomic_dir(out) as folder:
        for name in counts:
            images = [image for image, of in zip(data.images, splits, strict=True) if of == name]
            content = dict(
                info=dict(description=f'converted from {data.format} by mmtrtvit'),
                licenses=[],
                categories=[dict(id=place, name=label, supercategory='') for label, place in number.items()],
                images=[],
                annotations=[],
            )
            files = _file_names([image.path for image in images])
            for place, (image, file) in enumerate(zip(tqdm(images, name, disable=None), files, strict=True), 1):
                _place(image.path, folder / f'{name}2017' / file, copy)
                width, height = image.size
                content['images'].append(dict(id=place, file_name=file, width=width, height=height))
                for item, note in objects_inside(image):
                    notes += [note] if note else []
                    if item is not None:
                        counts[name][item.label] += 1
                        entry = _annotation(item, image)
                        entry.update(id=len(content['annotations']) + 1, image_id=place, category_id=number[item.label])
                        content['annotations'].append(entry)
            path = folder / 'annotations' / f'instances_{name}2017.json'
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content) + '\n')
        images = {name: splits.count(name) for name in counts}
        done = Converted(out, data.format, data.classes, counts, images, notes)
        _write_record(done, folder)
    return done


def _annotation(item: LabelledObject, image: LabelledImage) -> dict:
    width, height = image.size
    left, top, wide, high = item.box
    segmentation: list | dict = [list(map(float, polygon)) for polygon in item.polygons]
    area = wide * high
    if item.rle is not None:
        segmentation = item.rle
        if list(item.rle.get('size', ())) != [height, width]:
            raise DataError(
                f'{image.source}: a mask of {item.label} has size {item.rle.get("size")}, the image {[height, width]}.',
                expected='[height, width] of the image',
                fix='export the annotations again',
            )
    if segmentation:
        try:
            encoded = item.rle
            if encoded is None or isinstance(encoded.get('counts'), list):
                encoded = run_lengths.merge(
                    np.atleast_1d(run_lengths.frPyObjects(segmentation, height, width)).tolist()
                )
            area = float(run_lengths.area(encoded))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f'{image.source}: a mask of {item.label} cannot be read: {error!r}', fix='export the annotations again'
            ) from error
    return dict(
        bbox=[round(value, 3) for value in item.box],
        area=item.area or area,
        iscrowd=int(item.crowd),
        segmentation=segmentation,
    )


def _convert_label_maps(
    source: Path, out: Path, split: Callable, copy: bool, words: Sequence[str], classes: Sequence[str]
) -> Converted:
    pairs = find_pairs(source)
    notes: list[str] = []
    mapping = parse_mapping(list(words)) or _values_in_order(pairs, classes)
    names = [name for name in dict.fromkeys(mapping.values()) if name != 'ignore']
    names = _ordered(names, classes) if words else names
    splits = split([pair.split for pair in pairs], notes)
    counts: dict[str, Counter] = {name: Counter() for name in SPLITS if name in splits}
    with atomic_dir(out) as folder:
        for name in counts:
            chosen = [pair for pair, of in zip(pairs, splits, strict=True) if of == name]
            files = _file_names([pair.image for pair in chosen])
            for pair, file in zip(tqdm(chosen, name, disable=None), files, strict=True):
                labels = map_values(read_values(pair), mapping, names, pair.labels)
                counts[name].update(names[label] for label in np.unique(labels) if label != IGNORED)
                _place(pair.image, folder / 'images' / SEG_SPLITS[name] / file, copy)
                target = folder / 'annotations' / SEG_SPLITS[name] / f'{Path(file).stem}.png'
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(labels).save(target)
        (folder / CLASSES_FILE).write_text('\n'.join(names) + '\n')
        images = {name: splits.count(name) for name in counts}
        done = Converted(out, LABEL_MAPS, names, counts, images, notes)
        _write_record(done, folder)
    return done


def _values_in_order(pairs: Sequence, classes: Sequence[str]) -> dict:
    """Value to class name, the values of all label maps being 0 to n - 1."""
    found: set = set()
    for pair in pairs:
        values = read_values(pair)
        found |= (
            set(map(tuple, np.unique(values.reshape(-1, 3), axis=0).tolist()))
            if values.ndim == 3
            else set(np.unique(values).tolist())
        )
    listed = ', '.join(text_of(value) for value in sorted(found, key=str)[:10])
    # 0 and 255 alone are a mask, not one class and pixels to ignore: nothing would be learned from it
    is_mask = IGNORED in found and len(found) <= 2
    in_order = all(isinstance(value, int) for value in found) and max(found - {IGNORED}, default=0) < len(classes)
    in_order = in_order and not is_mask
    if not classes or not in_order:
        raise ConfigError(
            f'The label maps have the values {listed}{" ..." if len(found) > 10 else ""}, and '
            + (f'--classes names {len(classes)} classes.' if classes else 'nothing names their classes.'),
            expected='--classes FIRST SECOND ... for the values 0, 1, ..., or --map VALUE=CLASS for each value',
            fix='for masks of 0 and 255, for instance: --map 0=background 255=cell',
        )
    mapping = dict(enumerate(classes))
    return mapping | {IGNORED: 'ignore'} if len(classes) <= IGNORED else mapping


def _write_record(done: Converted, folder: Path) -> None:
    record = dict(
        format=done.format,
        classes=done.classes,
        images=done.images,
        counts={split: dict(counter) for split, counter in done.counts.items()},
        notes=done.notes,
    )
    (folder / 'conversion.json').write_text(json.dumps(record, indent=2) + '\n')
