"""How far some numbers of an artefact are from PyTorch's."""

import dataclasses
from collections.abc import Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far numbers are from those of a reference.

    Relative differences are taken where the reference is not 0. They and the cosine are None where it is 0 throughout:
    of the shares of pixels in which masks disagree, say, whose reference is that they agree.

    Attributes:
        values: How many numbers were compared.
        max, mean, median: Of the absolute differences; 0 where nothing was compared.
        max_relative, mean_relative, median_relative: Of the absolute differences over the magnitude of the reference.
        cosine: Of the angle between both as vectors, over the numbers that are finite in both: 1 when they point the
            same way, 0 when no numbers are left.
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

        A value that is not finite counts as infinitely different, unless both have the same one.

        Args:
            ours: PyTorch's, any array of numbers.
            theirs: The artefact's, of the same shape.

        Raises:
            ValueError: If the shapes differ.
        """
        if np.shape(ours) != np.shape(theirs):
            raise ValueError(f'PyTorch gives {np.shape(ours)}, the artefact {np.shape(theirs)}')
        ours, theirs = (np.asarray(array, dtype=np.float64).ravel() for array in (ours, theirs))
        if not ours.size:
            return cls()
        with np.errstate(invalid='ignore', over='ignore'):
            gap = np.abs(ours - theirs)
        gap[(ours == theirs) | (np.isnan(ours) & np.isnan(theirs))] = 0.0
        gap[np.isnan(gap)] = np.inf
        absolute = float(gap.max()), float(gap.mean()), float(np.median(gap))
        magnitude = np.abs(ours)
        comparable = magnitude > 0
        if not comparable.any():
            return cls(ours.size, *absolute)
        with np.errstate(invalid='ignore'):
            relative = gap[comparable] / magnitude[comparable]
        relative[np.isnan(relative)] = np.inf  # both are infinite, and differ
        figures = float(relative.max()), float(relative.mean()), float(np.median(relative))
        return cls(ours.size, *absolute, *figures, _cosine(ours, theirs))

    @classmethod
    def over(cls, differences: Iterable['Difference']) -> 'Difference | None':
        """Several comparisons as one: the largest maximum, the mean, the median of the medians, the least cosine."""
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


def _cosine(ours: np.ndarray, theirs: np.ndarray) -> float:
    finite = np.isfinite(ours) & np.isfinite(theirs)
    ours, theirs = ours[finite], theirs[finite]
    lengths = np.linalg.norm(ours) * np.linalg.norm(theirs)
    if lengths == 0:  # also of no numbers
        return 0.0
    return float(np.clip(ours @ theirs / lengths, -1.0, 1.0))
