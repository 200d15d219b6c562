"""Checks of the files and folders that a config names, before anything is built from it.

mmdet and mmseg find a missing folder or a broken annotation file only when a data loader's worker reads it,
several layers down. Here the paths of a config are checked first, and the message says which one is wrong.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config

from ..config import datasets_of
from ..errors import DataError
from .label_maps import check_segmentation_dataset

COCO_KEYS = ('images', 'annotations', 'categories')
"""Keys that a COCO annotation file has at its top level."""

_ROOT_HINT = (
    'set the environment variable MMTRTVIT_DATA_ROOT to the folder that holds coco/ and ade/ (./data by default), or '
    'give the path with --cfg-options; for the toy data set run `python tools/make_toy_data.py`'
)


def _join(root: str | None, path: str | None) -> Path:
    return Path(path or '') if root is None or os.path.isabs(path or '') else Path(root) / (path or '')


def check_coco_file(path: str | os.PathLike, classes: Sequence[str] | None = None) -> None:
    """Make sure that ``path`` is a COCO annotation file which knows at least one of ``classes``.

    Args:
        path: The JSON file.
        classes: Class names of the config; ``None`` to accept any.

    Raises:
        DataError: If it is missing, is not JSON, is not COCO, or has none of ``classes``.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f'There is no annotation file {path}.', fix=_ROOT_HINT)
    expected = f'a COCO file: JSON with {", ".join(COCO_KEYS)} at its top level'
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, OSError) as error:
        raise DataError(
            f'The annotation file {path} is not readable as JSON: {error}',
            expected=expected,
            fix='copy or make the file again; check that it is the annotation file and not an image or a link to one',
        ) from error
    missing = [key for key in COCO_KEYS if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        found = ', '.join(map(str, list(content)[:6])) if isinstance(content, dict) else f'a {type(content).__name__}'
        raise DataError(
            f'The annotation file {path} is not COCO: it lacks {", ".join(missing)} (it has {found}).',
            expected=expected,
            fix='convert the annotations to COCO (mmdet: tools/dataset_converters) or correct `ann_file` in the config',
        )
    names = [category.get('name') for category in content['categories'] if isinstance(category, dict)]
    if classes and not set(classes) & set(names):
        raise DataError(
            f'No class of the config is in {path}.',
            expected=f'some of {_first_few(classes)}',
            fix=f'set `metainfo=dict(classes=...)` of the data set to the names in the file: {_first_few(names)}',
        )


def _first_few(names: Sequence[str], count: int = 5) -> str:
    return ', '.join(map(str, names[:count])) + (', ...' if len(names) > count else '')


def check_dataset(config: Mapping, scope: str | None = None) -> None:
    """Make sure that the files and folders of one data set config are there.

    Args:
        config: The data set.
        scope: The ``default_scope`` of the whole config.

    Raises:
        DataError: Naming the first path that is missing or wrong.
    """
    root = config.get('data_root')
    if root and not Path(root).is_dir():
        raise DataError(f'The data root {root} does not exist (here: {Path.cwd()}).', fix=_ROOT_HINT)
    for key, prefix in (config.get('data_prefix') or {}).items():
        folder = _join(root, prefix)
        if not folder.is_dir():
            raise DataError(f'There is no folder {folder} (`data_prefix.{key}` of {config["type"]}).', fix=_ROOT_HINT)
    ann_file = config.get('ann_file')
    path = _join(root, ann_file)
    if not ann_file:
        pass
    elif str(config.get('type', '')).endswith('CocoDataset'):
        check_coco_file(path, (config.get('metainfo') or {}).get('classes'))
    elif not path.exists():
        raise DataError(f'There is no annotation file {path} (`ann_file` of {config["type"]}).', fix=_ROOT_HINT)
    if 'seg_map_path' in (config.get('data_prefix') or {}):
        check_segmentation_dataset(config, scope)


def check_data(config: Config, splits: Sequence[str]) -> None:
    """Make sure that the data of some splits of a config can be found.

    Args:
        config: A whole config.
        splits: Of ``train``, ``val``, ``test``.

    Raises:
        DataError: Naming the first path that is missing or wrong.
    """
    for split in splits:
        loader = config.get(f'{split}_dataloader')
        if loader:
            for dataset in datasets_of(loader['dataset']):
                check_dataset(dataset, config.get('default_scope'))
        evaluators = config.get(f'{split}_evaluator') or []
        for evaluator in [evaluators] if isinstance(evaluators, Mapping) else evaluators:
            if evaluator.get('ann_file') and str(evaluator.get('type', '')).endswith('CocoMetric'):
                check_coco_file(evaluator['ann_file'])
