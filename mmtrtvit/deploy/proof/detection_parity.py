"""Comparison of the detections of an artefact with PyTorch's."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ...runtime.postprocess import Detections
from ..precision.matching import match
from .differences import Difference
from .tolerance import EXACT, Failure, Tolerance

SCORE_FLOOR = 0.05
"""Detections below this score are ignored: they come and go with the last bit of a score."""

USABLE_SCORE = 0.3
"""Agreement is also counted above this score, since applications rarely use detections below it."""

MOST_TIES = 0.02
"""Largest share of the detections that may be ties; beyond it, too little is compared."""

MOST_JUDGED = 0.25
"""Larger shares of different detections are no coincidence: PyTorch is not asked for ties then, unless they are few."""

FEW = 5
"""As many different detections are always judged."""

ATTEMPTS = 16
"""Number of times that PyTorch is asked again for an image whose detections differ."""

SAME_BOX = 0.01
"""Boxes whose corners are closer than this, pixels, are the same box."""

Again = Callable[[int, int], Detections]
"""PyTorch's detections of an image (by its place) with other rounding errors (by the number of the attempt)."""


@dataclasses.dataclass
class DetectionParity:
    """Comparison of the detections of an artefact with PyTorch's.

    Attributes:
        images: Images compared.
        detections: PyTorch's detections above :data:`SCORE_FLOOR`.
        same: Detections that the artefact also has.
        ties: Other detections that PyTorch itself finds or not depending on its rounding errors, as the artefact does:
            a score or an overlap is so close to the limit of a selection that float32 cannot tell the side.
        extra: Detections of the artefact without a match in PyTorch, except for ties.
        usable, usable_same: ``detections`` and ``same`` above :data:`USABLE_SCORE`.
        boxes: Difference of box coordinates, pixels of the original image.
        scores: Difference of scores.
        labels: Difference of labels: 1 if the best overlapping box has another label, else 0.
        masks: Share of pixels in which the masks disagree, relative to their union; 1 if the artefact has no mask.
        tolerance: The largest differences that count as the same.
        reference_not_finite: Number of PyTorch detections whose box or score is infinite or NaN.

    Ties are left out of the four differences.
    """

    images: int
    detections: int
    same: int
    ties: int
    extra: int
    usable: int = 0
    usable_same: int = 0
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
    def summary(self) -> str:
        """Agreement in one line."""
        return (
            f'{self.same} of {self.detections} detections are the same, {self.usable_same} of {self.usable} above '
            f'{USABLE_SCORE}'
        )

    @property
    def failures(self) -> list[Failure]:
        """The criteria that the artefact does not meet."""
        matched, masks, found = self.tolerance.matched, 1 - self.tolerance.iou, []
        if self.same + self.ties < matched * self.detections:
            value = f'{self.same} of {self.detections} detections are the same, {self.ties} are ties'
            limit = f'{matched:.1%} the same, ties counted in'
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
    def doubts(self) -> list[Failure]:
        """Criteria that this comparison leaves open."""
        if self.ties <= max(1, MOST_TIES * self.detections):
            return []
        value = f'{self.ties} of {self.detections} detections depend on the rounding errors of PyTorch itself'
        return [Failure('too many ties', value, f'{MOST_TIES:.0%}')]

    @property
    def passed(self) -> bool:
        """True if the detections are the same within the tolerance."""
        return not self.failures and not self.doubts

    def to_dict(self) -> dict:
        """The comparison as plain data, with the verdict."""
        limits = dict(score_floor=SCORE_FLOOR, usable_score=USABLE_SCORE)
        return {**dataclasses.asdict(self), 'passed': self.passed, **limits}


@dataclasses.dataclass
class _Pair:
    """A detection of PyTorch (``ours``) and its partner in the artefact; either may be missing.

    Attributes:
        same: Whether they are the same within the tolerance.
        relabelled: See :class:`~mmtrtvit.deploy.precision.matching.Match`.
        masks: Share of the pixels in which the masks disagree; None without masks.
        tie: Whether rounding errors explain the difference.
    """

    ours: int | None
    theirs: int | None
    same: bool = False
    relabelled: bool = False
    masks: float | None = None
    tie: bool = False


@dataclasses.dataclass
class _Image:
    """Both results for an image, without masks, and their pairs."""

    ours: Detections
    theirs: Detections
    pairs: list[_Pair]

    @property
    def different(self) -> list[_Pair]:
        return [pair for pair in self.pairs if not pair.same and not pair.tie]


def _disagreement(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Share of the pixels in which two masks disagree, relative to their union."""
    either = np.count_nonzero(ours | theirs)
    return np.count_nonzero(ours ^ theirs) / either if either else 0.0


def _compare_image(ours: Detections, theirs: Detections, tolerance: Tolerance) -> _Image:
    """Match both results for an image.

    Each of PyTorch's detections, best first, is matched to the free detection of the artefact that has the same label
    and overlaps it most.
    """
    # an artefact's detection just below the floor may match one just above it
    free = theirs.scores > SCORE_FLOOR - tolerance.score
    pairs = []
    for found in match(ours, theirs, free=free, above=SCORE_FLOOR, same_box=SAME_BOX):
        pair = _Pair(found.ours, found.theirs, relabelled=found.relabelled)
        if found.theirs is not None:
            gap = abs(float(ours.scores[found.ours]) - float(theirs.scores[found.theirs]))
            pair.same = found.iou > tolerance.iou and gap < tolerance.score
            if ours.masks is not None:
                missing = theirs.masks is None
                pair.masks = 1.0 if missing else _disagreement(ours.masks[found.ours], theirs.masks[found.theirs])
        pairs.append(pair)
    left = free & (theirs.scores > SCORE_FLOOR + tolerance.score)
    if len(ours) == len(theirs) and len(ours):
        # both are cut off at the same number, so boxes below PyTorch's worst score cannot be judged
        left &= theirs.scores >= ours.scores.min()
    pairs += [_Pair(None, int(index)) for index in np.flatnonzero(left)]
    return _Image(*(dataclasses.replace(found, masks=None) for found in (ours, theirs)), pairs)


def _has(found: Detections, wanted: Detections, index: int, tolerance: Tolerance) -> bool:
    """True if ``found`` has the same detection as ``wanted`` has at ``index``."""
    one = dataclasses.replace(
        wanted, **{name: getattr(wanted, name)[index : index + 1] for name in ('boxes', 'scores', 'labels')}
    )
    (best,) = match(one, found, free=np.ones(len(found), dtype=bool), same_box=SAME_BOX, above=-np.inf)
    if best.theirs is None:
        return False
    gap = abs(float(one.scores[0]) - float(found.scores[best.theirs]))
    return best.iou > tolerance.iou and gap < tolerance.score


def _find_ties(images: Sequence[_Image], again: Again, tolerance: Tolerance) -> None:
    """Mark the different pairs that rounding errors explain.

    A detection of PyTorch that the artefact lacks is a tie if PyTorch lacks it, too, in an attempt. One that only the
    artefact has is a tie if PyTorch finds it in an attempt. Where both have a detection of their own, both conditions
    have to hold.
    """
    total = sum(pair.ours is not None for image in images for pair in image.pairs)
    unexplained = 0
    if sum(len(image.different) for image in images) > max(FEW, MOST_JUDGED * total):
        return
    for place, image in enumerate(images):
        open_sides = {
            (number, side)
            for number, pair in enumerate(image.pairs)
            if not pair.same
            for side in ('ours', 'theirs')
            if getattr(pair, side) is not None
        }
        for attempt in range(ATTEMPTS):
            if not open_sides:
                break
            found = again(place, attempt)
            for number, side in list(open_sides):
                there = _has(found, getattr(image, side), getattr(image.pairs[number], side), tolerance)
                if there == (side == 'theirs'):
                    open_sides.remove((number, side))
        unsettled = {number for number, _ in open_sides}
        for number, pair in enumerate(image.pairs):
            pair.tie = not pair.same and number not in unsettled
        unexplained += len(unsettled)
        if unexplained > 2 * (1 - tolerance.matched) * total:  # it fails, whatever the other images say
            return


def compare_detections(
    pairs: Iterable[tuple[Detections, Detections]], tolerance: Tolerance = EXACT, again: Again | None = None
) -> DetectionParity:
    """Compare the artefact's detections with PyTorch's, image by image.

    Args:
        pairs: PyTorch's detections and the artefact's, for each image.
        tolerance: The largest differences that count as the same.
        again: Finds PyTorch's detections with other rounding errors. It is called for images that differ only, to tell
            ties from differences. Without it, nothing is a tie.
    """
    parity = DetectionParity(0, 0, 0, 0, 0, tolerance=tolerance)
    images = []
    for ours, theirs in pairs:
        parity.reference_not_finite += int((~np.isfinite(ours.boxes).all(axis=1) | ~np.isfinite(ours.scores)).sum())
        images.append(_compare_image(ours, theirs, tolerance))
    if again is not None:
        _find_ties(images, again, tolerance)
    parity.images = len(images)
    boxes, scores, labels, masks = [], [], [], []
    for image in images:
        for pair in image.pairs:
            if pair.ours is None:
                parity.extra += not pair.tie
                continue
            usable = bool(image.ours.scores[pair.ours] > USABLE_SCORE)
            parity.detections += 1
            parity.same += pair.same
            parity.ties += pair.tie
            parity.usable += usable
            parity.usable_same += usable and pair.same
            if pair.tie:
                continue
            labels.append(float(pair.relabelled))
            if pair.theirs is not None:
                boxes.append((image.ours.boxes[pair.ours], image.theirs.boxes[pair.theirs]))
                scores.append((image.ours.scores[pair.ours], image.theirs.scores[pair.theirs]))
            if pair.masks is not None:
                masks.append(pair.masks)
    parity.boxes, parity.scores = (_difference(values) for values in (boxes, scores))
    parity.labels, parity.masks = (Difference.of(np.zeros(len(values)), values) for values in (labels, masks))
    return parity


def _difference(pairs: Sequence[tuple]) -> Difference:
    return Difference.of(*map(np.stack, zip(*pairs, strict=True))) if pairs else Difference()
