"""Selection by scores: what mmcv keeps, eagerly and as one ONNX node."""

import numpy as np
import pytest
import torch
from mmcv.ops import batched_nms

from mmtrtvit.deploy.export.rewriters import selection
from mmtrtvit.deploy.export.rewriters.selection import (
    best_after_suppression,
    limit_of,
    nms_scores,
    plain_iou_threshold,
    top_boxes,
)
from mmtrtvit.errors import DeployError

FREE = {'input': {0: 'g', 1: 'n'}, 'input1': {0: 'g', 2: 'n'}}


def random_boxes(count, side=100.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * side
    return torch.cat([corner, corner + 5 + torch.rand(count, 2, generator=generator) * side / 2], dim=1)


def chain(count, step):
    """Boxes of which each overlaps only the next ones: what survives depends on what survived before."""
    left = torch.arange(count) * step
    return torch.stack([left, torch.zeros(count), left + 10, torch.full((count,), 10.0)], dim=1)


def falling(count):
    return torch.linspace(0.9, 0.3, count)


CASES = {
    'random': (random_boxes(300), torch.rand(300, generator=torch.Generator().manual_seed(1))),
    'crowded': (random_boxes(300, side=30), torch.rand(300, generator=torch.Generator().manual_seed(2))),
    'ties': (random_boxes(80, side=30), (torch.arange(80) % 4).float() / 5 + 0.1),
    'all tied': (random_boxes(40, side=30), torch.full((40,), 0.5)),
    'identical': (random_boxes(1).repeat(20, 1), falling(20)),
    'identical and tied': (random_boxes(1).repeat(20, 1), torch.full((20,), 0.5)),
    'chain': (chain(60, 3.0), falling(60)),
    'chain from its end': (chain(60, 3.0), falling(60).flip(0)),
    'chain from its middle': (chain(61, 2.0), 1 - (torch.arange(61) - 30).abs() / 60 - 0.2),
    'just at the threshold': (chain(2, 10 / 3), falling(2)),  # IoU 1/2
    'without an area': (torch.tensor([[5, 5, 5, 9], [5, 5, 5, 9], [0, 0, 10, 10], [4, 6, 4, 6]]).float(), falling(4)),
    'below the threshold': (random_boxes(10), torch.full((10,), 0.01)),
    'at the threshold': (random_boxes(10), torch.full((10,), 0.05)),
    'one': (random_boxes(1), torch.tensor([0.7])),
}
# mmcv takes boxes of the same score in any order; the graph takes the first one first.
TIED = ('ties', 'all tied', 'identical and tied')


def expected_scores(boxes, scores, classes, iou_threshold, score_threshold):
    """Surviving scores (C, N) by mmcv, each class apart."""
    kept = torch.full((classes, len(boxes)), -1.0)
    number, place = torch.where(scores > score_threshold)
    if len(place):
        _, index = batched_nms(
            boxes[place], scores[number, place], number, dict(type='nms', iou_threshold=iou_threshold)
        )
        kept[number[index], place[index]] = scores[number[index], place[index]]
    return kept


def greedy(boxes, scores, iou_threshold, score_threshold):
    """The definition, with the first of several boxes of the same score taken first."""
    kept, out = [], np.full(len(scores), -1, np.float32)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for i in np.argsort(-scores, kind='stable'):
        sides = np.minimum(boxes[i, 2:], boxes[kept, 2:]) - np.maximum(boxes[i, :2], boxes[kept, :2])
        shared = np.prod(np.clip(sides, 0, None), axis=1)
        overlaps = shared > iou_threshold * (area[i] + area[kept] - shared)
        if scores[i] > score_threshold and not overlaps.any():
            kept.append(i)
            out[i] = scores[i]
    return out


@pytest.mark.parametrize('case', CASES)
def test_one_class_as_mmcv(case):
    boxes, scores = CASES[case]
    found = nms_scores(boxes[None], scores[None, None], 0.5, 0.05)
    assert torch.equal(found[0], expected_scores(boxes, scores[None], 1, 0.5, 0.05))


def test_known_survivors():
    boxes = chain(5, 3.0)  # each overlaps its neighbour by 7/13
    assert nms_scores(boxes[None], falling(5)[None, None], 0.5, 0.0)[0, 0].gt(0).tolist() == [True, False] * 2 + [True]
    # a better box below the threshold suppresses nothing
    scores = torch.tensor([0.04, 0.03, 0.02, 0.01, 0.005])
    assert nms_scores(boxes[None], scores[None, None], 0.5, 0.03)[0, 0].gt(0).tolist() == [True] + [False] * 4


def groups_and_classes():
    """Two groups with boxes of their own, three classes that share them."""
    boxes = torch.stack([random_boxes(50, side=25, seed=5), random_boxes(50, side=25, seed=6)])
    scores = torch.rand(2, 3, 50, generator=torch.Generator().manual_seed(7))
    scores[1, 2] = 0.0  # a class of which nothing is left
    return boxes, scores


def test_groups_and_classes_do_not_suppress_each_other():
    boxes, scores = groups_and_classes()
    found = nms_scores(boxes, scores, 0.3, 0.2)
    for group in range(2):
        assert torch.equal(found[group], expected_scores(boxes[group], scores[group], 3, 0.3, 0.2))
    assert (found[1, 2] == -1).all() and (found[0] > 0).any() and (found == -1).any()


def test_exported_graph_keeps_the_same(exported):
    def select(boxes, scores):
        return nms_scores(boxes, scores, 0.5, 0.05)

    graph = exported(select, *groups_and_classes(), dynamic_axes=FREE)
    assert graph.operators['NonMaxSuppression'] == 1
    boxes, scores = groups_and_classes()
    np.testing.assert_array_equal(graph(boxes, scores)[0], select(boxes, scores).numpy())
    for case, (boxes, scores) in CASES.items():
        # another number of groups and of boxes than at the export
        boxes, scores = boxes[None], scores[None, None].repeat(1, 3, 1)
        (found,) = graph(boxes, scores)
        np.testing.assert_array_equal(
            found[0, 2], greedy(boxes[0].numpy(), scores[0, 2].numpy(), 0.5, 0.05), err_msg=case
        )
        if case not in TIED:
            np.testing.assert_array_equal(found, select(boxes, scores).numpy(), err_msg=case)


def test_top_boxes_are_the_best_in_order(rewriting):
    boxes, scores = random_boxes(20).reshape(2, 10, 4), torch.rand(2, 10)
    scores[1, 2:] = -1
    with rewriting():
        dets, index = top_boxes(boxes, scores, 4)
        everything, _ = top_boxes(boxes, scores, 100)
    assert dets.shape == (2, 4, 5) and everything.shape == (2, 10, 5)
    order = scores[0].argsort(descending=True)[:4]
    assert index[0].tolist() == order.tolist()
    assert torch.equal(dets[0], torch.cat([boxes[0, order], scores[0, order, None]], dim=1))
    assert (dets[1, :2, 4] > 0).all() and (dets[1, 2:] == 0).all() and (everything[1, 2:] == 0).all()


def best_of_mmcv(boxes, scores, classes, iou_threshold, score_threshold, k):
    """Rows of box, score and class."""
    (place,) = torch.where(scores > score_threshold)
    dets, index = batched_nms(
        boxes[place], scores[place], classes[place], dict(type='nms', iou_threshold=iou_threshold)
    )
    return torch.cat([dets, classes[place][index, None]], dim=1)[:k]


def assert_best(boxes, scores, classes, k, iou_threshold=0.5):
    """Compare with mmcv where the selection is certain. Returns whether it is, for each image."""
    dets, labels, exact = best_after_suppression(boxes, scores, classes, iou_threshold, 0.05, k)
    assert dets.shape == (len(boxes), k, 5) and labels.shape == (len(boxes), k)
    for image in torch.where(exact > 0)[0]:
        found = torch.cat([dets, labels.unsqueeze(-1)], dim=-1)[image]
        expected = best_of_mmcv(boxes[image], scores[image], classes[image], iou_threshold, 0.05, k)
        assert torch.equal(found[: len(expected)], expected) and not found[len(expected) :, :5].any()
    return exact.tolist()


def crowd(count, side, seed=0, images=2, classes=3):
    """Boxes of which many overlap, with scores above and below the threshold that all differ."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.stack([random_boxes(count, side, seed + image) for image in range(images)])
    scores = torch.stack([torch.randperm(count, generator=generator) for _ in range(images)]) / count
    return boxes, scores, torch.randint(classes, (images, count), generator=generator)


@pytest.mark.parametrize('blocks', [1, 3, 4])
@pytest.mark.parametrize('count, side', [(40, 60), (350, 40)])
def test_best_boxes_block_by_block_are_mmcvs(count, side, blocks, monkeypatch):
    monkeypatch.setattr(selection, 'CANDIDATES', 360)
    monkeypatch.setattr(selection, 'BLOCKS', blocks)
    for seed, k in enumerate((1, 20, 360)):
        assert assert_best(*crowd(count, side, seed), k) == [1, 1]


def test_boxes_beyond_the_first_thousand_count():
    """As of RetinaNet on blood cells, where the hundredth box that survives is the 1130th by its score."""
    left = (torch.arange(3000) // 20) * 12 + torch.rand(3000)
    boxes = torch.stack([left, torch.zeros(3000), left + 10, torch.full((3000,), 10.0)], dim=1)
    scores, classes = torch.linspace(0.9, 0.06, 3000), torch.zeros(3000, dtype=torch.int64)
    assert best_of_mmcv(boxes, scores, classes, 0.5, 0.05, 100)[-1, 4] < scores[1000]
    assert assert_best(boxes[None], scores[None], classes[None], 100) == [1]


def test_the_selection_is_uncertain_where_it_may_differ(monkeypatch):
    boxes, scores, classes = crowd(300, 40)
    few = assert_best(boxes, scores, classes, 200)
    monkeypatch.setattr(selection, 'CANDIDATES', 100)
    assert few == [1, 1] and assert_best(boxes, scores, classes, 200) == [0, 0]
    assert assert_best(boxes, scores, classes, 3) == [1, 1]  # the best three are among the 100


def test_a_long_chain_after_the_last_box_that_counts_does_not_matter():
    long = torch.cat([torch.tensor([[500.0, 0, 510, 10], [600, 0, 610, 10]]), chain(80, 3.0)])
    scores, classes = falling(82)[None], torch.zeros(1, 82, dtype=torch.int64)
    assert assert_best(long[None], scores, classes, 2) == [1]
    assert assert_best(long[None], scores, classes, 82) == [0]
    assert assert_best(long[None, :20], scores[:, :20], classes[:, :20], 82) == [1]


@pytest.mark.parametrize('name', ['nms_pre', 'max_per_img'])
@pytest.mark.parametrize('portable', [False, True])
def test_heads_without_a_limit_are_refused(name, portable):
    for settings in ({}, {name: -1}, {name: 0}, {name: None}):
        with pytest.raises(DeployError, match=f'test_cfg.{name}=.* cannot be exported: it sets no limit'):
            limit_of(settings, name, portable)
    assert limit_of({name: 7}, name, portable) == 7


def test_portable_graphs_stay_within_tensorrts_top_k():
    assert [limit_of({'nms_pre': limit}, 'nms_pre', False) for limit in (3840, 3841)] == [3840, 3841]
    assert limit_of({'nms_pre': 3840}, 'nms_pre', True) == 3840
    with pytest.raises(DeployError, match="nms_pre=3841 cannot be exported: TensorRT's top-k ends at 3840"):
        limit_of({'nms_pre': 3841}, 'nms_pre', True)


PLAIN = dict(type='nms', iou_threshold=0.5)


@pytest.mark.parametrize(
    'change',
    [{}, {'offset': 0}, {'score_threshold': 0}, {'max_num': -1}, {'class_agnostic': False}, {'split_thr': 10}],
    ids=str,
)
def test_settings_that_change_nothing(change):
    """mmcv keeps the same with and without them."""
    boxes, scores = random_boxes(60, side=30), torch.rand(60)
    classes = torch.arange(60) % 3
    plain, changed = (batched_nms(boxes, scores, classes, settings)[1] for settings in (PLAIN, {**PLAIN, **change}))
    assert torch.equal(plain, changed)
    assert plain_iou_threshold({**PLAIN, **change}) == 0.5


@pytest.mark.parametrize(
    'change',
    [
        {'offset': 1},
        {'score_threshold': 0.3},
        {'max_num': 5},
        {'class_agnostic': True},
        {'type': 'soft_nms'},
        {'sigma': 0.5},
        {'iou_thr': 0.5},
        {'iou_threshold': None},
    ],
    ids=str,
)
def test_what_is_no_plain_suppression_is_refused(change):
    with pytest.raises(DeployError, match='test_cfg.nms=.* cannot be exported'):
        plain_iou_threshold({**PLAIN, **change})


@pytest.mark.parametrize('settings', [None, {}, {'type': 'nms'}])
def test_suppression_without_a_threshold_is_refused(settings):
    with pytest.raises(DeployError, match='test_cfg.nms=.* cannot be exported'):
        plain_iou_threshold(settings)
