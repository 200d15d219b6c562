"""Checks of a segmentation data set before it is used: its images and its label maps.

mmseg takes an empty folder for an empty data set and fails in numpy; a missing label map ends a run only when its
turn comes; labels beyond the classes are left out of the scores silently, and on a GPU they end a training with
a device-side assertion; 16-bit labels wrap around.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import mmcv
import numpy as np
from mmengine.registry import DATASETS
from PIL import Image

from ..errors import DataError

READ = 8
"""Label maps that are opened, spread over the data set."""

READ_IN_DOUBT = 64
"""Label maps that are opened where the first few show one class at most."""

IGNORED = 255


@dataclasses.dataclass(frozen=True)
class LabelMaps:
    """The images of a segmentation data set with their label maps.

    Attributes:
        folder: The folder of the images.
        pairs: Image and label map of each item.
        classes: Names of the classes; empty where they are not known, or are renumbered.
        reduce_zero_label: Whether 0 stands for no class, and 1 for the first one.
    """

    folder: Path
    pairs: Sequence[tuple[Path, Path]]
    classes: Sequence[str]
    reduce_zero_label: bool

    @property
    def known(self) -> int:
        """Number of classes; any label of 8 bits may be right if they are not known."""
        return min(len(self.classes) or IGNORED, IGNORED)

    def spread(self, number: int) -> list[tuple[Path, Path]]:
        """At most ``number`` pairs, spread over the data set."""
        return [self.pairs[i] for i in np.unique(np.linspace(0, len(self.pairs) - 1, number).round().astype(int))]


def _loads_labels(pipeline: object) -> bool:
    """True if a pipeline loads label maps, also within ``TestTimeAug`` and its like."""
    if isinstance(pipeline, Mapping):
        return str(pipeline.get('type', '')).endswith('LoadAnnotations') or _loads_labels(list(pipeline.values()))
    return isinstance(pipeline, (list, tuple)) and any(map(_loads_labels, pipeline))


def check_label_map(image: Path, path: Path, classes: int, reduce_zero_label: bool) -> np.ndarray:
    """Make sure that one label map belongs to its image and to the classes.

    Args:
        image: The image.
        path: The label map.
        classes: Number of classes.
        reduce_zero_label: Whether 0 stands for no class, and 1 for the first one.

    Returns:
        ``(256,)`` int64: the number of pixels of each class; the last one counts those that are ignored.

    Raises:
        DataError: If it cannot be read, has several channels, another size than the image, or labels without a class.
    """
    try:
        with Image.open(path) as opened:
            labels = np.array(opened)
    except (OSError, SyntaxError) as error:  # Pillow's for a broken PNG
        raise DataError(
            f'The label map {path} cannot be read: {error}',
            expected='a complete PNG, or another format that Pillow reads',
            fix='replace the file',
        ) from error
    if labels.ndim != 2:
        raise DataError(
            f'The label map {path} has {labels.shape[2]} channels.',
            expected='one channel, whose values are classes (grey, or with a palette)',
            fix='python tools/convert_dataset.py FOLDER --out DIR --map 128,64,128=road ... converts colours',
        )
    pixels = mmcv.imread(str(image)) if image.is_file() else None
    if pixels is not None and pixels.shape[:2] != labels.shape:  # loading an image that is missing reports it by name
        height, width = pixels.shape[:2]
        raise DataError(
            f'The label map {path} is {labels.shape[0]}x{labels.shape[1]}, its image {height}x{width}.',
            expected='the same height and width',
            fix='resize it with nearest neighbours, or take both out',
        )
    labels = labels.astype(np.int64)
    offset = int(reduce_zero_label)
    highest = labels.max(where=labels != IGNORED, initial=0)
    if highest - offset >= classes or labels.min() < 0:
        value = highest if labels.min() >= 0 else labels.min()
        lossy = ' (JPEG changes values: save label maps as PNG)' if path.suffix.lower() in ('.jpg', '.jpeg') else ''
        raise DataError(
            f'The label map {path} has the value {value}, but the data set has {classes} classes.',
            expected=f'values from {offset} to {classes - 1 + offset}'
            + (', 0 for ignored pixels' if offset else '')
            + f', and {IGNORED} for ignored pixels{lossy}',
            fix='set `metainfo=dict(classes=..., palette=...)` of the data set, num_classes of the heads, and '
            '`reduce_zero_label`, as the label maps have them',
        )
    counts = np.bincount(labels.ravel(), minlength=IGNORED + 1)
    return np.concatenate([counts[1:IGNORED], [0], [counts[0] + counts[IGNORED]]]) if offset else counts


def check_variety(counts: np.ndarray, maps: LabelMaps, read: int) -> None:
    """Make sure that label maps have more than one class, and pixels that count.

    Masks of 0 and 255 are the usual case: 255 is not the second class but "ignored", and nothing is learned.

    Args:
        counts: As :func:`check_label_map` returns it, summed over the maps that were read.
        maps: The data set.
        read: Number of label maps that they are of.

    Raises:
        DataError: If all pixels are ignored, or if one class has all pixels that are not.
    """
    present, ignored = np.flatnonzero(counts[:IGNORED]), counts[IGNORED] / max(counts.sum(), 1)
    if len(present) > 1 or not ignored or (len(present) and len(maps.classes) < 2):
        return
    names = [maps.classes[number] if maps.classes else str(number) for number in present]
    raise DataError(
        f'{ignored:.0%} of the pixels of {read} label maps, such as {maps.pairs[0][1]}, are ignored (255'
        + (' and 0' if maps.reduce_zero_label else '')
        + '), '
        + (f'and all others are {names[0]!r}' if names else 'and there are no others')
        + ': there is nothing to learn.',
        expected='the numbers of the classes as values, not 0 and 255 (black and white)',
        fix='python tools/convert_dataset.py FOLDER --out DIR --map 0=background 255=CLASS'
        + ('; or reduce_zero_label=False if 0 is a class' if maps.reduce_zero_label else ''),
    )


def find_label_maps(config: Mapping, scope: str | None) -> LabelMaps | None:
    """The images of a segmentation data set with their label maps.

    Args:
        config: The data set, whose folders exist.
        scope: The ``default_scope`` of the whole config.

    Returns:
        The pairs; ``None`` where its pipeline loads no label maps, or it cannot be built: building it later gives the
        reason.

    Raises:
        DataError: If there are no images, or label maps are missing.
    """
    settings = {**config, 'pipeline': [], 'lazy_init': True, '_scope_': config.get('_scope_', scope)}
    try:
        dataset = DATASETS.build(settings)
        items = dataset.load_data_list()
    except Exception:
        return None
    folder = dataset.data_prefix.get('img_path')
    if not items:
        raise DataError(
            f'There is no image in {folder} (`data_prefix.img_path` of {config["type"]}).',
            expected=f'files that end in {dataset.img_suffix}',
            fix='copy the images there, or set `img_suffix` of the data set',
        )
    if not _loads_labels(config.get('pipeline')):
        return None
    missing = [item for item in items if not Path(item['seg_map_path']).is_file()]
    if missing:
        raise DataError(
            f'{len(missing)} of {len(items)} images in {folder} have no label map; the first that is missing is '
            f'{missing[0]["seg_map_path"]}.',
            expected=f'for every image a label map of the same name that ends in {dataset.seg_map_suffix}',
            fix='copy the label maps there, take the images out, or set `seg_map_suffix` of the data set',
        )
    pairs = [(Path(item['img_path']), Path(item['seg_map_path'])) for item in items]
    classes = (dataset.metainfo.get('classes') or ()) if dataset.label_map is None else ()
    return LabelMaps(Path(folder), pairs, classes, dataset.reduce_zero_label)


def check_segmentation_dataset(config: Mapping, scope: str | None) -> None:
    """Make sure that a segmentation data set has images, and that they have label maps that fit.

    Args:
        config: The data set, whose folders exist. One that cannot be built passes: building it later gives the reason.
        scope: The ``default_scope`` of the whole config.

    Raises:
        DataError: If there are no images, label maps are missing, or one of a few that are read does not fit.
    """
    maps = find_label_maps(config, scope)
    if maps is None:
        return
    for number in (READ, READ_IN_DOUBT):
        read = maps.spread(number)
        counts = sum(check_label_map(*pair, maps.known, maps.reduce_zero_label) for pair in read)
        if np.count_nonzero(counts[:IGNORED]) > 1:
            return
    check_variety(counts, maps, len(read))
