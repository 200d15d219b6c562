"""Matching the detections of two networks."""

import dataclasses

import numpy as np

from ...runtime.boxes import overlaps
from ...runtime.postprocess import Detections

PARTNER_IOU = 0.5
"""Two detections of one class with at least this IoU are the same object."""


@dataclasses.dataclass(frozen=True)
class Match:
    """A detection of the reference and its partner.

    Attributes:
        ours: Index of the detection in the reference.
        theirs: Index of the partner in the other detections; None without a partner.
        iou: IoU of the two boxes; 0 without a partner.
        relabelled: Whether it has no partner, but overlaps a free detection of another class.
    """

    ours: int
    theirs: int | None
    iou: float = 0.0
    relabelled: bool = False


def match(
    ours: Detections, theirs: Detections, *, free: np.ndarray, above: float = 0.0, same_box: float = 0.0
) -> list[Match]:
    """Match each detection of the reference, best first, to the free one of its class that overlaps it most.

    Args:
        ours: The reference.
        theirs: The other detections.
        free: Whether each of the other detections may be matched. Matched ones are cleared in place.
        above: Only detections of the reference with a higher score are matched.
        same_box: Boxes whose corners are closer than this, pixels, count as equal. Boxes without area, such as boxes
            outside of an image that were clipped to its border, have no IoU even with themselves.

    Returns:
        One match for each detection of the reference above the score, in the order of the scores.
    """
    found = []
    for index in np.argsort(-ours.scores, kind='stable'):
        if not ours.scores[index] > above:
            break
        overlap = overlaps(ours.boxes[index], theirs.boxes)
        with np.errstate(invalid='ignore'):
            overlap[np.abs(theirs.boxes - ours.boxes[index]).max(axis=1, initial=0.0) < same_box] = 1.0
        candidates = np.where(free & (theirs.labels == ours.labels[index]), overlap, -1.0)
        partner = int(candidates.argmax()) if candidates.size else -1
        if partner < 0 or candidates[partner] < PARTNER_IOU:
            found.append(Match(int(index), None, relabelled=bool((free & (overlap > PARTNER_IOU)).any())))
            continue
        free[partner] = False
        found.append(Match(int(index), partner, float(candidates[partner])))
    return found
