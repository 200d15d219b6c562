"""Find every fault of a config's data that shows without training on it."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image
from tqdm import tqdm

from ..config import pipeline_of
from ..errors import DataError
from .anchors import RARE, WELL_MATCHED, anchors_of, boxes_at_the_input
from .coco_checks import check_fields
from .findings import SEVERITIES, Finding, first_few
from .label_maps import IGNORED, LabelMaps, check_label_map, check_variety, find_label_maps
from .preflight import (
    annotation_file,
    classes_of,
    coco_use,
    datasets_of_split,
    find_faults,
    has_label_maps,
    is_coco,
    read_coco_file,
)

ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)
"""The EXIF tag of the orientation, and its values for images that viewers and OpenCV turn by a right angle."""

SPLITS = ('train', 'val', 'test')


@dataclasses.dataclass
class Diagnosis:
    """The faults of a data set, and counts and sizes of its objects.

    Attributes:
        findings: The faults, errors first.
        counts: Split to class to number of objects, or of label maps that have the class.
        sizes: Percentile (5, 50, 95) to the size of the training objects at the network's input: the square root of the
            area, pixels.
    """

    findings: list[Finding]
    counts: dict[str, dict[str, int]]
    sizes: dict[int, float]

    @property
    def healthy(self) -> bool:
        """True if no error was found."""
        return all(finding.severity != 'error' for finding in self.findings)

    def to_dict(self) -> dict:
        """As plain data."""
        return dict(
            healthy=self.healthy,
            findings=[finding.to_dict() for finding in self.findings],
            counts=self.counts,
            sizes={str(key): value for key, value in self.sizes.items()},
        )


def examine(config: Config, progress: bool = True) -> Diagnosis:
    """Examine the data of all splits of a config: the files as training reads them, and the images themselves.

    Args:
        config: A whole config.
        progress: Show a bar while images are read.
    """
    try:
        findings = find_faults(config, SPLITS, label_maps=False)
    except DataError as error:  # nothing more can be read
        return Diagnosis([_finding_of(error)], {}, {})
    images: dict[str, list[Path]] = {}
    counts: dict[str, dict[str, int]] = {}
    boxes: dict[str, list[np.ndarray]] = {}
    for split in SPLITS:
        for dataset in datasets_of_split(config, split):
            path = annotation_file(dataset)
            if has_label_maps(dataset):
                try:
                    maps = find_label_maps(dataset, config.get('default_scope'))
                except DataError as error:
                    findings.append(_finding_of(error))
                    continue
                if maps is not None:
                    images.setdefault(split, []).extend(image for image, _ in maps.pairs)
                    found, faults = _examine_label_maps(maps, progress)
                    counts[split] = {name: counts.get(split, {}).get(name, 0) + n for name, n in found.items()}
                    findings += faults
            if path is None or not is_coco(dataset):
                continue
            content, use = read_coco_file(path, unlabelled=split == 'test'), coco_use(config, split, dataset)
            if any(finding.severity == 'error' for finding in check_fields(content, path, use)):
                continue  # they were told, and everything below reads them
            files = {entry['id']: use.images / str(entry['file_name']) for entry in content['images']}
            images.setdefault(split, []).extend(files.values())
            findings += _check_image_sizes(content, files, path, progress)
            names = {entry['id']: entry['name'] for entry in content['categories']}
            counted = Counter(names.get(entry['category_id']) for entry in content['annotations'])
            classes = classes_of(dataset, config.get('default_scope'))
            counts[split] = {name: counts.get(split, {}).get(name, 0) + counted[name] for name in classes}
            if split == 'train':
                pipeline = pipeline_of(config) if config.get('test_dataloader') else ()
                for name, found in boxes_at_the_input(content, pipeline).items():
                    boxes.setdefault(name, []).append(found)
    findings += _check_balance(counts)
    findings += _check_copies(images, progress)
    joined = {name: np.concatenate(found) for name, found in boxes.items()}
    findings += _check_anchors(config, joined)
    sizes = np.sqrt(np.concatenate([*joined.values(), np.empty((0, 2))]).prod(1))
    shown = {share: round(float(np.percentile(sizes, share)), 1) for share in (5, 50, 95)} if len(sizes) else {}
    findings = sorted(dict.fromkeys(findings), key=lambda finding: SEVERITIES.index(finding.severity))
    return Diagnosis(findings, counts, shown)


def _finding_of(error: DataError, others: int = 0) -> Finding:
    message, *rest = str(error).split('\n')
    told = dict(line.split(': ', 1) for line in rest if ': ' in line)
    more = f' ({others} more have a fault)' if others else ''
    return Finding('error', message + more, told.get('Expected', ''), told.get('Fix', ''))


def _is_whole(path: Path) -> bool:
    """Whether an image can be read to its end; OpenCV fills the rest of a JPEG with grey and says nothing."""
    try:
        with Image.open(path) as image:
            image.draft('RGB', (image.width // 8, image.height // 8))  # a JPEG need not be decoded at full size
            image.load()
    except (OSError, SyntaxError):  # Pillow's for a broken PNG
        return False
    return True


def _examine_label_maps(maps: LabelMaps, progress: bool) -> tuple[dict[str, int], list[Finding]]:
    """The number of label maps in which each class occurs, and the faults of label maps and their images."""
    occurs, total, faults = np.zeros(IGNORED, np.int64), np.zeros(IGNORED + 1, np.int64), []
    broken = []
    for image, path in tqdm(maps.pairs, f'label maps of {maps.folder.name}', disable=None if progress else True):
        if not _is_whole(image):
            broken.append(image)
            continue
        try:
            counts = check_label_map(image, path, maps.known, maps.reduce_zero_label)
        except DataError as error:
            faults.append(error)
        else:
            total += counts
            occurs += counts[:IGNORED] > 0
    if not faults:
        try:
            check_variety(total, maps, len(maps.pairs))
        except DataError as error:
            faults.append(error)
    findings = [_finding_of(faults[0], len(faults) - 1)] if faults else []
    return {name: int(occurs[number]) for number, name in enumerate(maps.classes)}, findings + _unreadable(broken)


def _unreadable(images: Sequence[Path]) -> list[Finding]:
    if not images:
        return []
    message = f'{len(images)} images cannot be read, or end too early, the first is {images[0]}.'
    return [Finding('error', message, fix='replace or remove them')]


def _check_image_sizes(content: Mapping, files: Mapping, path: Path, progress: bool) -> Iterator[Finding]:
    wrong, unreadable = [], []
    for entry in tqdm(content['images'], f'images of {path.name}', disable=None if progress else True):
        try:
            with Image.open(files[entry['id']]) as image:
                turned = image.getexif().get(ORIENTATION, 1) in TURNED
                size = image.size[::-1] if turned else image.size
                if size != (entry.get('width'), entry.get('height')):
                    wrong.append((entry, size, turned))
        except OSError:
            unreadable.append(files[entry['id']])
            continue
        except TypeError:
            continue  # sides that are missing were told
        if not _is_whole(files[entry['id']]):
            unreadable.append(files[entry['id']])
    yield from _unreadable(unreadable)
    if wrong:
        entry, size, turned = wrong[0]
        exif = ', turned as its EXIF orientation says' if turned else ''
        yield Finding(
            'error',
            f'{path}: {len(wrong)} images have another size than the file says, the first is {entry["file_name"]}: '
            f'{size[0]} x {size[1]}{exif}, not {entry["width"]} x {entry["height"]}.',
            'boxes in pixels of these images, as viewers and OpenCV show them',
            'use the images that were annotated'
            + ('; or write them without EXIF if they were annotated unturned: mogrify -strip FILES' if turned else ''),
        )


def _check_balance(counts: Mapping[str, Mapping[str, int]]) -> Iterator[Finding]:
    for split, found in counts.items():
        absent = [name for name, count in found.items() if not count]
        if absent and len(absent) < len(found):
            yield Finding(
                'warning' if split == 'train' else 'note',
                f'The split {split} has nothing of {len(absent)} classes: {first_few(absent)}.',
                fix='add images, or take these classes out of the config',
            )
        rare = [f'{name} ({count})' for name, count in found.items() if 0 < count < RARE]
        if split == 'train' and rare:
            yield Finding('note', f'Seldom in the training data: {first_few(rare)}.', fix='add images of them')


def _check_copies(images: Mapping[str, Sequence[Path]], progress: bool) -> Iterator[Finding]:
    """Images that are in a split twice, or in two splits."""
    seen: dict[str, dict[str, list[Path]]] = {}
    for split, paths in images.items():
        for path in tqdm(paths, f'copies in {split}', disable=None if progress else True):
            try:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError:
                continue
            seen.setdefault(digest, {}).setdefault(split, []).append(path)
    for split in images:
        twice = [found[split] for found in seen.values() if len(found.get(split, ())) > 1]
        if twice:
            yield Finding(
                'warning',
                f'{len(twice)} images are in {split} more than once, the first as {twice[0][0]} and {twice[0][1]}.',
                fix='remove the copies',
            )
    for split in ('val', 'test'):
        shared = [found for found in seen.values() if 'train' in found and split in found]
        if shared:
            yield Finding(
                'error',
                f'{len(shared)} images of {split} are training images as well, the first is {shared[0][split][0]} '
                f'({shared[0]["train"][0]} in train): its figures would be too good.',
                'no image in both',
                'remove them from one of the two',
            )


def _check_anchors(config: Config, boxes: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """Objects that no anchor resembles are hardly learned."""
    for anchors in anchors_of(config.get('model')) if boxes else ():
        name, share = anchors.worst(boxes)
        if share >= WELL_MATCHED:
            continue
        fitting = anchors.fitting_scale(boxes)
        size = float(np.sqrt(np.median(boxes[name].prod(1))))
        message = (
            f'{1 - share:.0%} of the training objects of {name} (median size {size:.0f} pixels at the input) resemble '
            f'no anchor of {anchors.place} (the smallest has {anchors.smallest:g} pixels): they will hardly be found.'
        )
        if fitting != anchors.scale:
            value, left = str(anchors.value(fitting)).replace(' ', ''), 1 - anchors.worst(boxes, fitting)[1]
            fix = f'--cfg-options {anchors.place}.{anchors.key}={value}, which leaves {left:.0%}'
        elif size < anchors.smallest / 2:
            fix = 'larger images in the pipelines of train and test'
        else:
            continue  # by their proportions, as thin objects of COCO
        yield Finding('warning', message, fix=fix)
