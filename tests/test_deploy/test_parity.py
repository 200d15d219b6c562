"""Two sets of detections are compared by what they are, and every kind of difference counts."""

import pytest
import torch
from mmengine.structures import InstanceData

from mmtrtvit.deploy import compare_detections


def instances(boxes, scores, labels=None, masks=None):
    found = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(scores, dtype=torch.float32),
        labels=torch.tensor(labels if labels is not None else [0] * len(scores)),
    )
    if masks is not None:
        found.masks = masks
    return found


BOXES = [[0, 0, 100, 100], [200, 0, 300, 100], [0, 200, 100, 300]]
SCORES = [0.9, 0.6, 0.3]


def masks_of(count):
    masks = torch.zeros(count, 20, 20, dtype=torch.bool)
    masks[:, :10] = True
    return masks


def reference():
    return instances(BOXES, SCORES, [0, 1, 2], masks_of(3))


def test_the_same_in_another_order():
    order = [2, 0, 1]
    other = instances([BOXES[i] for i in order], [SCORES[i] for i in order], [2, 0, 1], masks_of(3).numpy())
    parity = compare_detections([(reference(), other), (reference(), reference())])
    assert (parity.images, parity.detections, parity.same, parity.extra) == (2, 6, 6, 0)
    assert parity.passed and parity.boxes.max == parity.scores.max == parity.labels.max == parity.masks.max == 0
    assert parity.to_dict()['passed'] is True and parity.to_dict()['tolerances']['iou'] == 0.99


def change(**values):
    other = reference()
    for name, value in values.items():
        tensor = getattr(other, name).clone()
        tensor[0] = torch.as_tensor(value, dtype=tensor.dtype)
        setattr(other, name, tensor)
    return other


@pytest.mark.parametrize(
    'other, same, extra',
    [
        (change(bboxes=[0, 0, 100, 102]), 2, 0),
        (change(scores=0.898), 2, 0),
        (change(labels=5), 2, 1),
        (change(bboxes=[400, 400, 500, 500]), 2, 1),
        (reference()[1:], 2, 0),
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
    other = change(bboxes=[0.25, 0, 100, 100.5], scores=0.9004, masks=~masks_of(1)[0])
    parity = compare_detections([(reference(), other)])
    assert parity.passed
    assert parity.boxes.max == pytest.approx(0.5) and parity.boxes.mean == pytest.approx(0.5 / 3)
    assert parity.scores.max == pytest.approx(4e-4, abs=1e-6)
    assert parity.masks.max == 1.0 and parity.masks.mean == pytest.approx(1 / 3)
    assert compare_detections([(reference(), change(labels=5))]).labels.max == 1.0


def test_scores_near_the_floor_do_not_flicker():
    above, below = instances(BOXES[:1], [0.0502]), instances(BOXES[:1], [0.0498])
    for pair in ((above, below), (below, above), (instances([], []), above), (below, instances([], []))):
        parity = compare_detections([pair])
        assert parity.passed and parity.extra == 0, pair


def test_nothing_in_both():
    assert compare_detections([(instances([], []), instances([], []))]).passed


def test_one_in_a_thousand_may_differ():
    boxes = [[20 * i, 0, 20 * i + 10, 10] for i in range(1000)]
    ours, theirs = instances(boxes, [0.5] * 1000), instances(boxes[1:], [0.5] * 999)
    assert compare_detections([(ours, theirs)]).passed
    assert not compare_detections([(ours, theirs[1:])]).passed
