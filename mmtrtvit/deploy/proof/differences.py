"""Differences between numbers of an artefact and PyTorch's."""

import dataclasses
from collections.abc import Iterable

import numpy as np

BLOCK = 2**20
"""Numbers to compare at a time, and the most that a median is taken of. The logits of an image are tens of millions."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """Summary of the differences between numbers and those of a reference.

    Relative differences are taken where the reference is not 0. They and the cosine are None if the reference is 0
    everywhere. An example is the share of pixels in which masks disagree: its reference is 0.

    Attributes:
        values: Number of values compared.
        max, mean, median: Of the absolute differences; 0 if nothing was compared. With more than :data:`BLOCK` values,
            the median is taken of an evenly spaced subset.
        max_relative, mean_relative, median_relative: Of the absolute differences over the magnitude of the reference.
        cosine: Cosine similarity of both as vectors, over the numbers that are finite in both: 1 for the same
            direction, 0 if no numbers are left.
    """

    values: int = 0
    max: float = 0.0
    mean: float = 0.0
    median: float = 0.0
    max_relative: float | None = None
    mean_relative: float | None = None
    median_relative: float | None = None
    cosine: float | None = None

    @classmethod
    def of(cls, ours, theirs) -> 'Difference':
        """Compare two arrays.

        A value that is not finite counts as infinitely different, unless both arrays have the same one.

        Args:
            ours: PyTorch's array of numbers.
            theirs: The artefact's array, of the same shape.

        Raises:
            ValueError: If the shapes differ.
        """
        if np.shape(ours) != np.shape(theirs):
            raise ValueError(f'PyTorch gives {np.shape(ours)}, the artefact {np.shape(theirs)}')
        ours, theirs = np.ravel(ours), np.ravel(theirs)
        if not ours.size:
            return cls()
        absolute, relative, products = _Figures(), _Figures(), np.zeros(3)
        for start in range(0, ours.size, BLOCK):
            gap, share, product = _compare(ours[start : start + BLOCK], theirs[start : start + BLOCK])
            absolute.add(gap)
            relative.add(share)
            products += product
        every = -(-ours.size // BLOCK)
        gap, share, _ = _compare(ours[::every], theirs[::every])
        found = cls(ours.size, absolute.max, absolute.mean, float(np.median(gap)))
        if not relative.count:
            return found
        return dataclasses.replace(
            found,
            max_relative=relative.max,
            mean_relative=relative.mean,
            median_relative=float(np.median(share)) if share.size else 0.0,
            cosine=_cosine(*products),
        )

    @classmethod
    def over(cls, differences: Iterable['Difference']) -> 'Difference | None':
        """Summarise several comparisons: the largest maximum, the mean, the median of the medians, the least cosine."""
        given = [difference for difference in differences if difference.values]
        if not given:
            return None
        found: dict[str, float] = {}
        for suffix in ('', '_relative'):
            known = [difference for difference in given if getattr(difference, f'max{suffix}') is not None]
            if known:
                column = {name: [getattr(part, f'{name}{suffix}') for part in known] for name in _FIGURES}
                found[f'max{suffix}'] = max(column['max'])
                weights = [part.values for part in known]
                found[f'mean{suffix}'] = float(np.average(column['mean'], weights=weights))
                found[f'median{suffix}'] = float(np.median(column['median']))
        cosines = [difference.cosine for difference in given if difference.cosine is not None]
        values = sum(difference.values for difference in given)
        return cls(values=values, cosine=min(cosines, default=None), **found)


_FIGURES = ('max', 'mean', 'median')


class _Figures:
    """Maximum and mean of numbers that come in blocks."""

    def __init__(self) -> None:
        self.count, self.max, self._sum = 0, 0.0, 0.0

    def add(self, values: np.ndarray) -> None:
        self.count += values.size
        self.max = max(self.max, float(values.max(initial=0.0)))
        self._sum += float(values.sum())

    @property
    def mean(self) -> float:
        return self._sum / self.count


def _compare(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    """Absolute and relative differences, and the products for a cosine: of both, and of each with itself."""
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    with np.errstate(invalid='ignore', over='ignore'):
        gap = np.abs(ours - theirs)
        gap[(ours == theirs) | (np.isnan(ours) & np.isnan(theirs))] = 0.0
        gap[np.isnan(gap)] = np.inf
        magnitude = np.abs(ours)
        comparable = magnitude > 0
        relative = gap[comparable] / magnitude[comparable]
    relative[np.isnan(relative)] = np.inf  # both are infinite with different signs
    finite = np.isfinite(ours) & np.isfinite(theirs)
    if not finite.all():
        ours, theirs = ours[finite], theirs[finite]
    return gap, relative, (float(ours @ theirs), float(ours @ ours), float(theirs @ theirs))


def _cosine(both: float, ours: float, theirs: float) -> float:
    lengths = np.sqrt(ours) * np.sqrt(theirs)
    if lengths == 0:  # also for empty arrays
        return 0.0
    return float(np.clip(both / lengths, -1.0, 1.0))
