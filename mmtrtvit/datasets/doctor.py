"""Find every fault of a config's data that shows without training on it."""

import dataclasses
import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image
from tqdm import tqdm

from ..errors import DataError
from .findings import SEVERITIES, Finding, first_few
from .preflight import annotation_file, classes_of, coco_use, datasets_of_split, find_faults, is_coco, read_coco_file

SPLITS = ('train', 'val', 'test')

RARE = 10
"""Objects of a class below which it can hardly be learned."""

SMALL_SHARE = 0.05
"""Share of the objects that may be smaller than half of the smallest anchor without a warning."""


@dataclasses.dataclass
class Diagnosis:
    """The faults of a data set, and counts and sizes of its objects.

    Attributes:
        findings: The faults, errors first.
        counts: Split to class to number of objects; of detection data only.
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
        findings = find_faults(config, SPLITS)
    except DataError as error:  # nothing more can be read
        message, *rest = str(error).split('\n')
        told = dict(line.split(': ', 1) for line in rest if ': ' in line)
        fault = Finding('error', message, told.get('Expected', ''), told.get('Fix', ''))
        return Diagnosis([fault], {}, {})
    images: dict[str, list[Path]] = {}
    counts: dict[str, dict[str, int]] = {}
    sizes: list[float] = []
    for split in SPLITS:
        for dataset in datasets_of_split(config, split):
            path = annotation_file(dataset)
            if path is None or not is_coco(dataset):
                continue
            content, use = read_coco_file(path, unlabelled=split == 'test'), coco_use(config, split, dataset)
            files = {entry['id']: use.images / str(entry['file_name']) for entry in content['images']}
            images.setdefault(split, []).extend(files.values())
            findings += _check_image_sizes(content, files, path, progress)
            names = {entry['id']: entry['name'] for entry in content['categories']}
            counted = Counter(names.get(entry['category_id']) for entry in content['annotations'])
            classes = classes_of(dataset, config.get('default_scope'))
            counts[split] = {name: counts.get(split, {}).get(name, 0) + counted[name] for name in classes}
            if split == 'train':
                sizes += _sizes_at_the_input(content, config)
    findings += _check_balance(counts)
    findings += _check_copies(images, progress)
    findings += _check_anchors(config, sizes)
    shown = {share: round(float(np.percentile(sizes, share)), 1) for share in (5, 50, 95)} if sizes else {}
    findings = sorted(dict.fromkeys(findings), key=lambda finding: SEVERITIES.index(finding.severity))
    return Diagnosis(findings, counts, shown)


def _check_image_sizes(content: Mapping, files: Mapping, path: Path, progress: bool) -> Iterator[Finding]:
    wrong, unreadable = [], []
    for entry in tqdm(content['images'], f'images of {path.name}', disable=None if progress else True):
        try:
            with Image.open(files[entry['id']]) as image:
                sides = sorted(image.size)  # EXIF may turn it
                if sides != sorted((entry.get('width'), entry.get('height'))):
                    wrong.append((entry, image.size))
        except OSError:
            unreadable.append(files[entry['id']])
        except TypeError:
            continue  # sides that are missing were told
    if unreadable:
        yield Finding(
            'error',
            f'{len(unreadable)} images cannot be read, the first is {unreadable[0]}.',
            fix='replace or remove them',
        )
    if wrong:
        entry, size = wrong[0]
        yield Finding(
            'error',
            f'{path}: {len(wrong)} images have another size than the file says, the first is {entry["file_name"]}: '
            f'{size[0]} x {size[1]}, not {entry["width"]} x {entry["height"]}.',
            'boxes in pixels of these images',
            'use the images that were annotated',
        )


def _check_balance(counts: Mapping[str, Mapping[str, int]]) -> Iterator[Finding]:
    for split, found in counts.items():
        absent = [name for name, count in found.items() if not count]
        if absent and len(absent) < len(found):
            yield Finding(
                'warning' if split == 'train' else 'note',
                f'The split {split} has no object of {len(absent)} classes: {first_few(absent)}.',
                fix='add images, or take these classes out of the config',
            )
        rare = [f'{name} ({count})' for name, count in found.items() if 0 < count < RARE]
        if split == 'train' and rare:
            yield Finding('note', f'Fewer than {RARE} training objects: {first_few(rare)}.', fix='add images of them')


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


def _resized(config: Config, width: int, height: int) -> float:
    """The factor by which the test pipeline resizes an image."""
    for transform in config.get('test_pipeline') or ():
        if str(transform['type']).endswith('Resize') and transform.get('scale'):
            long, short = max(transform['scale']), min(transform['scale'])
            if not transform.get('keep_ratio'):
                return math.sqrt(transform['scale'][0] * transform['scale'][1] / (width * height))
            return min(long / max(width, height), short / min(width, height))
    return 1.0


def _sizes_at_the_input(content: Mapping, config: Config) -> list[float]:
    factors = {entry['id']: _resized(config, entry['width'], entry['height']) for entry in content['images']}
    return [
        math.sqrt(box[2] * box[3]) * factors[entry['image_id']]
        for entry in content['annotations']
        if (box := entry['bbox'])[2] > 0 and box[3] > 0 and not entry.get('iscrowd') and entry['image_id'] in factors
    ]


def _anchor_generators(model: object, place: str = 'model') -> Iterator[tuple[str, Mapping]]:
    if isinstance(model, Mapping):
        for key, value in model.items():
            if key == 'anchor_generator' and isinstance(value, Mapping):
                yield f'{place}.{key}', value
            else:
                yield from _anchor_generators(value, f'{place}.{key}')


def _check_anchors(config: Config, sizes: Sequence[float]) -> Iterator[Finding]:
    """Objects that are much smaller or larger than every anchor are never learned."""
    for place, generator in _anchor_generators(config.get('model')):
        strides = [stride if isinstance(stride, int) else min(stride) for stride in generator.get('strides') or ()]
        scales = generator.get('scales') or [generator.get('octave_base_scale')]
        if not sizes or not strides or None in scales:
            continue
        smallest = min(strides) * min(scales)
        small = sum(size < smallest / 2 for size in sizes) / len(sizes)
        if small > SMALL_SHARE:
            fitting = max(1, 2 ** math.floor(math.log2(max(np.percentile(sizes, 5) / min(strides), 1))))
            key = 'scales' if generator.get('scales') else 'octave_base_scale'
            value = f'"[{fitting}]"' if key == 'scales' else fitting
            yield Finding(
                'warning',
                f'{small:.0%} of the training objects are smaller than {smallest / 2:g} pixels at the input, half of '
                f'the smallest anchor of {place} ({smallest:g}): they will hardly be found.',
                fix=f'--cfg-options {place}.{key}={value}, or larger images in train_pipeline and test_pipeline',
            )
