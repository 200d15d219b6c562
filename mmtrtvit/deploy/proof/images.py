"""Images to trace, compare, calibrate and draw on, from the data set of a config."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, init_default_scope

from ...config import datasets_of, prefixes_of, test_data_of
from ...datasets.preflight import datasets_of_split
from ...runtime.preprocess import read_image
from ..export.describe import task_of

PHOTOGRAPHS = 'photographs of scikit-image'


def _is_there(dataset: Mapping) -> bool:
    """True if the images and the annotation file of an innermost data set exist where the config says."""
    root, prefixes = Path(dataset.get('data_root') or ''), prefixes_of(dataset)
    listed = root / (dataset.get('ann_file') or '')
    images = prefixes.get('img', prefixes.get('img_path', ''))  # in mmdet; in mmseg and mmpretrain
    return listed.exists() and (root / images).is_dir()


def image_file(dataset: BaseDataset, index: int) -> str:
    """The path of an image of a data set."""
    return dataset.get_data_info(index)['img_path']


def places(config: Config, total: int, count: int) -> list[int]:
    """The places of some images in a data set: the first ones, or evenly spaced ones if it is sorted by class.

    Args:
        config: The model config; the data sets of classifiers are sorted by class.
        total: Number of images.
        count: Number of places, at most ``total``.
    """
    step = total / count if count and task_of(config.model) == 'classification' else 1
    return [int(index * step) for index in range(count)]


def images_of(config: Config, count: int, splits: Sequence[str]) -> tuple[list[np.ndarray], str]:
    """Images of the first split that has any, or photographs from scikit-image if no data set is available.

    Args:
        config: The model config.
        count: Maximum number of images.
        splits: Splits to try in order: ``'train'``, ``'val'`` or ``'test'``.

    Returns:
        ``(H, W, 3)`` uint8 images, BGR; and their source: ``'the train split'`` or :data:`PHOTOGRAPHS`.

    Raises:
        DataError: If an image cannot be read.
    """
    init_default_scope(config.default_scope)
    for split in splits:
        found: list[np.ndarray] = []
        for settings in datasets_of_split(config, split):
            if len(found) < count and _is_there(settings):
                # An empty data set cannot be serialised.
                dataset = DATASETS.build({**settings, 'pipeline': [], 'serialize_data': False})
                wanted = places(config, len(dataset), min(count - len(found), len(dataset)))
                found += [read_image(image_file(dataset, index)) for index in wanted]
        if found:
            return found, f'the {split} split'
    from skimage import data

    photographs = (data.astronaut(), data.coffee(), data.chelsea())
    return [np.ascontiguousarray(photograph[..., ::-1]) for photograph in photographs[:count]], PHOTOGRAPHS


def sample_images(config: Config, count: int) -> list[np.ndarray]:
    """The first images of the test split, or photographs; see :func:`images_of`."""
    return images_of(config, count, ('test',))[0]


def dataset_metainfo(config: Config) -> dict:
    """``classes`` and ``palette`` of a model config's test data set.

    Raises:
        ConfigError: If the config has none.
    """
    dataset = next(datasets_of(test_data_of(config)))
    kind = dataset.type
    if isinstance(kind, str):
        kind = DATASETS.get(kind if '.' in kind else f'{config.default_scope}.{kind}')
    metainfo = kind._load_metainfo(dataset.get('metainfo'))  # also reads class names from a file
    return {key: metainfo[key] for key in ('classes', 'palette') if key in metainfo}
