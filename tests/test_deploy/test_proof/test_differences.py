"""How far apart two arrays are, by figures worked out by hand and by definitions."""

import dataclasses
import math

import numpy as np
import pytest

from mmtrtvit.deploy.proof import differences
from mmtrtvit.deploy.proof.differences import Difference


def test_by_hand():
    found = Difference.of([[1.0, 2.0], [0.0, -4.0]], [[1.0, 2.5], [0.25, -3.0]])
    assert dataclasses.asdict(found) == pytest.approx(
        dict(
            values=4,
            max=1.0,
            mean=1.75 / 4,
            median=0.375,
            max_relative=0.25,
            mean_relative=0.5 / 3,  # where PyTorch has 0 there is no relative difference
            median_relative=0.25,
            cosine=(1 + 5 + 12) / math.sqrt(21 * (1 + 6.25 + 0.0625 + 9)),
        )
    )


def test_the_same_and_the_opposite():
    values = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    same = Difference.of(values, values.copy())
    assert same.cosine == pytest.approx(1) and same.max == same.max_relative == same.mean_relative == 0
    opposite = Difference.of(values, -values)
    assert opposite.cosine == pytest.approx(-1) and opposite.median_relative == pytest.approx(2)
    assert Difference.of([1.0, 0.0], [0.0, 1.0]).cosine == 0


def test_values_that_are_not_finite():
    for other in (np.nan, np.inf, -np.inf):
        found = Difference.of([1.0, 2.0, 3.0], [1.0, 2.0, other])
        assert found.max == found.max_relative == math.inf and found.median == 0
        assert found.cosine == pytest.approx(1)  # of what is finite
        assert Difference.of([1.0, other], [1.0, other]).max == 0
        assert Difference.of([1.0, other], [1.0, 2.0]).max == math.inf
    assert Difference.of([1.0, np.inf], [1.0, -np.inf]).max_relative == math.inf
    assert Difference.of([1.0, 2.0], [np.nan, np.nan]).cosine == 0


def test_nothing_and_zeros():
    assert Difference.of([], []) == Difference() and Difference().values == 0
    for other in ([0.0, 0.0], [0.0, 1.0]):  # nothing to relate to
        found = Difference.of([0.0, 0.0], other)
        assert found.max == other[1] and found.max_relative is found.mean_relative is found.cosine is None
    with pytest.raises(ValueError, match=r'PyTorch gives \(2,\), the artefact \(1, 2\)'):
        Difference.of([1.0, 2.0], [[1.0, 2.0]])


def test_large_integers_are_compared_exactly():
    assert Difference.of(np.array([2**31]), np.array([2**31 + 1])).max == 1


def test_over_several():
    one = Difference.of([1.0, 1.0], [1.0, 2.0])
    other = Difference.of([1.0] * 6, [1.5] * 6)
    found = Difference.over([one, other, Difference(), Difference.of([0.0], [0.0])])
    assert (found.values, found.max, found.cosine) == (9, 1.0, one.cosine)
    assert found.mean_relative == pytest.approx(0.5) and found.median_relative == pytest.approx(0.5)
    assert found.mean == pytest.approx(4 / 9) and found.median == pytest.approx(0.5)
    assert Difference.over([]) is None
    assert Difference.over([Difference.of([0.0], [1.0])]).cosine is None


def test_many_values_are_compared_in_blocks(monkeypatch):
    generator = np.random.default_rng(0)
    ours = generator.normal(size=(7, 11, 13)).astype(np.float32)
    theirs = ours + generator.normal(scale=1e-3, size=ours.shape).astype(np.float32)
    whole = Difference.of(ours, theirs)
    monkeypatch.setattr(differences, 'BLOCK', 100)
    parts = Difference.of(ours, theirs)
    for name, value in vars(whole).items():
        assert getattr(parts, name) == pytest.approx(value, rel=0.3 if 'median' in name else 1e-9), name
