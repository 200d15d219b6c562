"""Whether two networks give the pixels of an image the same classes, and how far their logits are apart."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from .differences import Difference
from .tolerance import EXACT, Failure, Tolerance


@dataclasses.dataclass(frozen=True)
class Segmented:
    """What a segmentor gives for an image.

    Attributes:
        labels: ``(H, W)``, the class of each pixel.
        logits: ``(C, H, W)``, what the classes were chosen by; None where the network chooses them itself.
    """

    labels: np.ndarray
    logits: np.ndarray | None = None


@dataclasses.dataclass
class ClassPixels:
    """How many pixels are of one class: in PyTorch's label maps, in the artefact's, and in both at once."""

    pytorch: int = 0
    artefact: int = 0
    both: int = 0


@dataclasses.dataclass
class SegmentationParity:
    """How the label maps of an artefact compare with PyTorch's.

    Attributes:
        images: Images compared.
        pixels: Their pixels.
        same: Pixels of the same class.
        classes: Class to its pixels, for the classes that occur.
        logits: Difference of the logits at the size of the image, None where the artefact gives none.
        tolerance: What counts as the same.
        not_finite: Logits of the artefact that are infinite or not a number where PyTorch's are finite: a class is
            found from them all the same.
        reference_not_finite: Logits of PyTorch that are infinite or not a number.
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
        """Whether there was anything to compare."""
        return self.pixels > 0

    @property
    def agreement(self) -> float:
        """Share of the pixels that are of the same class."""
        return self.same / self.pixels if self.pixels else 1.0

    @property
    def failures(self) -> list[Failure]:
        """The criteria that are not met."""
        found = []
        if self.agreement < self.tolerance.matched:
            value = f'{self.same} of {self.pixels} pixels are of the same class ({self.agreement:.3%})'
            found.append(Failure('what it finds differs from PyTorch', value, f'{self.tolerance.matched:.1%}'))
        if self.not_finite:
            found.append(Failure('logits are infinite or not a number', f'{self.not_finite} of them', '0'))
        return found

    @property
    def passed(self) -> bool:
        """Whether the two are the same within the tolerance."""
        return not self.failures

    def to_dict(self) -> dict:
        """As plain data, with the verdict."""
        return {**dataclasses.asdict(self), 'agreement': self.agreement, 'passed': self.passed}


def compare_label_maps(
    pairs: Iterable[tuple[Segmented, Segmented]], tolerance: Tolerance = EXACT
) -> SegmentationParity:
    """Compare the artefact's label maps with PyTorch's, pixel by pixel.

    Args:
        pairs: For each image what PyTorch and what the artefact gives. Logits are compared where both have them.
        tolerance: What counts as the same.
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
