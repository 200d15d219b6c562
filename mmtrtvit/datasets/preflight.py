"""Checks of the files and folders that a config names, before anything is built from it.

mmdet and mmseg find a missing folder or a broken annotation file only when a data loader's worker reads it,
several layers down. Here the paths of a config are checked first, and the message says which one is wrong.
"""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS

from ..config import datasets_of, prefixes_of
from ..errors import DataError
from .class_checks import check_class_counts
from .class_folders import check_class_folders
from .coco_checks import CocoUse, check_coco
from .findings import Finding, first_few, raise_errors
from .label_maps import check_segmentation_dataset

COCO_KEYS = ('images', 'annotations', 'categories')
"""Keys that a COCO annotation file has at its top level."""

_ROOT_HINT = (
    'set the environment variable MMTRTVIT_DATA_ROOT to the folder that holds coco/, ade/ and imagenet/ (./data by '
    'default), or give the path with --cfg-options; for the toy data set run `python tools/make_toy_data.py`'
)


def _join(root: str | None, path: str | None) -> Path:
    return Path(path or '') if root is None or os.path.isabs(path or '') else Path(root) / (path or '')


def read_coco_file(path: str | os.PathLike, unlabelled: bool = False) -> dict:
    """Read a COCO annotation file.

    Args:
        path: The JSON file.
        unlabelled: Accept a file without annotations, as test-dev has it.

    Returns:
        Its content; ``annotations`` is empty where there are none.

    Raises:
        DataError: If it is missing, is not JSON, or is not COCO.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f'There is no annotation file {path}.', fix=_ROOT_HINT)
    expected = f'a COCO file: JSON with {", ".join(COCO_KEYS)} at its top level'
    try:
        raw = path.read_bytes()
        if raw.startswith((b'\xef\xbb\xbf', b'\xff\xfe', b'\xfe\xff')):
            raise ValueError('it begins with a byte order mark, which pycocotools cannot read; save it as plain UTF-8')
        content = json.loads(raw)
    except (ValueError, OSError) as error:
        raise DataError(
            f'The annotation file {path} is not readable as JSON: {error}',
            expected=expected,
            fix='copy or make the file again; check that it is the annotation file and not an image or a link to one',
        ) from error
    if unlabelled and isinstance(content, dict):
        content.setdefault('annotations', [])
    missing = [key for key in COCO_KEYS if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        found = ', '.join(map(str, list(content)[:6])) if isinstance(content, dict) else f'a {type(content).__name__}'
        raise DataError(
            f'The annotation file {path} is not COCO: it lacks {", ".join(missing)} (it has {found}).',
            expected=expected,
            fix='python tools/convert_dataset.py FOLDER --out DIR converts other formats; or correct `ann_file`',
        )
    return content


def classes_of(dataset: Mapping, scope: str | None = None) -> list[str]:
    """The classes of a data set config: its ``metainfo``, or those of its type; empty where neither names any.

    Args:
        dataset: The data set. ``metainfo.classes`` may be a text file with one name a line, as mmengine takes it.
        scope: The ``default_scope`` of the whole config.
    """
    given = (dataset.get('metainfo') or {}).get('classes')
    if isinstance(given, str) and Path(given).is_file():
        return Path(given).read_text().splitlines()
    if given:
        return [given] if isinstance(given, str) else list(given)
    try:
        with DATASETS.switch_scope_and_registry(dataset.get('_scope_', scope)) as registry:
            return list(registry.get(dataset['type']).METAINFO.get('classes') or ())
    except (AttributeError, ImportError, KeyError):  # whoever builds it says what is wrong
        return []


def check_dataset(config: Mapping) -> None:
    """Make sure that the files and folders of one data set config are there.

    Args:
        config: The data set.

    Raises:
        DataError: If a path is missing or wrong; names the first.
    """
    root = config.get('data_root')
    if root and not Path(root).is_dir():
        raise DataError(f'The data root {root} does not exist (here: {Path.cwd()}).', fix=_ROOT_HINT)
    for key, prefix in prefixes_of(config).items():
        folder = _join(root, prefix)
        if not folder.is_dir():
            raise DataError(f'There is no folder {folder} (`data_prefix.{key}` of {config["type"]}).', fix=_ROOT_HINT)
    path = annotation_file(config)
    if path is not None and not path.exists():
        raise DataError(f'There is no annotation file {path} (`ann_file` of {config["type"]}).', fix=_ROOT_HINT)


def annotation_file(dataset: Mapping) -> Path | None:
    """Path of the annotation file of a data set config, ``None`` where it has none."""
    name = dataset.get('ann_file')
    return _join(dataset.get('data_root'), name) if name else None


def is_coco(config: Mapping) -> bool:
    """True if a data set (or evaluator) reads COCO files."""
    return str(config.get('type', '')).endswith(('CocoDataset', 'CocoMetric'))


def datasets_of_split(config: Config, split: str) -> list[Mapping]:
    """The data sets of a split, taken out of wrappers and concatenations."""
    loader = config.get(f'{split}_dataloader')
    return list(datasets_of(loader['dataset'])) if loader else []


def evaluators_of(config: Config, split: str) -> list[Mapping]:
    """The evaluators of a split."""
    evaluators = config.get(f'{split}_evaluator') or []
    return [evaluators] if isinstance(evaluators, Mapping) else list(evaluators)


def coco_use(config: Config, split: str, dataset: Mapping) -> CocoUse:
    """A config's use of the COCO file of one of its data sets."""
    evaluators = [evaluator for evaluator in evaluators_of(config, split) if is_coco(evaluator)]
    metrics = [evaluator.get('metric', 'bbox') for evaluator in evaluators]
    filters = dataset.get('filter_cfg') or {}
    return CocoUse(
        classes=classes_of(dataset, config.get('default_scope')),
        images=_join(dataset.get('data_root'), prefixes_of(dataset).get('img', '')),
        masks=split == 'train' and _loads_masks(dataset.get('pipeline')) or any('segm' in metric for metric in metrics),
        evaluated=split != 'train' and any(not evaluator.get('format_only') for evaluator in evaluators),
        trained=split == 'train',
        min_size=filters.get('min_size', 0),
        filter_empty=bool(filters.get('filter_empty_gt')),
    )


def _loads_masks(pipeline: object) -> bool:
    if isinstance(pipeline, Mapping):
        return bool(pipeline.get('with_mask')) or _loads_masks(list(pipeline.values()))
    return isinstance(pipeline, (list, tuple)) and any(map(_loads_masks, pipeline))


def has_label_maps(dataset: Mapping) -> bool:
    """True if a data set config is one of images with label maps."""
    return 'seg_map_path' in prefixes_of(dataset)


def has_class_folders(dataset: Mapping) -> bool:
    """True if a data set config is one of a folder of images for each class."""
    return str(dataset.get('type')).endswith(('CustomDataset', 'ImageNet')) and not dataset.get('ann_file')


def find_faults(config: Config, splits: Sequence[str], label_maps: bool = True) -> list[Finding]:
    """Faults that the annotation files and the config alone show; no image is opened but those of a few label maps.

    Args:
        config: A whole config.
        splits: Any of ``train``, ``val``, ``test``.
        label_maps: Look at label maps.

    Raises:
        DataError: If a path is missing or a file cannot be read: nothing more can be said then.
    """
    scope, found, read = config.get('default_scope'), [], {}
    classes: dict[str, list[str]] = {}
    for split in splits:
        unlabelled = any(evaluator.get('format_only') for evaluator in evaluators_of(config, split))
        for dataset in datasets_of_split(config, split):
            check_dataset(dataset)
            if has_class_folders(dataset):
                folder = _join(dataset.get('data_root'), prefixes_of(dataset).get('img_path'))
                named = bool((dataset.get('metainfo') or {}).get('classes'))
                found += check_class_folders(folder, classes_of(dataset, scope), named)
            if label_maps and has_label_maps(dataset):
                check_segmentation_dataset(dataset, scope)
            path = annotation_file(dataset)
            if path is not None and is_coco(dataset):
                content = read[path] = read.get(path) or read_coco_file(path, unlabelled)
                found += check_coco(content, path, coco_use(config, split, dataset))
            names = classes_of(dataset, scope)
            if names:
                if not classes:
                    found += check_class_counts(config.get('model') or {}, names, f'the data set of {split}')
                classes.setdefault(split, names)
        for evaluator in evaluators_of(config, split):
            path = evaluator.get('ann_file') if is_coco(evaluator) else None
            if path and Path(path) not in read:
                content = read[Path(path)] = read_coco_file(path, unlabelled)
                found += check_coco(content, Path(path), CocoUse(evaluated=not evaluator.get('format_only')))
    for split in list(classes)[1:]:
        first = next(iter(classes))
        if classes[split] != classes[first]:
            found.append(
                Finding(
                    'error',
                    f'The data sets of {first} and {split} have different classes, or the same in another order: '
                    f'{first_few(classes[first])} and {first_few(classes[split])}.',
                    fix='set the same `metainfo=dict(classes=...)` in both',
                )
            )
    return list(dict.fromkeys(found))


def check_data(config: Config, splits: Sequence[str]) -> None:
    """Make sure that the data of some splits of a config can be used. Warnings go to the log.

    Args:
        config: A whole config.
        splits: Any of ``train``, ``val``, ``test``.

    Raises:
        DataError: If a fault would make training or its figures wrong; names the first.
    """
    findings = find_faults(config, splits)
    raise_errors(findings)
    for finding in findings:
        if finding.severity == 'warning':
            print_log(f'{finding.message} Fix: {finding.fix}', logger='current', level=logging.WARNING)
