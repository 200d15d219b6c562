"""Turning network outputs into detections, label maps and class scores, exactly as mmdet, mmseg and mmpretrain do.

Uses NumPy and OpenCV only.
"""

import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import numpy as np

from ..errors import DataError
from .backends.base import import_package
from .masks import Masks, Part, as_masks
from .preprocess import Frame
from .tensor_names import DETS, LABELS, MASKS, SCORES


def _names(labels: np.ndarray, classes: tuple[str, ...]) -> list[str]:
    known = dict(enumerate(classes))
    return [known.get(label, str(label)) for label in labels.tolist()]


@dataclasses.dataclass(frozen=True)
class Detections:
    """Objects in an image, best first, in pixels of the original image.

    Attributes:
        boxes: ``(n, 4)`` float32: x1, y1, x2, y2.
        scores: ``(n,)`` float32.
        labels: ``(n,)`` int64.
        masks: ``(n, H, W)`` bool, pasted when asked for; None if the network has no masks.
        classes: Names of all classes.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: Masks | np.ndarray | None
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def names(self) -> list[str]:
        """Class name of each object."""
        return _names(self.labels, self.classes)

    def above(self, score: float) -> 'Detections':
        """The objects with a score above ``score``."""
        kept = self.scores > score
        masks = None if self.masks is None else self.masks[kept]
        return Detections(self.boxes[kept], self.scores[kept], self.labels[kept], masks, self.classes)

    def to_coco(self, image_id: int | str, category_ids: Mapping[str, int] | None = None) -> list[dict]:
        """The objects as entries of a COCO results file, ready for JSON.

        Args:
            image_id: Id of the image in the annotation file.
            category_ids: Class name to id in the annotation file; by default the label itself, counted from 0.

        Returns:
            For each object ``image_id``, ``category_id``, ``bbox`` (x, y, width, height), ``score``, and
            ``segmentation`` (compressed run lengths) if there are masks.

        Raises:
            DataError: If an object's class has no id.
        """
        names = self.names
        missing = sorted(set(names) - set(category_ids)) if category_ids is not None else []
        if missing:
            raise DataError(
                f'There is no category id for {", ".join(missing)}.',
                expected='the id of every class of the network',
                fix="give {c['name']: c['id'] for c in annotations['categories']} of the right annotation file",
            )
        ids: list[int] = self.labels.tolist() if category_ids is None else [category_ids[name] for name in names]
        boxes = self.boxes.astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        entries: list[dict] = [
            {'image_id': image_id, 'category_id': category, 'bbox': box.tolist(), 'score': float(score)}
            for category, box, score in zip(ids, boxes, self.scores, strict=True)
        ]
        if self.masks is not None:
            for entry, encoded in zip(entries, as_masks(self.masks).rle(), strict=True):
                entry['segmentation'] = encoded
        return entries

    def to_supervision(self) -> Any:
        """The objects as ``supervision.Detections``, with ``class_name`` in their ``data``.

        Masks become one dense array, ``(n, H, W)`` bool.

        Raises:
            DeployError: If the package supervision is not installed.
        """
        supervision = import_package('supervision')
        return supervision.Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=self.labels,
            mask=None if self.masks is None else np.asarray(self.masks),
            data={'class_name': np.array(self.names, dtype=str)},
        )


@dataclasses.dataclass(frozen=True)
class LabelMap:
    """The class of every pixel of an image.

    Attributes:
        labels: ``(H, W)`` int64.
        classes: Names of all classes.
        palette: ``(classes, 3)`` uint8 RGB colours; empty if the data set has none.
    """

    labels: np.ndarray
    classes: tuple[str, ...]
    palette: np.ndarray

    @property
    def names(self) -> list[str]:
        """Names of the classes that occur in the image."""
        return _names(np.unique(self.labels), self.classes)

    def to_image(self) -> np.ndarray:
        """The labels in the smallest type that an image file can hold, for ``cv2.imwrite('labels.png', ...)``.

        Returns:
            ``(H, W)`` uint8, or uint16 for more than 256 classes.
        """
        most = max(len(self.classes) - 1, int(self.labels.max(initial=0)))
        return self.labels.astype(np.uint8 if most < 256 else np.uint16)


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """The probability of each class for an image.

    Attributes:
        scores: ``(C,)`` float32, whose sum is 1.
        classes: Names of all classes.
    """

    scores: np.ndarray
    classes: tuple[str, ...]

    @property
    def label(self) -> int:
        """The most probable class, counted from 0."""
        return int(self.scores.argmax())

    @property
    def name(self) -> str:
        """Name of the most probable class."""
        return _names(np.array([self.label]), self.classes)[0]

    @property
    def score(self) -> float:
        """Its probability."""
        return float(self.scores[self.label])

    def top(self, number: int = 5) -> list[tuple[str, float]]:
        """Name and probability of the most probable classes, best first.

        Args:
            number: Number of classes, at most.
        """
        best = np.argsort(-self.scores, kind='stable')[:number]
        return list(zip(_names(best, self.classes), self.scores[best].tolist(), strict=True))


def _warn_not_finite(numbers: str, outcome: str) -> None:
    warnings.warn(
        f'The network gives {numbers} that are infinite or not a number, so {outcome}. Fix: deploy the checkpoint '
        'again in another precision, such as --precision fp32 or bf16.',
        stacklevel=4,
    )


def class_scores(outputs: Mapping[str, np.ndarray], classes: tuple[str, ...]) -> ClassScores:
    """The class scores of one image.

    Args:
        outputs: ``scores`` (C,).
        classes: Names of all classes.

    Warns:
        If a score is infinite or not a number: the class is then wrong.
    """
    scores = outputs[SCORES].astype(np.float32)
    if not np.isfinite(scores).all():
        _warn_not_finite('scores', 'the class is wrong')
    return ClassScores(scores, classes)


def detections(
    outputs: Mapping[str, np.ndarray], frame: Frame, classes: tuple[str, ...], mask_threshold: float | None
) -> Detections:
    """The objects in one image.

    Args:
        outputs: ``dets`` (K, 5): x1, y1, x2, y2 in pixels of the input, and the score, 0 for an unused row;
            ``labels`` (K,); ``masks`` (K, m, m) if the network has masks.
        frame: Position of the image in the input.
        classes: Names of all classes.
        mask_threshold: Pixels with at least this probability belong to an object. None to skip the masks.

    Warns:
        If a score is infinite or not a number: objects are then missing.
    """
    dets = outputs[DETS]
    if not np.isfinite(dets[:, 4]).all():
        _warn_not_finite('scores', 'objects are missing')
    found = dets[:, 4] > 0
    scale = np.array([*frame.scale, *frame.scale])
    boxes, masks = dets[found, :4], None
    # mmdet multiplies by the inverse here but divides when it pastes masks, which differs in the last bit.
    if mask_threshold is None:
        boxes = boxes * (1 / scale).astype(np.float32)
    else:
        boxes = boxes / scale.astype(np.float32)
        parts = [[Part(cells, box)] for cells, box in zip(outputs[MASKS][found], boxes, strict=True)]
        masks = Masks(parts, frame.original, mask_threshold)
    return Detections(boxes, dets[found, 4], outputs[LABELS][found].astype(np.int64), masks, classes)


def _planes(output: np.ndarray, frame: Frame) -> Iterator[np.ndarray]:
    """The logits of one class after the other at the size of the image (bilinear), without padding."""
    (height, width), size = frame.resized, frame.original
    for plane in output:
        plane = np.ascontiguousarray(plane[:height, :width])
        yield plane if plane.shape == size else cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR)


def logits_at(output: np.ndarray, frame: Frame) -> np.ndarray | None:
    """The logits that :func:`label_map` decides by, ``(C, H, W)`` at the size of the image.

    They take a lot of memory. :func:`label_map` therefore holds one class at a time.

    Args:
        output: As in :func:`label_map`. The result is None if it holds classes and not logits.
        frame: Position of the image in the input.
    """
    return np.stack(list(_planes(output, frame))) if output.dtype.kind == 'f' else None


def nearest_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a label map like PyTorch's ``nearest``: each pixel takes the nearest label to its top left.

    Args:
        labels: ``(h, w)`` integers.
        size: Height and width.

    Returns:
        ``(H, W)`` int64.
    """
    rows, columns = (
        np.minimum((np.arange(new, dtype=np.float32) * np.float32(old / new)).astype(np.int64), old - 1)
        for old, new in zip(labels.shape, size, strict=True)
    )
    return labels[rows[:, None], columns].astype(np.int64)


def label_map(output: np.ndarray, frame: Frame) -> np.ndarray:
    """The class of every pixel of one image.

    Args:
        output: ``(C, H, W)`` float32 logits, or ``(1, H, W)`` integers if the network outputs classes.
        frame: Position of the image in the input.

    Returns:
        ``(H, W)`` int64, at the original size of the image.

    Warns:
        If a logit is infinite or not a number: the class of its pixel is then wrong.
    """
    if output.dtype.kind != 'f':
        height, width = frame.resized
        return nearest_labels(output[0, :height, :width], frame.original)
    best, better = np.full(frame.original, -np.inf, np.float32), np.empty(frame.original, bool)
    labels = np.zeros(frame.original, np.uint8 if len(output) <= 256 else np.uint16)
    own = np.empty_like(labels)
    for label, plane in enumerate(_planes(output, frame)):
        np.greater(plane, best, out=better)
        np.maximum(plane, best, out=best)  # which keeps a NaN
        # labels grow, so the largest one is the last that was better: quicker than to assign where it is
        np.multiply(better, labels.dtype.type(label), out=own)
        np.maximum(labels, own, out=labels)
    if not np.isfinite(best).all():
        _warn_not_finite('logits', 'pixels of the label map are wrong')
    return labels.astype(np.int64)
