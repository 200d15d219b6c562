"""How far apart two arrays are."""

import dataclasses
from collections.abc import Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class OutputDifference:
    """How an output of an artefact differs from PyTorch's.

    Relative differences are taken where PyTorch's value is not 0.

    Attributes:
        values: How many values were compared.
        max_absolute, mean_absolute, median_absolute: Of the absolute differences.
        max_relative, mean_relative, median_relative: Of the absolute differences, divided by PyTorch's magnitude.
        cosine: Of the angle between both as vectors, over the values that are finite in both; 1 when they point the
            same way, 0 when no values are left.
    """

    values: int
    max_absolute: float
    mean_absolute: float
    median_absolute: float
    max_relative: float
    mean_relative: float
    median_relative: float
    cosine: float

    @classmethod
    def of(cls, ours, theirs) -> 'OutputDifference':
        """Compare two arrays.

        A value that is not finite counts as infinitely different, unless both have the same one.

        Args:
            ours: PyTorch's, any array of numbers.
            theirs: The artefact's, of the same shape.

        Raises:
            ValueError: If the shapes differ.
        """
        ours, theirs = (np.asarray(array, dtype=np.float64).ravel() for array in _same_shape(ours, theirs))
        if not ours.size:
            return cls(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
        same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
        with np.errstate(invalid='ignore', over='ignore'):
            absolute = np.where(same, 0.0, np.abs(ours - theirs))
        absolute[np.isnan(absolute)] = np.inf
        magnitude = np.abs(ours)
        comparable = magnitude > 0
        with np.errstate(invalid='ignore'):
            relative = np.where(same, 0.0, absolute / np.where(comparable, magnitude, 1.0))[comparable]
        relative[np.isnan(relative)] = np.inf
        return cls(ours.size, *_summary(absolute), *_summary(relative), _cosine(ours, theirs))

    @classmethod
    def over(cls, differences: Iterable['OutputDifference']) -> 'OutputDifference | None':
        """Of several comparisons one: the largest maximum, the mean, the median of the medians, the least cosine."""
        given = [difference for difference in differences if difference.values]
        if not given:
            return None
        weights = np.array([difference.values for difference in given], np.float64)

        def column(name: str) -> np.ndarray:
            return np.array([getattr(difference, name) for difference in given])

        found = {}
        for kind in ('absolute', 'relative'):
            found[f'max_{kind}'] = float(column(f'max_{kind}').max())
            found[f'mean_{kind}'] = float(np.average(column(f'mean_{kind}'), weights=weights))
            found[f'median_{kind}'] = float(np.median(column(f'median_{kind}')))
        return cls(values=int(weights.sum()), cosine=float(column('cosine').min()), **found)


def _same_shape(ours, theirs) -> tuple[np.ndarray, np.ndarray]:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if ours.shape != theirs.shape:
        raise ValueError(f'PyTorch gives {ours.shape}, the artefact {theirs.shape}')
    return ours, theirs


def _summary(values: np.ndarray) -> tuple[float, float, float]:
    if not values.size:
        return 0.0, 0.0, 0.0
    return float(values.max()), float(values.mean()), float(np.median(values))


def _cosine(ours: np.ndarray, theirs: np.ndarray) -> float:
    finite = np.isfinite(ours) & np.isfinite(theirs)
    ours, theirs = ours[finite], theirs[finite]
    if not ours.size:
        return 0.0
    lengths = np.linalg.norm(ours) * np.linalg.norm(theirs)
    if lengths == 0:
        return float(not ours.any() and not theirs.any())
    return float(np.clip(ours @ theirs / lengths, -1.0, 1.0))
