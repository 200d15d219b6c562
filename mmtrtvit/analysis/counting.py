"""Counting what was taken for what, image by image."""

import numpy as np
from mmengine.structures import InstanceData


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
    there even if a detection of another class overlaps it). Other than mmdet's tool, crowds are no objects here: they
    cannot be missed, and what is found in one is not counted as background.

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
    # How much of a detection lies in a crowd counts, as in COCO's evaluation: the crowd is larger.
    in_crowd = (bbox_overlaps(boxes, crowds, mode='iof') >= iou_thr).any(axis=1)
    np.add.at(matrix, (classes, labels[~hits.any(axis=1) & ~in_crowd]), 1)
    right = hits & (labels[:, None] == truth.labels[None])
    np.add.at(matrix, (truth.labels[~right.any(axis=0)], classes), 1)
    return matrix
