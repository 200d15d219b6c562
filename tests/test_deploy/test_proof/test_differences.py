"""How far apart two arrays are, by figures worked out by hand and by definitions."""

import dataclasses
import math

import numpy as np
import pytest

from mmtrtvit.deploy.proof.differences import OutputDifference


def test_by_hand():
    found = OutputDifference.of([[1.0, 2.0], [0.0, -4.0]], [[1.0, 2.5], [0.25, -3.0]])
    assert dataclasses.asdict(found) == pytest.approx(
        dict(
            values=4,
            max_absolute=1.0,
            mean_absolute=1.75 / 4,
            median_absolute=0.375,
            max_relative=0.25,
            mean_relative=0.5 / 3,  # where PyTorch has 0 there is no relative difference
            median_relative=0.25,
            cosine=(1 + 5 + 12) / math.sqrt(21 * (1 + 6.25 + 0.0625 + 9)),
        )
    )


def test_the_same_and_the_opposite():
    values = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    same = OutputDifference.of(values, values.copy())
    assert same.cosine == pytest.approx(1) and same.max_absolute == same.max_relative == same.mean_relative == 0
    opposite = OutputDifference.of(values, -values)
    assert opposite.cosine == pytest.approx(-1) and opposite.median_relative == pytest.approx(2)
    assert OutputDifference.of([1.0, 0.0], [0.0, 1.0]).cosine == 0


def test_values_that_are_not_finite():
    for other in (np.nan, np.inf, -np.inf):
        found = OutputDifference.of([1.0, 2.0, 3.0], [1.0, 2.0, other])
        assert found.max_absolute == found.max_relative == math.inf and found.median_absolute == 0
        assert found.cosine == pytest.approx(1)  # of what is finite
        assert OutputDifference.of([1.0, other], [1.0, other]).max_absolute == 0


def test_nothing_and_zeros():
    assert OutputDifference.of([], []).cosine == 1 and OutputDifference.of([], []).values == 0
    assert OutputDifference.of([0.0, 0.0], [0.0, 0.0]).cosine == 1
    assert OutputDifference.of([0.0, 0.0], [0.0, 1.0]).cosine == 0
    with pytest.raises(ValueError, match=r'PyTorch gives \(2,\), the artefact \(1, 2\)'):
        OutputDifference.of([1.0, 2.0], [[1.0, 2.0]])


def test_large_integers_are_compared_exactly():
    assert OutputDifference.of(np.array([2**31]), np.array([2**31 + 1])).max_absolute == 1


def test_over_several():
    one = OutputDifference.of([1.0, 1.0], [1.0, 2.0])
    other = OutputDifference.of([1.0] * 6, [1.5] * 6)
    found = OutputDifference.over([one, other, OutputDifference.of([], [])])
    assert (found.values, found.max_absolute, found.cosine) == (8, 1.0, one.cosine)
    assert found.mean_absolute == pytest.approx(0.5) and found.median_absolute == pytest.approx(0.5)
    assert OutputDifference.over([]) is None
