"""Turning network outputs into detections and label maps, exactly as mmdet and mmseg do.

Uses NumPy and OpenCV only.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import cv2
import numpy as np

from .preprocess import Frame
from .tensor_names import DETS, LABELS, MASKS


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
        masks: ``(n, H, W)`` bool, or None if the network has no masks.
        classes: Names of all classes.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None
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


def _sampling_weights(first: np.float32, last: np.float32, start: int, stop: int, cells: int) -> np.ndarray:
    """Weight of each cell of a mask for each pixel along one side of its box.

    This is bilinear sampling between the cell centres, with 0 outside the mask, in one direction. The product of both
    directions equals PyTorch's ``grid_sample`` with ``align_corners=False``.

    Args:
        first, last: Edges of the box, pixels.
        start, stop: Range of pixels.
        cells: Side of the mask.

    Returns:
        ``(stop - start, cells)`` float32.
    """
    pixels = np.arange(start, stop, dtype=np.float32) + np.float32(0.5)
    with np.errstate(divide='ignore', invalid='ignore'):
        across = (pixels - first) / (last - first) * 2 - 1  # from -1 to 1 over the box
    across[~np.isfinite(across)] = 0  # an empty box, handled as in mmdet
    place = ((across + 1) * cells - 1) / 2
    distance = np.abs(place[:, None] - np.arange(cells, dtype=np.float32))
    return np.maximum(1 - distance, 0).astype(np.float32)


def paste_masks(masks: np.ndarray, boxes: np.ndarray, size: tuple[int, int], threshold: float) -> np.ndarray:
    """Paste the masks of boxes into the image, as mmdet's ``FCNMaskHead`` does on a CPU.

    Args:
        masks: ``(n, m, m)`` probabilities.
        boxes: ``(n, 4)``, pixels of the image.
        size: Height and width of the image.
        threshold: Pixels with at least this probability belong to the object.

    Returns:
        ``(n, H, W)`` bool.
    """
    height, width = size
    pasted = np.zeros((len(masks), height, width), dtype=bool)
    for canvas, mask, box in zip(pasted, masks, boxes, strict=True):
        if not np.isfinite(box).all():
            continue
        # the same region as in mmdet: one pixel more than the box on each side
        left, top = (int(max(np.floor(side) - 1, 0)) for side in box[:2])
        right, bottom = (int(min(np.ceil(side) + 1, end)) for side, end in zip(box[2:], (width, height), strict=True))
        if right <= left or bottom <= top:
            continue
        rows = _sampling_weights(box[1], box[3], top, bottom, mask.shape[0])
        columns = _sampling_weights(box[0], box[2], left, right, mask.shape[1])
        canvas[top:bottom, left:right] = rows @ mask @ columns.T >= threshold
    return pasted


def detections(
    outputs: Mapping[str, np.ndarray], frame: Frame, classes: tuple[str, ...], mask_threshold: float | None
) -> Detections:
    """The objects in one image.

    Args:
        outputs: ``dets`` (K, 5): x1, y1, x2, y2 in pixels of the input, and the score, 0 for an unused row;
            ``labels`` (K,); ``masks`` (K, m, m) if the network has masks.
        frame: Position of the image in the input.
        classes: Names of all classes.
        mask_threshold: As in :func:`paste_masks`. None to skip the masks.
    """
    dets = outputs[DETS]
    found = dets[:, 4] > 0
    scale = np.array([*frame.scale, *frame.scale])
    boxes, masks = dets[found, :4], None
    # mmdet multiplies by the inverse here but divides when it pastes masks, which differs in the last bit.
    if mask_threshold is None:
        boxes = boxes * (1 / scale).astype(np.float32)
    else:
        boxes = boxes / scale.astype(np.float32)
        masks = paste_masks(outputs[MASKS][found], boxes, frame.original, mask_threshold)
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
    """
    if output.dtype.kind != 'f':
        height, width = frame.resized
        return nearest_labels(output[0, :height, :width], frame.original)
    best = np.full(frame.original, -np.inf, np.float32)
    labels = np.zeros(frame.original, np.int64)
    for label, plane in enumerate(_planes(output, frame)):
        better = plane > best
        best[better] = plane[better]
        labels[better] = label
    return labels
