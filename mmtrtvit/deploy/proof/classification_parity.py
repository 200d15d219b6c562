"""Comparison of the class scores of an artefact with PyTorch's."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from ...runtime.postprocess import ClassScores
from .differences import Difference
from .tolerance import EXACT, Failure, Tolerance

MOST_TIES = 0.02
"""Largest share of the images that may be ties; beyond it, too little is compared."""


@dataclasses.dataclass
class ClassificationParity:
    """Comparison of the class scores of an artefact with PyTorch's.

    Attributes:
        images: Images compared.
        same: Images whose most probable class is the same and whose scores differ by less than the tolerance.
        ties: Other images whose scores differ by less than the tolerance of FP32: two classes have nearly the same
            score. Other precisions have no ties: another class is another result.
        scores: Difference of the scores of all classes.
        tolerance: The largest differences that count as the same.
        not_finite: Number of scores that are infinite or NaN in the artefact and finite in PyTorch.
        reference_not_finite: Number of PyTorch scores that are infinite or NaN.
    """

    images: int
    same: int
    ties: int
    scores: Difference = Difference()
    tolerance: Tolerance = EXACT
    not_finite: int = 0
    reference_not_finite: int = 0

    @property
    def compared(self) -> bool:
        """True if at least one image was compared."""
        return self.images > 0

    @property
    def summary(self) -> str:
        """Agreement in one line."""
        return f'the scores of {self.same + self.ties} of {self.images} images are the same'

    @property
    def failures(self) -> list[Failure]:
        """The criteria that the artefact does not meet."""
        found = []
        if self.same + self.ties < self.tolerance.matched * self.images:
            limit = f'{self.tolerance.matched:.1%}'
            found.append(Failure('what it finds differs from PyTorch', self.summary, limit))
        if self.not_finite:
            found.append(Failure('scores are infinite or not a number', f'{self.not_finite} of them', '0'))
        return found

    @property
    def doubts(self) -> list[Failure]:
        """Criteria that this comparison leaves open.

        Scores that are nearly equal for all classes, as an untrained network gives them, differ by less than any
        tolerance whatever the artefact does.
        """
        if self.ties <= max(1, MOST_TIES * self.images):
            return []
        value = f'two classes of {self.ties} of {self.images} images have nearly the same score'
        return [Failure('too many ties', value, f'{MOST_TIES:.0%}')]

    @property
    def passed(self) -> bool:
        """True if the scores are the same within the tolerance."""
        return not self.failures and not self.doubts

    def to_dict(self) -> dict:
        """The comparison as plain data, with the verdict."""
        return {**dataclasses.asdict(self), 'passed': self.passed}


def compare_scores(
    pairs: Iterable[tuple[ClassScores, ClassScores]], tolerance: Tolerance = EXACT
) -> ClassificationParity:
    """Compare the artefact's class scores with PyTorch's, image by image.

    Args:
        pairs: PyTorch's scores and the artefact's, for each image.
        tolerance: The largest differences that count as the same.
    """
    parity, ours, theirs = ClassificationParity(0, 0, 0, tolerance=tolerance), [], []
    for one, other in pairs:
        near = bool(np.abs(one.scores - other.scores).max() < tolerance.score)  # false for NaN
        parity.images += 1
        parity.same += near and one.label == other.label
        parity.ties += near and one.label != other.label and tolerance == EXACT
        finite = np.isfinite(one.scores)
        parity.reference_not_finite += int((~finite).sum())
        parity.not_finite += int((finite & ~np.isfinite(other.scores)).sum())
        ours.append(one.scores)
        theirs.append(other.scores)
    if ours:
        parity.scores = Difference.of(np.stack(ours), np.stack(theirs))
    return parity
