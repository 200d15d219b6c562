"""The error of the outputs of a converted graph as one number: 0 is perfect, larger is worse."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx

from ...runtime.postprocess import Detections
from ...runtime.tensor_names import DETS, LABELS, MASKS, OUTPUT
from .matching import match

Outputs = Sequence[Mapping[str, np.ndarray]]
"""For each feed: output name to array."""

Metric = Callable[[Outputs, Outputs], float]
"""Computes the error from the outputs of the float32 graph and of the converted graph."""


def _lost(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """True if the converted graph gives another shape, or infinite values or NaN where the reference is finite."""
    return ours.shape != theirs.shape or not np.isfinite(theirs[np.isfinite(ours)]).all()


def output_error(reference: Outputs, converted: Outputs) -> float:
    """The largest relative error (in the L2 norm) of any floating-point output for any feed.

    Infinite if the converted graph gives another shape, or values that are not finite. It is not suitable for
    detections, which change places when two scores are nearly equal: see :func:`detection_error`.
    """
    worst = 0.0
    for ours, theirs in zip(reference, converted, strict=True):
        for name, array in ours.items():
            if array.dtype.kind != 'f':
                continue
            finite = np.isfinite(array)
            if _lost(array, theirs[name]):
                return float('inf')
            true, gap = (part[finite].astype(np.float64) for part in (array, array - theirs[name]))
            if gap.any():
                norm = np.linalg.norm(true)
                worst = max(worst, float(np.linalg.norm(gap) / norm) if norm else float('inf'))
    return worst


def label_disagreement(reference: Outputs, converted: Outputs, name: str = OUTPUT) -> float:
    """Share of the pixels with another label, for logits ``(B, C, H, W)`` or label maps ``(B, 1, H, W)``.

    Infinite if logits are not finite, even though labels could be derived from them.
    """

    def labels(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        array = outputs[name]
        return array.argmax(1) if array.dtype.kind == 'f' else array[:, 0]

    wrong = total = 0
    for ours, theirs in zip(reference, converted, strict=True):
        if _lost(ours[name], theirs[name]):
            return float('inf')
        expected = labels(ours)
        wrong += int((expected != labels(theirs)).sum())
        total += expected.size
    return wrong / total


def _detections(outputs: Mapping[str, np.ndarray], image: int) -> Detections:
    dets = outputs[DETS][image].astype(np.float64)
    masks = outputs[MASKS][image] > 0.5 if MASKS in outputs else None
    return Detections(dets[:, :4], dets[:, 4], outputs[LABELS][image], masks, classes=())


def detection_error(reference: Outputs, converted: Outputs) -> float:
    """Difference of detections from the reference, weighted by their scores: 0 if all are the same, 1 if none is.

    Each detection of the reference, best first, is matched to the free one of its class that overlaps it most. A pair
    costs ``1 - IoU`` plus the difference of the scores, at most 1. A detection without a partner, on either side, costs
    1. The weights reduce the effect of detections with low scores, which come and go with the last bit. With masks, a
    pair costs the larger of the cost above and the share of mask pixels that differ.

    Infinite if values are not finite.

    Args:
        reference, converted: ``dets (B, K, 5)``, x1 y1 x2 y2 score, ``labels (B, K)``, and optionally
            ``masks (B, K, H, W)``, from 0 to 1.
    """
    error = weight = 0.0
    for ours, theirs in zip(reference, converted, strict=True):
        if not all(np.isfinite(theirs[name]).all() for name in (DETS, MASKS) if name in ours):
            return float('inf')
        for image in range(len(ours[DETS])):
            reference_found, found = _detections(ours, image), _detections(theirs, image)
            free = found.scores > 0
            for pair in match(reference_found, found, free=free):
                score, wrong = float(reference_found.scores[pair.ours]), 1.0
                if pair.theirs is not None:
                    wrong = min(1.0, 1 - pair.iou + abs(score - found.scores[pair.theirs]))
                    if reference_found.masks is not None:
                        differing = reference_found.masks[pair.ours] != found.masks[pair.theirs]
                        wrong = max(wrong, float(differing.mean()))
                error += wrong * score
                weight += score
            error += float(found.scores[free].sum())
            weight += float(found.scores[free].sum())
    return error / weight if weight else 0.0


def metric_for(model: onnx.ModelProto) -> Metric:
    """The metric that suits the outputs of a graph: detections, label maps, or plain tensors."""
    outputs = {value.name for value in model.graph.output}
    if {DETS, LABELS} <= outputs:
        return detection_error
    return label_disagreement if outputs == {OUTPUT} else output_error
