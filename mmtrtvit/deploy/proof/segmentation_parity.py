"""Comparison of the label maps and logits of an artefact with PyTorch's."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from .differences import Difference
from .tolerance import EXACT, Failure, Tolerance


@dataclasses.dataclass(frozen=True)
class Segmented:
    """The output of a segmentor for an image.

    Attributes:
        labels: ``(H, W)``, the class of each pixel.
        logits: ``(C, H, W)``, from which the classes were chosen; None if the network outputs classes.
    """

    labels: np.ndarray
    logits: np.ndarray | None = None


@dataclasses.dataclass
class ClassPixels:
    """Number of pixels of a class: in PyTorch's label maps, in the artefact's, and in both at the same place."""

    pytorch: int = 0
    artefact: int = 0
    both: int = 0


@dataclasses.dataclass
class SegmentationParity:
    """Comparison of the label maps of an artefact with PyTorch's.

    Attributes:
        images: Images compared.
        pixels: Pixels compared.
        same: Pixels with the same class.
        classes: Class to its pixel counts, for the classes that occur.
        logits: Difference of the logits at the size of the image; None if the artefact has no logits.
        tolerance: The largest differences that count as the same.
        not_finite: Number of logits that are infinite or NaN in the artefact and finite in PyTorch. The label map does
            not show them.
        reference_not_finite: Number of PyTorch logits that are infinite or NaN.
    """

    images: int
    pixels: int
    same: int
    classes: dict[int, ClassPixels]
    logits: Difference | None
    tolerance: Tolerance = EXACT
    not_finite: int = 0
    reference_not_finite: int = 0

    @property
    def compared(self) -> bool:
        """True if at least one pixel was compared."""
        return self.pixels > 0

    @property
    def agreement(self) -> float:
        """Share of the pixels with the same class."""
        return self.same / self.pixels if self.pixels else 1.0

    @property
    def summary(self) -> str:
        """Agreement in one line."""
        return f'{self.same} of {self.pixels} pixels are of the same class'

    @property
    def failures(self) -> list[Failure]:
        """The criteria that the artefact does not meet."""
        found = []
        if self.agreement < self.tolerance.matched:
            value = f'{self.same} of {self.pixels} pixels are of the same class ({self.agreement:.3%})'
            found.append(Failure('what it finds differs from PyTorch', value, f'{self.tolerance.matched:.1%}'))
        if self.not_finite:
            found.append(Failure('logits are infinite or not a number', f'{self.not_finite} of them', '0'))
        return found

    @property
    def doubts(self) -> list[Failure]:
        """Criteria that this comparison leaves open: none, as pixels are many."""
        return []

    @property
    def passed(self) -> bool:
        """True if the label maps are the same within the tolerance."""
        return not self.failures

    def to_dict(self) -> dict:
        """The comparison as plain data, with the verdict."""
        return {**dataclasses.asdict(self), 'agreement': self.agreement, 'passed': self.passed}


def compare_label_maps(
    pairs: Iterable[tuple[Segmented, Segmented]], tolerance: Tolerance = EXACT
) -> SegmentationParity:
    """Compare the artefact's label maps with PyTorch's, pixel by pixel.

    Args:
        pairs: PyTorch's output and the artefact's for each image. Logits are compared if both have them.
        tolerance: The largest differences that count as the same.
    """
    parity = SegmentationParity(0, 0, 0, {}, None, tolerance)
    logits = []
    for ours, theirs in pairs:
        equal = ours.labels == theirs.labels
        parity.images += 1
        parity.pixels += equal.size
        parity.same += int(equal.sum())
        counted = dict(pytorch=ours.labels, artefact=theirs.labels, both=ours.labels[equal])
        for side, labels in counted.items():
            counts = np.bincount(labels.ravel())
            for label in np.flatnonzero(counts).tolist():
                pixels = parity.classes.setdefault(label, ClassPixels())
                setattr(pixels, side, getattr(pixels, side) + int(counts[label]))
        if ours.logits is not None:
            finite = np.isfinite(ours.logits)
            parity.reference_not_finite += int((~finite).sum())
            if theirs.logits is not None:
                logits.append(Difference.of(ours.logits, theirs.logits))
                parity.not_finite += int((finite & ~np.isfinite(theirs.logits)).sum())
    parity.classes = dict(sorted(parity.classes.items()))
    parity.logits = Difference.over(logits)
    return parity
