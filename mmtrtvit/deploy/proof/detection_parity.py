"""Whether two networks find the same objects, and how far apart they are."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from ...runtime.postprocess import Detections
from ..precision.matching import match, overlaps
from .differences import Difference
from .tolerance import EXACT, Failure, Tolerance

SCORE_FLOOR = 0.05
"""Detections below this score do not count: they come and go with the last bit of a score."""

NEAR_TIE = 1e-5
"""Below this difference of their scores it is chance which of two overlapping boxes suppresses the other."""

MOST_TIES = 0.02
"""Share of the detections that chance may excuse.

Boxes that are wrong throughout, with scores that are right, look like ties as well: but like many.
"""

SAME_BOX = 0.01
"""Boxes whose corners are nearer than this, pixels, are the same box."""


@dataclasses.dataclass
class DetectionParity:
    """How the detections of an artefact compare with PyTorch's.

    Attributes:
        images: Images compared.
        detections: PyTorch's detections above :data:`SCORE_FLOOR`.
        same: Those for which the artefact has the same one.
        ties: Those of the others that may differ because of a near tie: of two overlapping boxes whose scores are the
            same within :data:`NEAR_TIE`, the artefact kept the other one, and with it what overlaps either changed, or
            lost the last place where the number of detections is limited.
        extra: Detections of the artefact that PyTorch has none for.
        boxes: Difference of box coordinates, pixels of the original image.
        scores: Difference of scores.
        labels: Difference of labels: 1 where the best overlapping box has another label, else 0.
        masks: Share of pixels in which the masks disagree, of those in either; 1 where the artefact gives none.
        tolerance: What counts as the same.
        reference_not_finite: Detections of PyTorch whose box or score is infinite or not a number.
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
        """Whether there was anything to compare."""
        return self.detections > 0

    @property
    def failures(self) -> list[Failure]:
        """The criteria that are not met."""
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
        """Whether the two are the same within the tolerance."""
        return not self.failures

    def to_dict(self) -> dict:
        """As plain data, with the verdict."""
        return {**dataclasses.asdict(self), 'passed': self.passed, 'score_floor': SCORE_FLOOR}


def _spread_of_ties(seeds: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Which boxes of a class may differ because a near tie fell the other way.

    A box that is kept in the place of another one suppresses others, which then suppress no more, and so on: whatever
    overlaps a box that is affected may be affected.

    Args:
        seeds: Boxes ``(m, 4)`` of the near ties.
        boxes: ``(n, 4)``, those without partner.

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
    """Share of the pixels in which two masks disagree, of those in either."""
    either = np.count_nonzero(ours | theirs)
    return np.count_nonzero(ours ^ theirs) / either if either else 0.0


def compare_detections(pairs: Iterable[tuple[Detections, Detections]], tolerance: Tolerance = EXACT) -> DetectionParity:
    """Compare the artefact's detections with PyTorch's, image by image.

    Each of PyTorch's detections, best first, takes the artefact's free detection of the same label that overlaps it
    most.

    Args:
        pairs: For each image PyTorch's detections and the artefact's.
        tolerance: What counts as the same.
    """
    parity = DetectionParity(0, 0, 0, 0, 0, tolerance=tolerance)
    boxes, scores, labels, masks = [], [], [], []
    for ours, theirs in pairs:
        parity.images += 1
        parity.reference_not_finite += int((~np.isfinite(ours.boxes).all(axis=1) | ~np.isfinite(ours.scores)).sum())
        # an artefact's detection just below the floor may still be the partner of one just above it
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
            # both are cut off at the same number: below the worst of PyTorch's nothing is known of what it found
            left &= theirs.scores >= ours.scores.min()
            if seeds:  # nor of the artefact's, where a box more of one tie cost another one its place
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
