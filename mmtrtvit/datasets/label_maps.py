"""Checks of a segmentation data set before it is used: its images and its label maps.

mmseg takes an empty folder for an empty data set and fails in numpy; a missing label map ends a run only when its
turn comes; labels beyond the classes are left out of the scores silently, and on a GPU they end a training with
a device-side assertion; 16-bit labels wrap around.
"""

from collections.abc import Mapping
from pathlib import Path

import mmcv
import numpy as np
from mmengine.registry import DATASETS
from PIL import Image

from ..errors import DataError

READ = 8
"""Label maps that are opened, spread over the data set."""

IGNORED = 255


def _loads_labels(pipeline: object) -> bool:
    """True if a pipeline loads label maps, also within ``TestTimeAug`` and its like."""
    if isinstance(pipeline, Mapping):
        return str(pipeline.get('type', '')).endswith('LoadAnnotations') or _loads_labels(list(pipeline.values()))
    return isinstance(pipeline, (list, tuple)) and any(map(_loads_labels, pipeline))


def check_label_map(image: Path, path: Path, classes: int, reduce_zero_label: bool) -> None:
    """Make sure that one label map belongs to its image and to the classes.

    Args:
        image: The image.
        path: The label map.
        classes: Number of classes.
        reduce_zero_label: Whether 0 stands for no class, and 1 for the first one.

    Raises:
        DataError: If it cannot be read, has several channels, another size than the image, or labels without a class.
    """
    try:
        with Image.open(path) as opened:
            labels = np.array(opened)
    except OSError as error:
        raise DataError(
            f'The label map {path} cannot be read: {error}',
            expected='a complete PNG, or another format that Pillow reads',
            fix='replace the file',
        ) from error
    if labels.ndim != 2:
        raise DataError(
            f'The label map {path} has {labels.shape[2]} channels.',
            expected='one channel, whose values are classes (grey, or with a palette)',
            fix='convert colours to classes (mmseg: tools/dataset_converters)',
        )
    pixels = mmcv.imread(str(image)) if image.is_file() else None
    if pixels is None:
        return  # loading it reports it by name
    if pixels.shape[:2] != labels.shape:
        height, width = pixels.shape[:2]
        raise DataError(
            f'The label map {path} is {labels.shape[0]}x{labels.shape[1]}, its image {height}x{width}.',
            expected='the same height and width',
            fix='resize it with nearest neighbours, or take both out',
        )
    present = np.unique(labels)
    present = present[present != IGNORED].astype(int)
    if reduce_zero_label:
        present = present[present != 0] - 1
    if len(present) and present[-1] >= classes:
        offset = int(reduce_zero_label)
        raise DataError(
            f'The label map {path} has the value {present[-1] + offset}, but the data set has {classes} classes.',
            expected=f'values from {offset} to {classes - 1 + offset}'
            + (', 0 for ignored pixels' if offset else '')
            + f', and {IGNORED} for ignored pixels',
            fix='set `metainfo=dict(classes=..., palette=...)` of the data set, num_classes of the heads, and '
            '`reduce_zero_label`, as the label maps have them',
        )


def check_segmentation_dataset(config: Mapping, scope: str | None) -> None:
    """Make sure that a segmentation data set has images, and that they have label maps that fit.

    Args:
        config: The data set, whose folders exist. One that cannot be built passes: building it later gives the reason.
        scope: The ``default_scope`` of the whole config.

    Raises:
        DataError: If there are no images, label maps are missing, or one of a few that are read does not fit.
    """
    settings = {**config, 'pipeline': [], 'lazy_init': True, '_scope_': config.get('_scope_', scope)}
    try:
        dataset = DATASETS.build(settings)
        items = dataset.load_data_list()
    except Exception:
        return
    folder = dataset.data_prefix.get('img_path')
    if not items:
        raise DataError(
            f'There is no image in {folder} (`data_prefix.img_path` of {config["type"]}).',
            expected=f'files that end in {dataset.img_suffix}',
            fix='copy the images there, or set `img_suffix` of the data set',
        )
    if not _loads_labels(config.get('pipeline')):
        return
    missing = [item for item in items if not Path(item['seg_map_path']).is_file()]
    if missing:
        raise DataError(
            f'{len(missing)} of {len(items)} images in {folder} have no label map; the first that is missing is '
            f'{missing[0]["seg_map_path"]}.',
            expected=f'for every image a label map of the same name that ends in {dataset.seg_map_suffix}',
            fix='copy the label maps there, take the images out, or set `seg_map_suffix` of the data set',
        )
    classes = dataset.metainfo.get('classes')
    # Any label of 8 bits may be right if classes are not known, or are renumbered.
    known = len(classes) if classes and dataset.label_map is None else IGNORED
    for index in np.unique(np.linspace(0, len(items) - 1, READ).round().astype(int)):
        item = items[index]
        check_label_map(Path(item['img_path']), Path(item['seg_map_path']), known, dataset.reduce_zero_label)
