"""The confusion matrix of a detector or a segmentor on the test split of its config."""

import dataclasses
import json
import os
import pickle
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmengine.structures import InstanceData
from tqdm import tqdm

from ..atomic import atomic_file
from ..config import load_config, pipeline_of, with_pipeline
from ..datasets.preflight import check_data
from ..errors import ConfigError, DataError, library_errors_explained
from ..visualization.heatmap import draw_heatmap
from .evaluation import evaluate

BACKGROUND = 'background'
"""The last name in a detector's matrix: no object, or none found."""


@dataclasses.dataclass(frozen=True)
class ConfusionMatrix:
    """Counts of each true class by the class that was predicted.

    Attributes:
        counts: ``(n, n)`` int64: rows are the truth, columns the prediction.
        names: Names of the n classes; :data:`BACKGROUND` is the last one of a detector.
        unit: Unit of the counts: ``boxes``, ``pixels`` or ``images``.
        images: Number of images.
        settings: Thresholds that the counts depend on.
    """

    counts: np.ndarray
    names: tuple[str, ...]
    unit: str
    images: int
    settings: Mapping[str, float]

    @property
    def shares(self) -> np.ndarray:
        """Counts as shares of their row; NaN in rows that are empty."""
        with np.errstate(invalid='ignore'):
            return self.counts / self.counts.sum(axis=1, keepdims=True)

    def worst(self, number: int = 10) -> list[tuple[str, str, int, float]]:
        """The most frequent confusions: true class, predicted class, how often, and which share of the true class."""
        wrong = self.counts * (1 - np.eye(len(self.names), dtype=np.int64))
        order = np.argsort(-wrong, axis=None, kind='stable')[:number]
        rows, columns = np.unravel_index(order, wrong.shape)
        return [
            (self.names[i], self.names[j], int(wrong[i, j]), float(self.shares[i, j]))
            for i, j in zip(rows, columns, strict=True)
            if wrong[i, j]
        ]

    def to_dict(self) -> dict:
        """For JSON."""
        return {
            'rows': 'truth',
            'columns': 'prediction',
            'unit': self.unit,
            'images': self.images,
            **self.settings,
            'classes': list(self.names),
            'counts': self.counts.tolist(),
        }


def count_pixels(truth: np.ndarray, predicted: np.ndarray, classes: int, ignore_index: int = 255) -> np.ndarray:
    """Pixels by true and predicted class, as mmseg's ``tools/analysis_tools/confusion_matrix.py`` counts them.

    Args:
        truth: ``(H, W)`` integers.
        predicted: ``(H, W)`` integers below ``classes``.
        classes: Number of classes.
        ignore_index: True class of the pixels that are left out.

    Returns:
        ``(classes, classes)`` int64: rows are the truth, columns the prediction.
    """
    seen = truth != ignore_index
    pairs = classes * truth[seen].astype(np.int64) + predicted[seen].astype(np.int64)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def count_boxes(
    truth: InstanceData,
    crowds: np.ndarray,
    found: InstanceData,
    classes: int,
    *,
    score_thr: float,
    iou_thr: float,
) -> np.ndarray:
    """Boxes by true and predicted class, as mmdet's ``tools/analysis_tools/confusion_matrix.py`` counts them.

    A detection counts once for every true box that it overlaps, whatever the class of either; one that overlaps none
    is found in the background; a true box that no detection of its class overlaps is taken for background (it counts
    there even if a detection of another class overlaps it). Unlike in mmdet's tool, crowds are not objects: they cannot
    be missed, and detections inside one do not count as background.

    Args:
        truth: ``bboxes`` ``(n, 4)`` and ``labels`` ``(n,)``, arrays.
        crowds: Boxes ``(m, 4)`` around many objects that are not told apart (COCO's ``iscrowd``).
        found: ``bboxes``, ``labels``, ``scores``, tensors on the CPU.
        classes: Number of classes.
        score_thr: Score from which a detection counts.
        iou_thr: Overlap from which two boxes are one object's.

    Returns:
        ``(classes + 1, classes + 1)`` int64: rows are the truth, columns the prediction, background is last.
    """
    from mmdet.evaluation import bbox_overlaps

    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    counted = found.scores.numpy() >= score_thr
    boxes, labels = found.bboxes.numpy()[counted], found.labels.numpy()[counted]
    hits = bbox_overlaps(boxes, truth.bboxes) >= iou_thr
    which, what = np.nonzero(hits)
    np.add.at(matrix, (truth.labels[what], labels[which]), 1)
    # The share of a detection that lies in a crowd counts, as in COCO's evaluation: the crowd is larger.
    in_crowd = (bbox_overlaps(boxes, crowds, mode='iof') >= iou_thr).any(axis=1)
    np.add.at(matrix, (classes, labels[~hits.any(axis=1) & ~in_crowd]), 1)
    right = hits & (labels[:, None] == truth.labels[None])
    np.add.at(matrix, (truth.labels[~right.any(axis=0)], classes), 1)
    return matrix


def _read_predictions(path: Path) -> list[dict]:
    """The pickle that ``tools/test.py --out`` writes.

    Raises:
        DataError: If it is something else.
    """
    form = dict(
        expected='the pickle that `tools/test.py CONFIG CHECKPOINT --out FILE.pkl` writes',
        fix='give that file, or the checkpoint, which is evaluated first then',
    )
    try:
        found = pickle.loads(path.read_bytes())
    except Exception as error:  # a pickle is a program: anything may be raised in it
        raise DataError(f'The predictions {path} cannot be read: {type(error).__name__}: {error}', **form) from error
    if not (isinstance(found, list) and found and all(isinstance(sample, Mapping) for sample in found)):
        raise DataError(f'{path} has no predictions.', **form)
    if not all({'pred_instances', 'pred_sem_seg', 'pred_label'} & set(sample) for sample in found):
        raise DataError(f'{path} has no boxes, label maps or classes of images.', **form)
    return found


def _pairs(config: Config, found: Sequence[Mapping]) -> Iterator[tuple[Mapping, Mapping]]:
    """The truth of each image of the data set, and its predictions.

    Raises:
        DataError: If the predictions are those of other images.
    """
    labels = [step for step in pipeline_of(config) if step['type'].endswith('LoadAnnotations')]
    # Boxes come from the annotation file as they are; label maps are files that have to be read.
    is_map = 'pred_sem_seg' in found[0]
    dataset = DATASETS.build(with_pipeline(config.test_dataloader.dataset, labels if is_map else []))
    if len(dataset) != len(found):
        raise DataError(
            f'There are predictions on {len(found)} images, but the test split has {len(dataset)}.',
            fix='give the config, and the --cfg-options, that the predictions were made with',
        )
    for index, sample in enumerate(found):
        truth = dataset[index] if is_map else dataset.get_data_info(index)
        names = [Path(entry['img_path']).name for entry in (truth, sample)]
        if names[0] != names[1]:
            raise DataError(
                f'Image {index} of the test split is {names[0]}, but the predictions have {names[1]} there.',
                fix='give the config that the predictions were made with',
            )
        yield truth, sample


def _instances(boxes: Sequence[Mapping]) -> InstanceData:
    return InstanceData(
        bboxes=np.array([box['bbox'] for box in boxes], np.float32).reshape(-1, 4),
        labels=np.array([box['bbox_label'] for box in boxes], np.int64),
    )


def _count(config: Config, found: Sequence[Mapping], score_thr: float, iou_thr: float) -> ConfusionMatrix:
    settings = with_pipeline(config.test_dataloader.dataset, [], lazy_init=True)
    classes = tuple(DATASETS.build(settings).metainfo['classes'])
    pairs = tqdm(_pairs(config, found), total=len(found), desc='Comparing', unit='image', disable=None)
    if 'pred_sem_seg' in found[0]:
        counts = sum(
            count_pixels(truth['gt_seg_map'], sample['pred_sem_seg']['data'][0].numpy(), len(classes))
            for truth, sample in pairs
        )
        return ConfusionMatrix(counts, classes, 'pixels', len(found), {})
    if 'pred_label' in found[0]:
        counts = np.zeros((len(classes),) * 2, np.int64)
        for truth, sample in pairs:
            counts[truth['gt_label'], int(sample['pred_label'])] += 1
        return ConfusionMatrix(counts, classes, 'images', len(found), {})
    counts = sum(
        count_boxes(
            _instances([box for box in truth['instances'] if not box['ignore_flag']]),
            _instances([box for box in truth['instances'] if box['ignore_flag']]).bboxes,
            InstanceData(**{key: sample['pred_instances'][key] for key in ('bboxes', 'labels', 'scores')}),
            len(classes),
            score_thr=score_thr,
            iou_thr=iou_thr,
        )
        for truth, sample in pairs
    )
    settings = dict(score_thr=score_thr, iou_thr=iou_thr)
    return ConfusionMatrix(counts, (*classes, BACKGROUND), 'boxes', len(found), settings)


def confusion_matrix(
    config: str | os.PathLike,
    source: str | os.PathLike,
    out: str | os.PathLike,
    *,
    score_thr: float = 0.3,
    iou_thr: float = 0.5,
    variants: Sequence[str] = (),
    cfg_options: Mapping | None = None,
) -> ConfusionMatrix:
    """Compare predictions on the test split with the truth, class by class.

    Args:
        config: The config file of a detector, a segmentor or a classifier.
        source: The file that ``tools/test.py --out`` wrote (``.pkl``), or a checkpoint, which is evaluated first.
        out: Folder for ``confusion_matrix.json`` (counts) and ``confusion_matrix.png`` (shares of each true class).
        score_thr: Score from which a detection counts.
        iou_thr: Overlap from which a detection and a true box are one object's.
        variants, cfg_options: Changes to the config, as in :func:`~mmtrtvit.apis.evaluate`.

    Returns:
        The matrix.

    Raises:
        ConfigError, DataError, CheckpointError: For input that cannot be used.
    """
    for name, value in (('--score-thr', score_thr), ('--iou-thr', iou_thr)):
        if not 0 <= value <= 1:
            raise ConfigError(f'{name} {value}', expected='a number from 0 to 1', fix='correct it')
    cfg = load_config(config, cfg_options, variants)
    check_data(cfg, ['test'])
    source, out = Path(source), Path(out)
    if source.suffix in ('.pkl', '.pickle'):
        if not source.is_file():
            raise DataError(f'There is no file {source}.', fix='write it with `tools/test.py --out`, or correct it')
        found = _read_predictions(source)
    else:
        with tempfile.TemporaryDirectory() as folder:
            written = Path(folder) / 'found.pkl'
            work_dir = str(out / 'evaluation')
            changes = dict(variants=variants, cfg_options=cfg_options)
            evaluate(config, str(source), work_dir=work_dir, out=str(written), **changes)
            found = _read_predictions(written)
    init_default_scope(cfg.default_scope)
    with library_errors_explained(stage=lambda: 'Counting'):
        matrix = _count(cfg, found, score_thr, iou_thr)
    with atomic_file(out / 'confusion_matrix.json') as temporary:
        temporary.write_text(json.dumps(matrix.to_dict()) + '\n')
    thresholds = ''.join(f', {name} {value:g}' for name, value in matrix.settings.items())
    title = f'{Path(config).stem}: {matrix.unit} of {matrix.images} images{thresholds}'
    draw_heatmap(matrix.shares, matrix.counts, matrix.names, title, out / 'confusion_matrix.png')
    return matrix
