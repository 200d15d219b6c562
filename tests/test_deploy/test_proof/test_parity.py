"""Two sets of detections are compared by what they are, and every kind of difference counts."""

import dataclasses

import numpy as np
import pytest

from mmtrtvit.deploy import Segmented, compare_detections, compare_label_maps
from mmtrtvit.deploy.proof.detection_parity import ATTEMPTS
from mmtrtvit.deploy.proof.differences import Difference
from mmtrtvit.deploy.proof.tolerance import Tolerance
from mmtrtvit.runtime import Detections


def instances(boxes, scores, labels=None, masks=None):
    boxes, scores = np.reshape(boxes, (-1, 4)).astype(np.float32), np.asarray(scores, np.float32)
    labels = np.zeros(len(scores), np.int64) if labels is None else np.asarray(labels)
    return Detections(boxes, scores, labels, masks, ())


BOXES = [[0, 0, 100, 100], [200, 0, 300, 100], [0, 200, 100, 300]]
SCORES = [0.9, 0.6, 0.3]


def masks_of(count):
    masks = np.zeros((count, 20, 20), bool)
    masks[:, :10] = True
    return masks


def reference():
    return instances(BOXES, SCORES, [0, 1, 2], masks_of(3))


def test_the_same_in_another_order():
    order = [2, 0, 1]
    other = instances([BOXES[i] for i in order], [SCORES[i] for i in order], [2, 0, 1], masks_of(3))
    parity = compare_detections([(reference(), other), (reference(), reference())])
    assert (parity.images, parity.detections, parity.same, parity.extra) == (2, 6, 6, 0)
    assert parity.passed and parity.boxes.max == parity.scores.max == parity.labels.max == parity.masks.max == 0
    assert parity.to_dict()['passed'] is True and parity.to_dict()['tolerance']['iou'] == 0.99


def change(**values):
    other = reference()
    for name, value in values.items():
        getattr(other, name)[0] = value
    return other


@pytest.mark.parametrize(
    'other, same, extra',
    [
        (change(boxes=[0, 0, 100, 102]), 2, 0),
        (change(scores=0.898), 2, 0),
        (change(labels=5), 2, 1),
        (change(boxes=[400, 400, 500, 500]), 2, 1),
        (instances(BOXES[1:], SCORES[1:], [1, 2]), 2, 0),
        (instances([*BOXES, [400, 400, 410, 410]], [*SCORES, 0.2], [0, 1, 2, 3]), 3, 1),
        (instances([*BOXES, BOXES[0]], [*SCORES, 0.89], [0, 1, 2, 0]), 3, 1),
        (instances([], []), 0, 0),
    ],
    ids=['box', 'score', 'label', 'place', 'one fewer', 'one more', 'one twice', 'none'],
)
def test_every_difference_counts(other, same, extra):
    parity = compare_detections([(reference(), other)])
    assert (parity.detections, parity.same, parity.extra) == (3, same, extra)
    assert not parity.passed and parity.to_dict()['passed'] is False


def test_sizes_of_the_differences():
    other = change(boxes=[0.25, 0, 100, 100.5], scores=0.9004, masks=~masks_of(1)[0])
    parity = compare_detections([(reference(), other)])
    assert parity.same == 3
    assert parity.boxes.max == pytest.approx(0.5) and parity.boxes.mean == pytest.approx(0.75 / 12)
    assert parity.scores.max == pytest.approx(4e-4, abs=1e-6)
    assert parity.masks.max == 1.0 and parity.masks.mean == pytest.approx(1 / 3)
    assert compare_detections([(reference(), change(labels=5))]).labels.max == 1.0


def test_scores_near_the_floor_do_not_flicker():
    above, below = instances(BOXES[:1], [0.0502]), instances(BOXES[:1], [0.0498])
    for pair in ((above, below), (below, above), (instances([], []), above), (below, instances([], []))):
        parity = compare_detections([pair])
        assert parity.passed and parity.extra == 0, pair


def test_nothing_in_both():
    parity = compare_detections([(instances([], []), instances([], []))])
    assert parity.passed and not parity.compared and parity.boxes == Difference()
    assert compare_detections([(reference(), reference())]).compared


@pytest.mark.parametrize('masks', [~masks_of(3), None], ids=['inverted', 'missing'])
def test_masks_have_to_be_those_of_pytorch(masks):
    other = instances(BOXES, SCORES, [0, 1, 2], masks)
    parity = compare_detections([(reference(), other)])
    assert parity.same == 3 and parity.masks.mean == 1.0
    assert not parity.passed


@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'bf16', 'int8'])
def test_masks_may_differ_as_much_as_boxes(precision):
    tolerance = Tolerance.of(precision)
    whole = np.ones((1, 100, 100), bool)
    for missing, passed in ((100 * (1 - tolerance.iou) - 0.5, True), (100 * (1 - tolerance.iou) + 0.5, False)):
        part = whole.flatten()
        part[: round(100 * missing)] = False
        pair = [instances(BOXES[:1], [0.9], [0], masks) for masks in (whole, part.reshape(whole.shape))]
        assert compare_detections([tuple(pair)], tolerance).passed is passed


def test_values_of_the_same_detections_are_compared():
    moved = instances([[0, 0, 100, 101], *BOXES[1:]], [0.9, 0.6, 0.27], [0, 1, 2], masks_of(3))
    parity = compare_detections([(reference(), moved)])
    assert parity.boxes.values == 12 and parity.boxes.max == 1
    assert parity.boxes.max_relative == pytest.approx(0.01)
    assert parity.scores.values == 3 and parity.scores.max_relative == pytest.approx(0.1, rel=1e-5)
    assert parity.scores.mean == pytest.approx(0.01, rel=1e-5) and 0.99 < parity.scores.cosine < 1
    assert parity.masks.cosine is parity.labels.max_relative is None  # their reference is that nothing differs


def test_one_in_a_thousand_may_differ():
    boxes = [[20 * i, 0, 20 * i + 10, 10] for i in range(1000)]
    ours, theirs = instances(boxes, [0.5] * 1000), instances(boxes[1:], [0.5] * 999)
    assert compare_detections([(ours, theirs)]).passed
    theirs = instances(boxes[2:], [0.5] * 998)
    assert not compare_detections([(ours, theirs)]).passed


def labelled(labels, logits=None):
    return Segmented(np.asarray(labels), None if logits is None else np.asarray(logits, np.float32))


def test_label_maps_are_counted_by_class():
    ours = labelled([[0, 0, 1], [1, 3, 3]])
    theirs = labelled([[0, 0, 1], [1, 3, 5]])
    parity = compare_label_maps([(ours, theirs), (ours, ours)])
    assert (parity.images, parity.pixels, parity.same, parity.logits) == (2, 12, 11, None)
    assert not parity.passed and parity.to_dict()['passed'] is False
    counts = {label: (c.pytorch, c.artefact, c.both) for label, c in parity.classes.items()}
    assert counts == {0: (4, 4, 4), 1: (4, 4, 4), 3: (4, 3, 3), 5: (0, 1, 0)}
    assert parity.to_dict()['classes'][5] == {'pytorch': 0, 'artefact': 1, 'both': 0}


def test_images_of_different_size_and_no_images():
    pairs = [(labelled([[0, 1]]), labelled([[0, 1]])), (labelled([[2] * 5] * 7), labelled([[2] * 5] * 7))]
    parity = compare_label_maps(pairs)
    assert parity.passed and parity.pixels == 37 and parity.classes[2].both == 35
    assert compare_label_maps([]).passed


def test_one_pixel_in_a_thousand_may_differ():
    ours = np.zeros((40, 50), np.int64)
    for differing, passed in ((2, True), (3, False)):
        theirs = ours.copy()
        theirs[0, :differing] = 1
        assert compare_label_maps([(labelled(ours), labelled(theirs))]).passed is passed


def test_logits_are_compared_where_both_have_them():
    with_logits = labelled([[0, 1]], [[[1.0, 2.0]], [[0.0, 4.0]]])
    other = labelled([[0, 1]], [[[1.0, 2.0]], [[0.0, 3.0]]])
    parity = compare_label_maps([(with_logits, other), (with_logits, labelled([[0, 1]]))])
    assert parity.logits.values == 4 and parity.logits.max == 1.0 and parity.logits.max_relative == 0.25
    assert parity.logits.cosine < 1 and parity.to_dict()['logits']['median'] == 0
    assert parity.summary == '4 of 4 pixels are of the same class'


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_logits_that_are_not_finite_fail_whatever_the_class(value):
    labels = [[0, 0], [0, 0]]
    logits = np.stack([np.ones((2, 2)), np.zeros((2, 2))])
    ours, theirs = labelled(labels, logits), labelled(labels, np.full_like(logits, value))
    parity = compare_label_maps([(ours, theirs)], Tolerance.of('int8'))
    assert parity.agreement == 1 and parity.not_finite == 8 and parity.logits.cosine == 0
    assert not parity.passed and compare_label_maps([(ours, ours)]).passed
    assert parity.reference_not_finite == 0
    assert compare_label_maps([(theirs, theirs)]).reference_not_finite == 8


def test_median_of_the_differences():
    ours = instances([[30 * i, 0, 30 * i + 20, 20] for i in range(3)], [0.5, 0.5, 0.5])
    shifts = np.repeat([[0.0], [0.05], [0.1]], 4, axis=1)
    theirs = instances(ours.boxes + shifts, [0.5] * 3)
    parity = compare_detections([(ours, theirs)])
    assert parity.boxes.median == pytest.approx(0.05, abs=1e-5) and parity.to_dict()['boxes']['median'] > 0


class Asked:
    """PyTorch asked again: it gives each of some results in turn, and counts."""

    def __init__(self, *results):
        self.results, self.calls = results, []

    def __call__(self, place, attempt):
        self.calls.append((place, attempt))
        return self.results[attempt % len(self.results)]


def test_a_detection_that_pytorch_loses_by_rounding_is_a_tie():
    ours, fewer = reference(), instances(BOXES[:2], SCORES[:2], [0, 1], masks_of(2))
    same = (ours, ours)
    asked = Asked(ours, fewer)
    parity = compare_detections([same, (ours, fewer)], again=asked)
    assert (parity.detections, parity.same, parity.ties, parity.extra) == (6, 5, 1, 0) and parity.passed
    assert asked.calls == [(1, 0), (1, 1)], 'only the image that differs, until it is explained'
    asked = Asked(ours)
    parity = compare_detections([same, (ours, fewer)], again=asked)
    assert (parity.same, parity.ties) == (5, 0) and not parity.passed and len(asked.calls) == ATTEMPTS
    assert not compare_detections([same, (ours, fewer)]).passed


def test_a_detection_that_pytorch_finds_by_rounding_is_a_tie():
    ours = reference()
    more = instances([*BOXES, [400, 400, 500, 500]], [*SCORES, 0.2], [0, 1, 2, 3], masks_of(4))
    for found, ties in ((more, True), (ours, False)):
        parity = compare_detections([(ours, more)], again=Asked(found))
        assert (parity.same, parity.ties, parity.extra) == (3, 0, 0 if ties else 1) and parity.passed is ties


def test_another_box_is_a_tie_only_if_pytorch_gives_that_very_box():
    ours = reference()
    other, third = change(boxes=[0, 0, 100, 120]), change(boxes=[0, 0, 100, 150])
    parity = compare_detections([(ours, other)], again=Asked(ours, other))
    assert (parity.same, parity.ties) == (2, 1) and parity.passed
    assert parity.boxes.max == parity.masks.max == 0, 'a tie is not a difference'
    parity = compare_detections([(ours, other)], again=Asked(third))  # unsure, but of another box
    assert (parity.same, parity.ties) == (2, 0) and not parity.passed and parity.boxes.max == 20
    relabelled = change(labels=5)
    assert compare_detections([(ours, relabelled)], again=Asked(third)).extra == 1
    assert compare_detections([(ours, relabelled)], again=Asked(relabelled)).passed


def test_ties_may_be_explained_by_different_attempts():
    ours, lost = reference(), instances(BOXES[1:], SCORES[1:], [1, 2], masks_of(2))
    moved = change(boxes=[0, 200, 100, 330])
    moved = dataclasses.replace(lost, boxes=np.array([BOXES[1], [0, 200, 100, 330]], np.float32))
    near = dataclasses.replace(ours, boxes=np.array([*BOXES[:2], [0, 200, 100, 330]], np.float32))
    many = [(ours, ours)] * 10
    parity = compare_detections([*many, (ours, moved)], again=Asked(lost, near))
    assert (parity.same, parity.ties, parity.extra) == (31, 2, 0) and not parity.failures


def test_too_many_ties_leave_it_undecided():
    boxes = [[300 * i, 0, 300 * i + 100, 100] for i in range(100)]
    ours = instances(boxes, [0.5] * 100)
    for lost, undecided in ((2, False), (3, True)):
        theirs = instances(boxes[lost:], [0.5] * (100 - lost))
        parity = compare_detections([(ours, theirs)], again=Asked(theirs))
        assert (parity.same, parity.ties) == (100 - lost, lost) and not parity.failures
        assert parity.passed is not undecided
        assert [str(doubt) for doubt in parity.doubts] == (
            ['too many ties: 3 of 100 detections depend on the rounding errors of PyTorch itself, limit 2%']
            if undecided
            else []
        )
    theirs = instances(boxes[26:], [0.5] * 74)
    asked = Asked(theirs)
    parity = compare_detections([(ours, theirs)], again=asked)
    assert not asked.calls and parity.failures, 'so many are no coincidence'


def test_agreement_above_a_usable_score():
    parity = compare_detections([(reference(), change(labels=5))])
    assert (parity.usable, parity.usable_same) == (2, 1)  # 0.9 and 0.6; the score of the third is 0.3
    assert parity.to_dict()['usable_score'] == 0.3
    assert parity.summary == f'{parity.same} of 3 detections are the same, 1 of 2 above 0.3'


def test_a_box_without_area_is_itself():
    line = [[10, 50, 60, 50], [0, 0, 0, 0]]
    assert compare_detections([(instances(line, [0.9, 0.8]), instances(line, [0.9, 0.8]))]).same == 2
    moved = compare_detections([(instances(line, [0.9, 0.8]), instances([[10, 50, 61, 50], line[1]], [0.9, 0.8]))])
    assert (moved.same, moved.extra) == (1, 1) and not moved.passed


def test_a_tie_may_cost_the_last_place_where_the_number_is_limited():
    row = [[300 * i, 0, 300 * i + 100, 100] for i in range(200)]
    ours = instances(row, [0.9] * 199 + [0.1])
    moved = [[0, 10, 100, 110], *row[1:199], [0, 60, 100, 160]]  # kept beside the other box of the tie
    theirs = instances(moved, [0.9] * 199 + [0.5])
    parity = compare_detections([(ours, theirs)], again=Asked(theirs))
    assert (parity.same, parity.ties, parity.extra) == (198, 2, 0) and parity.passed
    parity = compare_detections([(ours, theirs)], again=Asked(ours))
    assert (parity.same, parity.ties, parity.extra) == (198, 0, 1) and not parity.passed


@pytest.mark.parametrize('precision', ['fp16', 'bf16', 'int8'])
def test_other_precisions_have_more_room(precision):
    tolerance = Tolerance.of(precision)
    other = change(scores=0.9 - 0.9 * tolerance.score)
    assert not compare_detections([(reference(), other)]).passed
    parity = compare_detections([(reference(), other)], tolerance)
    assert parity.passed and parity.to_dict()['tolerance']['score'] == tolerance.score
    beyond = change(scores=0.9 - 1.1 * tolerance.score)
    assert compare_detections([(reference(), beyond)], tolerance).same == 2
    ours, theirs = np.zeros((100, 100), np.int64), np.zeros((100, 100), np.int64)
    theirs.reshape(-1)[: round((1 - tolerance.matched) * 1e4)] = 1
    pair = [(labelled(ours), labelled(theirs))]
    assert compare_label_maps(pair, tolerance).passed and not compare_label_maps(pair).passed
    assert compare_label_maps(pair, tolerance).to_dict()['agreement'] == pytest.approx(tolerance.matched)


def test_failures_name_value_and_limit():
    masks = dataclasses.replace(reference(), masks=~masks_of(3))
    (failure,) = compare_detections([(reference(), masks)]).failures
    assert str(failure) == 'masks differ: in 100.00% of their pixels on average, limit 1%'
    fewer = instances(BOXES[:1], SCORES[:1], [0], masks_of(1))
    more = instances([*BOXES, [400, 400, 410, 410]], [*SCORES, 0.2], range(4), masks_of(4))
    (failure,) = compare_detections([(reference(), fewer)]).failures
    assert str(failure).startswith('what it finds differs from PyTorch: 1 of 3 detections are the same, 0 are ties, ')
    assert 'limit 99.9% the same' in str(failure)
    (failure,) = compare_detections([(reference(), more)]).failures
    assert str(failure).startswith('it finds more than PyTorch: 1 detections') and failure.limit == '0.1%'
    (failure,) = compare_label_maps([(labelled([[0, 1]]), labelled([[0, 2]]))]).failures
    assert '1 of 2 pixels' in str(failure) and failure.limit == '99.9%'


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_detections_of_pytorch_that_are_not_finite_are_counted(value):
    box, score = change(boxes=[0, 0, 100, value]), change(scores=value)
    for ours in (box, score):
        assert compare_detections([(ours, ours)]).reference_not_finite == 1
    assert compare_detections([(reference(), box)]).reference_not_finite == 0
    assert not compare_detections([(reference(), box)]).passed
