"""The interval in which the loss of a metric lies, by resampling the images that it was measured on.

A metric of few images depends on the choice of the images. The paired bootstrap draws as many images again, with
replacement, and computes the metric of PyTorch and of the artefact on each draw. The losses of all draws show how far
other images of the same kind could move the loss.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from mmengine.evaluator import Evaluator
from pycocotools.cocoeval import COCOeval

DRAWS = 200
CONFIDENCE = 0.9
"""Share of the draws inside of the interval. A twentieth of them lies on either side."""

Resampled = Callable[[np.ndarray], np.ndarray]
"""A metric by draws: ``(draws, images)``, the number of times that each image was drawn, to ``(draws,)``."""


def loss_interval(ours: Resampled, theirs: Resampled, images: int) -> tuple[float, float]:
    """The interval of a loss: PyTorch's metric minus the artefact's. The same results give the same interval.

    Args:
        ours, theirs: The metric of PyTorch and of the artefact, over the same images.
        images: The number of images.
    """
    draws = np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), DRAWS)
    low, high = np.nanquantile(ours(draws) - theirs(draws), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def evaluate(evaluator: Evaluator, images: int) -> tuple[dict[str, float], dict[str, Resampled]]:
    """Compute the metrics of the images that an evaluator has processed.

    Returns:
        The metrics; and those that can be resampled: mAP of COCO, mIoU of mmseg, and top-1 of mmpretrain.
    """
    areas = {metric.prefix: list(metric.results) for metric in evaluator.metrics}
    with _recorded_coco() as seen:
        metrics = evaluator.evaluate(images)
    resampled = {f'{coco.params.iouType}_mAP': _coco_map(coco) for coco in seen}
    found = {name: resampled[name.rpartition('/')[2]] for name in metrics if name.rpartition('/')[2] in resampled}
    for prefix, results in areas.items():
        name = f'{prefix}/mIoU' if prefix else 'mIoU'
        if name in metrics:
            found[name] = _mean_iou(results)
        name = f'{prefix}/top1'
        if name in metrics:
            found[name] = _accuracy(results)
    return metrics, found


@contextlib.contextmanager
def _recorded_coco() -> Iterator[list[COCOeval]]:
    """The evaluations of pycocotools inside of the context: they know the matches of each image."""
    seen: list[COCOeval] = []
    accumulate = COCOeval.accumulate

    def record(self: COCOeval, *args, **kwargs) -> None:
        seen.append(self)
        accumulate(self, *args, **kwargs)

    COCOeval.accumulate = record
    try:
        yield seen
    finally:
        COCOeval.accumulate = accumulate


def _mean_iou(results: Sequence[tuple[torch.Tensor, ...]]) -> Resampled:
    """mIoU, in percent, from the pixels of each class in the intersection and in the union, for each image."""
    shared, joined = (np.stack([np.asarray(areas[place], np.float64) for areas in results]) for place in (0, 1))

    def metric(draws: np.ndarray) -> np.ndarray:
        with np.errstate(invalid='ignore'):
            return 100 * np.nanmean((draws @ shared) / (draws @ joined), axis=1)

    return metric


def _accuracy(results: Sequence[Mapping]) -> Resampled:
    """Share of the images, in percent, whose most probable class is the right one."""
    right = [float(int(result['pred_score'].argmax()) in result['gt_label'].tolist()) for result in results]

    def metric(draws: np.ndarray) -> np.ndarray:
        return 100 * (draws @ np.array(right)) / draws.sum(axis=1)

    return metric


def _coco_map(coco: COCOeval) -> Resampled:
    """COCO's mAP over all sizes of objects, from the matches of each image."""
    params, count = coco.params, len(coco.params.imgIds)
    categories = len(params.catIds) if params.useCats else 1
    most = min(params.maxDets, key=lambda limit: abs(limit - 100))
    start = params.areaRngLbl.index('all') * count
    stride = len(params.areaRng) * count
    tables = [
        _Matches.of(coco.evalImgs[number * stride + start : number * stride + start + count], most)
        for number in range(categories)
    ]

    def metric(draws: np.ndarray) -> np.ndarray:
        found = [table.average_precision(draws, params.recThrs) for table in tables if table]
        counted = np.isfinite(found)  # a category without objects does not count
        return np.where(counted, found, 0.0).sum(axis=0) / np.maximum(counted.sum(axis=0), 1)

    return metric


class _Matches:
    """The detections and objects of a category in all images.

    Args:
        objects: ``(images,)``: number of objects.
        images: ``(detections,)``: the image of each detection, best score first.
        right, wrong: ``(thresholds, detections)``: whether a detection counts as right or as wrong, for each IoU.
    """

    def __init__(self, objects: np.ndarray, images: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> None:
        self.objects, self.images, self.right, self.wrong = objects, images, right, wrong

    @classmethod
    def of(cls, found: Sequence[dict | None], most: int) -> '_Matches | None':
        """The matches in pycocotools' records of one category; None if no image has anything of it."""
        known = [(place, record) for place, record in enumerate(found) if record is not None]
        if not known:
            return None
        objects = np.zeros(len(found))
        for place, record in known:
            objects[place] = np.count_nonzero(np.asarray(record['gtIgnore']) == 0)
        scores = np.concatenate([record['dtScores'][:most] for _, record in known])
        order = np.argsort(-scores, kind='mergesort')
        images = np.repeat([place for place, _ in known], [len(record['dtScores'][:most]) for _, record in known])
        matched, ignored = (
            np.concatenate([record[name][:, :most] for _, record in known], axis=1)[:, order].astype(bool)
            for name in ('dtMatches', 'dtIgnore')
        )
        return cls(objects, images[order], matched & ~ignored, ~matched & ~ignored)

    def average_precision(self, draws: np.ndarray, recalls: np.ndarray) -> np.ndarray:
        """AP of each draw, over all IoUs: ``(draws,)``. NaN for a draw without objects of the category."""
        objects = draws @ self.objects
        times = draws[:, self.images]
        found = np.zeros((len(draws), len(self.right)))
        for place, (right, wrong) in enumerate(zip(self.right, self.wrong, strict=True)):
            hits = np.cumsum(times * right, axis=1, dtype=np.float64)
            total = hits + np.cumsum(times * wrong, axis=1)
            precision = np.maximum.accumulate((hits / np.maximum(total, 1))[:, ::-1], axis=1)[:, ::-1]
            precision = np.append(precision, np.zeros((len(draws), 1)), axis=1)  # recalls that are not reached
            recall = hits / np.maximum(objects, 1)[:, None]
            # a single search in all draws: recalls are at most 1, so each draw has a range of its own
            offset = 2.0 * np.arange(len(draws))[:, None]
            reached = np.searchsorted((recall + offset).ravel(), (recalls + offset - 1e-12).ravel())
            reached = reached.reshape(len(draws), -1) - recall.shape[1] * np.arange(len(draws))[:, None]
            found[:, place] = np.take_along_axis(precision, reached, axis=1).mean(axis=1)
        return np.where(objects > 0, found.mean(axis=1), np.nan)
