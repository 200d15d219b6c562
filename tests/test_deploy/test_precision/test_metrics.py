"""One number for the outputs: 0 for the same, and larger the worse they are."""

import numpy as np
import pytest
from onnx import helper

from mmtrtvit.deploy.precision import detection_error, label_disagreement, metric_for, output_error


def outputs(boxes, labels):
    return [dict(dets=np.float32([boxes]), labels=np.int64([labels]))]


BOXES = [[0, 0, 10, 10, 0.9], [20, 20, 30, 30, 0.6], [0, 0, 0, 0, 0]]
REFERENCE = outputs(BOXES, [1, 2, 0])


def test_detections_in_another_order_are_the_same():
    assert detection_error(REFERENCE, REFERENCE) == 0
    assert detection_error(REFERENCE, outputs([BOXES[1], BOXES[0]], [2, 1])) == 0
    assert detection_error(outputs([BOXES[2]], [0]), outputs([BOXES[2]], [0])) == 0


@pytest.mark.parametrize(
    'other, expected',
    [
        (outputs([BOXES[0]], [1]), 0.6 / 1.5),
        (outputs(BOXES, [1, 1, 0]), 1.2 / 2.1),
        (outputs([*BOXES[:2], [50, 50, 60, 60, 0.3]], [1, 2, 0]), 0.3 / 1.8),
        (outputs([[0, 0, 10, 8, 0.8], BOXES[1]], [1, 2]), 0.9 * 0.3 / 1.5),
        (outputs([BOXES[2]], [0]), 1.0),
        (outputs([[np.nan] * 5] * 2, [1, 2]), np.inf),
    ],
    ids=['one fewer', 'label', 'one more', 'moved and less sure', 'none', 'not a number'],
)
def test_differences_count_by_score(other, expected):
    assert detection_error(REFERENCE, other) == pytest.approx(expected, rel=1e-5)


def test_labels_of_logits_and_of_maps():
    logits = np.zeros((1, 2, 2, 2), np.float32)
    logits[0, 1, 0] = 1.0
    other = logits.copy()
    other[0, 1, 1, 1] = 2.0
    assert label_disagreement([dict(output=logits)], [dict(output=other)]) == 0.25
    maps = [dict(output=array.argmax(1)[:, None]) for array in (logits, other)]
    assert label_disagreement(maps[:1], maps[1:]) == 0.25


def test_output_error_is_the_worst_one():
    ours = [dict(a=np.float32([3, 4]), b=np.float32([1, 0]), n=np.int64([7]))]
    theirs = [dict(a=np.float32([3, 4.5]), b=np.float32([1, 0.01]), n=np.int64([8]))]
    assert output_error(ours, ours) == 0
    assert output_error(ours, theirs) == pytest.approx(0.1)
    for bad in (np.float32([3, np.inf]), np.float32([3, 4, 5])):
        assert output_error(ours, [dict(ours[0], a=bad)]) == float('inf')


@pytest.mark.parametrize(
    'names, metric',
    [
        (['dets', 'labels', 'masks'], detection_error),
        (['output'], label_disagreement),
        (['stride4', 'stride8'], output_error),
    ],
)
def test_the_metric_fits_the_outputs(graph_of, names, metric):
    nodes = [helper.make_node('Abs', ['x'], [name]) for name in names]
    assert metric_for(graph_of(nodes, {}, outputs=names)) is metric


def test_masks_count_as_much_as_boxes():
    masks = np.zeros((1, 2, 4, 4), np.float32)
    masks[:, :, :2] = 0.9
    (found,) = REFERENCE
    ours = [dict(found, masks=masks)]
    assert detection_error(ours, [dict(found, masks=masks - 0.1)]) == 0  # the same pixels are above 0.5
    half = masks.copy()
    half[:, :, 0] = 0.2
    assert detection_error(ours, [dict(found, masks=half)]) == pytest.approx(0.25)
    assert detection_error(ours, [dict(found, masks=np.full_like(masks, np.nan))]) == np.inf


def test_labels_made_of_no_numbers_are_no_labels():
    logits = np.zeros((1, 3, 4, 4), np.float32)
    logits[:, 0] = 1
    assert label_disagreement([dict(output=logits)], [dict(output=np.full_like(logits, np.nan))]) == np.inf
    assert label_disagreement([dict(output=logits)], [dict(output=logits)]) == 0
