"""Class scores are compared class by class, and every kind of difference counts."""

import numpy as np
import pytest

from mmtrtvit.deploy import ClassScores, compare_scores
from mmtrtvit.deploy.proof.proof import Proof
from mmtrtvit.deploy.proof.resampling import _accuracy
from mmtrtvit.deploy.proof.tolerance import Tolerance


def scores(*values):
    return ClassScores(np.array(values, np.float32), ('ant', 'bee', 'cat'))


def test_the_same_scores():
    parity = compare_scores([(scores(0.7, 0.2, 0.1), scores(0.7, 0.2, 0.1))] * 3)
    assert (parity.images, parity.same, parity.ties, parity.scores.max) == (3, 3, 0, 0)
    assert parity.passed and parity.to_dict()['passed'] is True


@pytest.mark.parametrize('other', [(0.2, 0.7, 0.1), (0.69, 0.21, 0.1)])
def test_other_scores_fail_even_with_the_same_class(other):
    parity = compare_scores([(scores(0.7, 0.2, 0.1), scores(*other))])
    assert not parity.passed
    assert parity.scores.max == pytest.approx(abs(0.7 - other[0]), abs=1e-6)
    assert '0 of 1 images' in str(parity.failures[0])


def test_two_classes_with_nearly_the_same_score_are_a_tie():
    parity = compare_scores([(scores(0.45001, 0.44999, 0.1), scores(0.44999, 0.45001, 0.1))])
    assert (parity.same, parity.ties) == (0, 1)
    assert parity.passed


def test_an_untrained_network_proves_nothing():
    pairs = [(scores(0.3334, 0.3333, 0.3333), scores(0.3333, 0.3334, 0.3333))] * 4
    assert Proof('it', 'fp32', compare_scores(pairs), {}, None, []).verdict == 'UNDECIDED'


def test_scores_that_are_not_finite_are_counted_on_their_side():
    parity = compare_scores([(scores(0.7, 0.2, 0.1), scores(np.nan, 0.2, 0.1))])
    assert (parity.not_finite, parity.reference_not_finite) == (1, 0)
    assert not parity.passed
    parity = compare_scores([(scores(np.nan, 0.2, 0.1), scores(0.7, 0.2, 0.1))])
    assert (parity.not_finite, parity.reference_not_finite) == (0, 1)
    assert Proof('it', 'fp32', parity, {}, None, []).verdict == 'FAIL'


def test_nothing_compared_is_no_pass():
    assert Proof('it', 'fp32', compare_scores([]), {}, None, []).verdict == 'FAIL'


def test_a_lower_precision_has_its_own_tolerance():
    pairs = [(scores(0.7, 0.2, 0.1), scores(0.695, 0.205, 0.1))]
    assert not compare_scores(pairs).passed
    assert compare_scores(pairs, Tolerance.of('fp16')).passed


def test_another_class_is_another_result_in_a_lower_precision():
    pairs = [(scores(0.45, 0.44, 0.11), scores(0.44, 0.45, 0.11))]
    parity = compare_scores(pairs, Tolerance.of('int8'))
    assert (parity.same, parity.ties, parity.passed) == (0, 0, False)


def test_accuracy_is_resampled_by_image():
    results = [dict(pred_score=np.array(s), gt_label=np.array([0])) for s in ([0.9, 0.1], [0.2, 0.8])]
    assert _accuracy(results)(np.array([[2, 0], [1, 1], [0, 2]])).tolist() == [100, 50, 0]
