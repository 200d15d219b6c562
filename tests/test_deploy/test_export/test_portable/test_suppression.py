"""Suppression as a fixed point: equal to going through the boxes one by one, and honest when it is not settled."""

import itertools

import pytest
import torch

from mmtrtvit.deploy.export.portable import suppress, suppressed_by
from mmtrtvit.deploy.export.portable.suppression import overlaps


def greedy(boxes, valid, threshold, classes=None):
    """Non-maximum suppression as it is told: boxes in order, in float64, with Python's own loops."""
    boxes, kept = boxes.double(), []
    for j in range(len(boxes)):
        if not valid[j]:
            continue
        for i in kept:
            if classes is not None and classes[i] != classes[j]:
                continue
            sides = (torch.minimum(boxes[i, 2:], boxes[j, 2:]) - torch.maximum(boxes[i, :2], boxes[j, :2])).clamp(min=0)
            shared = sides.prod()
            union = (boxes[i, 2:] - boxes[i, :2]).prod() + (boxes[j, 2:] - boxes[j, :2]).prod() - shared
            if union > 0 and shared / union > threshold:
                break
        else:
            kept.append(j)
    return torch.tensor([j in kept for j in range(len(boxes))])


def random_boxes(n, spread, generator):
    centre = torch.rand(n, 2, generator=generator) * spread
    side = torch.exp(torch.randn(n, 2, generator=generator) * 0.4) * 40
    return torch.cat([centre - side / 2, centre + side / 2], dim=1)


@pytest.mark.parametrize('n, spread', list(itertools.product([1, 2, 30, 120], [10, 60, 400])))
@pytest.mark.parametrize('threshold', [0.3, 0.7])
def test_equal_to_going_through_the_boxes(n, spread, threshold):
    generator = torch.Generator().manual_seed(n + spread)
    for _ in range(3):
        boxes = random_boxes(n, spread, generator)
        valid = torch.rand(n, generator=generator) > 0.1
        classes = torch.randint(0, 3, (n,), generator=generator)
        for label in (None, classes):
            result = suppress(boxes, valid, threshold, label)
            assert result.certain.all()
            assert torch.equal(result.keep, greedy(boxes, valid, threshold, label))


def test_equal_to_mmcv():
    from mmcv.ops import nms

    boxes = random_boxes(300, 200, torch.Generator().manual_seed(0))
    scores = torch.linspace(1, 0.1, 300)
    kept = nms(boxes, scores, 0.5)[1]
    result = suppress(boxes, torch.ones(300, dtype=torch.bool), 0.5)
    assert result.certain.all() and torch.equal(torch.where(result.keep)[0], kept.sort().values)


def chain(length):
    """Boxes of which each overlaps its neighbours only: 0 removes 1, so 2 stays, which removes 3, and so on."""
    left = torch.arange(length) * 4.0
    return torch.stack([left, torch.zeros(length), left + 10, torch.full((length,), 10.0)], dim=1)


@pytest.mark.parametrize('length', [2, 7, 24])
def test_chains_up_to_the_number_of_sweeps_are_exact(length):
    boxes, valid = chain(length), torch.ones(length, dtype=torch.bool)
    result = suppress(boxes, valid, 0.3, sweeps=length)
    assert result.certain.all()
    assert torch.equal(result.keep, torch.arange(length) % 2 == 0)
    assert torch.equal(result.keep, greedy(boxes, valid, 0.3))


def test_a_longer_chain_is_not_settled_and_says_so():
    boxes, valid = chain(40), torch.ones(40, dtype=torch.bool)
    result = suppress(boxes, valid, 0.3, sweeps=12)
    assert not result.certain.all()
    # the boxes that the sweeps have reached are right already
    assert result.certain.tolist() == [True] * 12 + [False] * 28
    assert torch.equal(result.keep[:12], greedy(boxes, valid, 0.3)[:12])


@pytest.mark.parametrize('sweeps', [1, 2, 3, 5, 8])
def test_settled_is_never_said_of_a_wrong_result(sweeps):
    generator = torch.Generator().manual_seed(5)
    said = []
    for _ in range(40):
        boxes = random_boxes(80, 60, generator)
        valid = torch.ones(80, dtype=torch.bool)
        result = suppress(boxes, valid, 0.4, sweeps=sweeps)
        assert torch.equal(result.keep[result.certain], greedy(boxes, valid, 0.4)[result.certain])
        said.append(bool(result.certain.all()))
    assert sweeps != 8 or all(said)


def test_equal_boxes_leave_the_first():
    boxes = torch.tensor([[0.0, 0, 10, 10]] * 5)
    assert suppress(boxes, torch.ones(5, dtype=torch.bool), 0.5).keep.tolist() == [True] + [False] * 4


def test_nothing_takes_part():
    result = suppress(torch.rand(4, 4), torch.zeros(4, dtype=torch.bool), 0.5)
    assert result.certain.all() and not result.keep.any()


def test_no_boxes_at_all():
    result = suppress(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.bool), 0.5)
    assert result.keep.shape == (2, 0) and result.certain.all()


def test_boxes_without_area_and_of_one_pixel():
    boxes = torch.tensor([[5.0, 5, 5, 5], [5.0, 5, 5, 5], [5, 5, 6, 6], [5, 5, 6, 6], [0, 0, 20, 20]])
    valid = torch.ones(5, dtype=torch.bool)
    assert suppress(boxes, valid, 0.5).keep.tolist() == [True, True, True, False, True]


def test_no_overlap_is_nan():
    """Engines with relaxed rules for NaN may take any side of a comparison with it."""
    boxes = torch.tensor([[5.0, 5, 5, 5], [5.0, 5, 5, 5], [0, 0, 0, 0], [5, 5, 5, 9], [0, 0, 20, 20]])
    found = overlaps(boxes, boxes)
    assert found.isfinite().all() and found.diagonal().tolist() == [0, 0, 0, 0, 1]


def test_better_boxes_suppress_those_of_another_block():
    boxes = random_boxes(80, 60, torch.Generator().manual_seed(3))
    classes = torch.arange(80) % 2
    for labels in (None, classes):
        kept = greedy(boxes, torch.ones(80, dtype=torch.bool), 0.4, labels)
        first = torch.where(kept[:40])[0]
        over = suppressed_by(
            boxes[first],
            boxes[40:],
            0.4,
            labels if labels is None else labels[first],
            labels if labels is None else labels[40:],
        )
        assert over.any() and not (over & kept[40:]).any()
        rest = suppress(boxes[40:], ~over, 0.4, labels if labels is None else labels[40:])
        assert torch.equal(rest.keep, kept[40:])


def test_exactly_at_the_threshold_is_kept():
    # 10 x 10 and 10 x 5 inside it: IoU is exactly 0.5, and only more than the threshold suppresses
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5]])
    assert suppress(boxes, torch.ones(2, dtype=torch.bool), 0.5).keep.all()


def test_images_of_a_batch_do_not_see_each_other():
    generator = torch.Generator().manual_seed(2)
    boxes = torch.stack([random_boxes(50, 40, generator) for _ in range(3)])
    valid = torch.rand(3, 50, generator=generator) > 0.2
    together = suppress(boxes, valid, 0.5)
    for i in range(3):
        assert torch.equal(together.keep[i], suppress(boxes[i], valid[i], 0.5).keep)
    assert together.certain.shape == together.keep.shape
