"""Comparison of the detections of an artefact with PyTorch's."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from ...runtime.postprocess import Detections
from ..precision.matching import match, overlaps
from .differences import Difference
from .tolerance import EXACT, Failure, Tolerance

SCORE_FLOOR = 0.05
"""Detections below this score are ignored: they come and go with the last bit of a score."""

NEAR_TIE = 1e-5
"""If the scores of two overlapping boxes differ by less than this, either may suppress the other by chance."""

MOST_TIES = 0.02
"""Largest share of the detections that ties may explain.

Boxes that are wrong everywhere, with correct scores, also look like ties, but there are many of them.
"""

SAME_BOX = 0.01
"""Boxes whose corners are closer than this, pixels, are the same box."""


@dataclasses.dataclass
class DetectionParity:
    """Comparison of the detections of an artefact with PyTorch's.

    Attributes:
        images: Images compared.
        detections: PyTorch's detections above :data:`SCORE_FLOOR`.
        same: Detections that the artefact also has.
        ties: Other detections that a near tie explains. Of two overlapping boxes with scores equal within
            :data:`NEAR_TIE`, the artefact kept the other one. This may change the boxes that overlap either of them,
            or push out the last one if the number of detections is limited.
        extra: Detections of the artefact without a match in PyTorch.
        boxes: Difference of box coordinates, pixels of the original image.
        scores: Difference of scores.
        labels: Difference of labels: 1 if the best overlapping box has another label, else 0.
        masks: Share of pixels in which the masks disagree, relative to their union; 1 if the artefact has no mask.
        tolerance: The largest differences that count as the same.
        reference_not_finite: Number of PyTorch detections whose box or score is infinite or NaN.
    """

    images: int
    detections: int
    same: int
    ties: int
    extra: int
    boxes: Difference = Difference()
    scores: Difference = Difference()
    labels: Difference = Difference()
    masks: Difference = Difference()
    tolerance: Tolerance = EXACT
    reference_not_finite: int = 0

    @property
    def compared(self) -> bool:
        """True if at least one detection was compared."""
        return self.detections > 0

    @property
    def failures(self) -> list[Failure]:
        """The criteria that the artefact does not meet."""
        matched, masks, found = self.tolerance.matched, 1 - self.tolerance.iou, []
        if self.same + min(self.ties, MOST_TIES * self.detections) < matched * self.detections:
            value = f'{self.same} of {self.detections} detections are the same, {self.ties} near ties'
            limit = f'{matched:.1%} the same, near ties of at most {MOST_TIES:.0%} counted in'
            found.append(Failure('what it finds differs from PyTorch', value, limit))
        if self.extra > (1 - matched) * self.detections:
            value = f'{self.extra} detections that PyTorch has none for, beside {self.detections} that it has'
            found.append(Failure('it finds more than PyTorch', value, f'{1 - matched:.1%}'))
        if self.masks.mean > masks:
            found.append(
                Failure('masks differ', f'in {self.masks.mean:.2%} of their pixels on average', f'{masks:.0%}')
            )
        return found

    @property
    def passed(self) -> bool:
        """True if the detections are the same within the tolerance."""
        return not self.failures

    def to_dict(self) -> dict:
        """The comparison as plain data, with the verdict."""
        return {**dataclasses.asdict(self), 'passed': self.passed, 'score_floor': SCORE_FLOOR}


def _spread_of_ties(seeds: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Find the boxes of a class that may differ because of a near tie.

    If another box is kept, it suppresses others, which then do not suppress any more, and so on. Therefore every box
    that overlaps an affected box may be affected.

    Args:
        seeds: Boxes ``(m, 4)`` of the near ties.
        boxes: Boxes ``(n, 4)`` without a partner.

    Returns:
        ``(n,)`` bool.
    """
    affected = np.zeros(len(boxes), dtype=bool)
    front = seeds
    while len(front):
        reached = ~affected & (overlaps(boxes, front) > 0).any(axis=1)
        affected |= reached
        front = boxes[reached]
    return affected


def _disagreement(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Share of the pixels in which two masks disagree, relative to their union."""
    either = np.count_nonzero(ours | theirs)
    return np.count_nonzero(ours ^ theirs) / either if either else 0.0


def compare_detections(pairs: Iterable[tuple[Detections, Detections]], tolerance: Tolerance = EXACT) -> DetectionParity:
    """Compare the artefact's detections with PyTorch's, image by image.

    Each of PyTorch's detections, best first, is matched to the free detection of the artefact that has the same label
    and overlaps it most.

    Args:
        pairs: PyTorch's detections and the artefact's, for each image.
        tolerance: The largest differences that count as the same.
    """
    parity = DetectionParity(0, 0, 0, 0, 0, tolerance=tolerance)
    boxes, scores, labels, masks = [], [], [], []
    for ours, theirs in pairs:
        parity.images += 1
        parity.reference_not_finite += int((~np.isfinite(ours.boxes).all(axis=1) | ~np.isfinite(ours.scores)).sum())
        # an artefact's detection just below the floor may match one just above it
        free = theirs.scores > SCORE_FLOOR - tolerance.score
        different: list[int] = []
        seeds: dict[int, list[np.ndarray]] = {}
        for pair in match(ours, theirs, free=free, above=SCORE_FLOOR, same_box=SAME_BOX):
            index, partner = pair.ours, pair.theirs
            parity.detections += 1
            labels.append(float(pair.relabelled))
            if partner is None:
                different.append(index)
                continue
            boxes.append((ours.boxes[index], theirs.boxes[partner]))
            scores.append((ours.scores[index], theirs.scores[partner]))
            gap = abs(float(ours.scores[index]) - float(theirs.scores[partner]))
            if pair.iou > tolerance.iou and gap < tolerance.score:
                parity.same += 1
            else:
                different.append(index)
                if gap < NEAR_TIE:
                    seeds.setdefault(int(ours.labels[index]), []).extend([ours.boxes[index], theirs.boxes[partner]])
            if ours.masks is not None:
                missing = theirs.masks is None
                masks.append(1.0 if missing else _disagreement(ours.masks[index], theirs.masks[partner]))
        left = free & (theirs.scores > SCORE_FLOOR + tolerance.score)
        if len(ours) == len(theirs) and len(ours):
            # both are cut off at the same number, so boxes below PyTorch's worst score cannot be judged
            left &= theirs.scores >= ours.scores.min()
            if seeds:  # an extra box of a tie may have pushed out the artefact's last boxes
                pushed = {index for index in different if ours.scores[index] < theirs.scores.min()}
                different = [index for index in different if index not in pushed]
                parity.ties += len(pushed)
        for label, of_label in seeds.items():
            lost = [index for index in different if ours.labels[index] == label]
            (found,) = np.nonzero(left & (theirs.labels == label))
            affected = _spread_of_ties(np.stack(of_label), np.concatenate([ours.boxes[lost], theirs.boxes[found]]))
            parity.ties += int(affected[: len(lost)].sum())
            left[found[affected[len(lost) :]]] = False
        parity.extra += int(left.sum())
    parity.boxes, parity.scores = (_difference(values) for values in (boxes, scores))
    parity.labels, parity.masks = (Difference.of(np.zeros(len(values)), values) for values in (labels, masks))
    return parity


def _difference(pairs: Sequence[tuple]) -> Difference:
    return Difference.of(*map(np.stack, zip(*pairs, strict=True))) if pairs else Difference()
