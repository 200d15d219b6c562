"""Detections of the rewritten RetinaNet head are mmdet's own."""

import contextlib

import numpy as np
import pytest
import torch
from mmdet.models import RetinaHead
from mmengine.config import ConfigDict
from torch import nn

from mmtrtvit.deploy.export.rewriters import selection
from mmtrtvit.deploy.export.rewriters.image_extent import IMAGE_EXTENT
from mmtrtvit.deploy.export.rewriters.selection import EXACTNESS
from mmtrtvit.errors import DeployError

STRIDES = (4, 8, 16)
CLASSES = 3
SIZE = (64, 96)
ANCHORS = 3
"""At each place."""

CANDIDATES = 1000
"""Of the portable selection in these tests, fewer than there are anchors."""

NOTHING = -20.0
"""A logit that is below every threshold."""


def head_of(use_sigmoid=True, **test_cfg):
    settings = dict(
        nms_pre=80, max_per_img=50, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), min_bbox_size=0
    )
    loss = dict(type='FocalLoss' if use_sigmoid else 'CrossEntropyLoss', use_sigmoid=use_sigmoid)
    return RetinaHead(
        num_classes=CLASSES,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[0.5, 1.0, 2.0], strides=list(STRIDES)),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[1.0] * 4),
        loss_cls=loss,
        test_cfg=ConfigDict({**settings, **test_cfg}),
    ).eval()


def shapes_of(size):
    return [(size[0] // stride, size[1] // stride) for stride in STRIDES]


def maps_of(head, batch, size=SIZE, shift=-1.0):
    """Random logits and deltas of every level for a padded input of ``size``."""
    channels = ANCHORS * head.cls_out_channels
    scores = [torch.randn(batch, channels, *shape) * 1.5 + shift for shape in shapes_of(size)]
    return scores, [torch.randn(batch, ANCHORS * 4, *shape) * 0.4 for shape in shapes_of(size)]


def maps_with(head, boxes, scores, labels=None):
    """Maps by which the first anchors of the finest level are these boxes with these scores, and all others nothing."""
    boxes, scores = torch.as_tensor(boxes, dtype=torch.float32), torch.as_tensor(scores, dtype=torch.float32)
    labels = torch.zeros(len(boxes), dtype=torch.long) if labels is None else torch.tensor(labels)
    logits, deltas = [], []
    for level, (height, width) in enumerate(shapes_of(SIZE)):
        count = height * width * ANCHORS
        logit, delta = torch.full((count, CLASSES), NOTHING), torch.zeros(count, 4)
        if level == 0:
            anchors = head.prior_generator.grid_priors(shapes_of(SIZE), device='cpu')[level]
            first = torch.arange(len(boxes))
            logit[first, labels] = scores.logit()
            delta[first] = head.bbox_coder.encode(anchors[first], boxes)
        logits.append(logit.reshape(1, height, width, -1).permute(0, 3, 1, 2).contiguous())
        deltas.append(delta.reshape(1, height, width, -1).permute(0, 3, 1, 2).contiguous())
    return logits, deltas


def row(count, step, side=10.0):
    """Boxes in a row, each ``step`` to the right of the one before."""
    left = torch.arange(count) * float(step)
    return torch.stack([left, torch.full((count,), 5.0), left + side, torch.full((count,), 5.0 + side)], dim=1)


def falling(count):
    return torch.linspace(0.9, 0.3, count)


RANDOM = {
    'as usual': ({}, [(64, 96)]),
    'two images of different size': ({}, [(51, 77), (64, 60)]),
    'a small image in a large batch': ({}, [(64, 96), (20, 20)]),
    'fewer anchors than nms_pre': ({'nms_pre': 3840, 'max_per_img': 500}, [(64, 96), (40, 90)]),
    'more candidates than nms_pre': ({'nms_pre': 10, 'score_thr': 0.001}, [(64, 96)]),
    'few are kept': ({'max_per_img': 7}, [(64, 96)]),
    'one is kept': ({'max_per_img': 1}, [(64, 96), (30, 30)]),
    'only sure ones': ({'score_thr': 0.8}, [(64, 96)]),
    'none': ({'score_thr': 0.9999}, [(64, 96), (51, 77)]),
    'small boxes are dropped': ({'min_bbox_size': 12}, [(64, 96), (51, 77)]),
    'all boxes are dropped': ({'min_bbox_size': 1000}, [(64, 96)]),
    'boxes without an area are kept': ({'min_bbox_size': -1}, [(20, 20)]),
    'softmax': ({'use_sigmoid': False}, [(64, 96), (51, 77)]),
    'much is suppressed': ({'nms': dict(type='nms', iou_threshold=0.1)}, [(64, 96), (51, 77)]),
    'little is suppressed': ({'nms': dict(type='nms', iou_threshold=0.9)}, [(64, 96)]),
}
OUTSIDE = [
    [-30, -30, -5, -5],  # nothing of it is in the image
    [90, 60, 140, 100],  # a corner is
    [-10, 20, 30, 40],
    [200, 10, 230, 40],
    [-50, -50, 150, 150],  # the image is in it
]
# Case to boxes, scores and labels. Which of two overlapping boxes of exactly the same score goes first is open in mmcv,
# so tied boxes are either apart or the same.
MADE = {
    'ties': (row(6, 15), [0.5] * 6, None),
    'the same box, tied': (row(1, 0).repeat(8, 1), [0.5] * 8, None),
    'the same box in every class': (row(1, 0).repeat(3, 1), [0.9, 0.8, 0.7], [0, 1, 2]),
    'all suppressed but one': (row(40, 0.05), falling(40), None),
    'a chain': (row(18, 3), falling(18), None),
    'a chain from its end': (row(18, 3), falling(18).flip(0), None),
    'chains of two classes': (row(18, 3), falling(18), [0, 2] * 9),
    'boxes outside': (OUTSIDE, falling(5), [0, 0, 1, 1, 2]),
    'boxes of one pixel': (row(12, 0.3, side=1.0), falling(12), None),
    'boxes of less than a pixel': (row(12, 0.15, side=0.5), falling(12), None),
    'one': (row(1, 0), [0.051], [1]),
    'all just below the threshold': (row(6, 15), [0.0499] * 6, None),
}


def metas_of(shapes):
    """What mmdet's head, and what the rewritten one is told of images of ``shapes`` in one padded batch."""
    extent = torch.tensor([[w, h, w, h] for h, w in shapes], dtype=torch.float32)
    return [dict(img_shape=shape) for shape in shapes], [{IMAGE_EXTENT: extent, EXACTNESS: []}] * len(shapes)


def uncertain():
    """Cases in which the portable selection cannot be certain: a long chain, and more overlapping boxes than it sees.

    Each beside an image of which it is certain.
    """
    head = head_of(nms_pre=2000)
    alone = maps_with(head, row(6, 15), falling(6))
    cases = {
        'a long chain': maps_with(head, row(80, 0.3, side=1.0), falling(80)),
        'more than it sees': maps_with(head, row(CANDIDATES + 50, 1e-3), falling(CANDIDATES + 50)),
    }
    pairs = {
        case: [[torch.cat([a, b]) for a, b in zip(*parts, strict=True)] for parts in zip(alone, maps, strict=True)]
        for case, maps in cases.items()
    }
    return {case: (head, maps, [SIZE, SIZE]) for case, maps in pairs.items()}


@pytest.fixture(scope='module')
def detections(rewriting, flavour):
    """Case to mmdet's detections, those of the rewritten head (slow to put in force, so once) and its notes."""
    torch.manual_seed(0)
    inputs = uncertain()
    for case, (settings, shapes) in RANDOM.items():
        head = head_of(**settings)
        inputs[case] = head, maps_of(head, len(shapes)), shapes
    for case, (boxes, scores, labels) in MADE.items():
        head = head_of()
        inputs[case] = head, maps_with(head, boxes, scores, labels), [SIZE]
    expected = {
        case: head.predict_by_feat(*maps, batch_img_metas=metas_of(shapes)[0], rescale=False)
        for case, (head, maps, shapes) in inputs.items()
    }
    metas = {case: metas_of(shapes)[1] for case, (_, _, shapes) in inputs.items()}
    with rewriting(flavour), pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, 'CANDIDATES', CANDIDATES)
        found = {
            case: head.predict_by_feat(*maps, batch_img_metas=metas[case]) for case, (head, maps, _) in inputs.items()
        }
    return {case: (expected[case], found[case], metas[case][0][EXACTNESS]) for case in inputs}


def in_order(boxes, scores, labels):
    """Rows of score, label and box: the best first, and tied ones by label and place."""
    rows = np.concatenate([scores[:, None], labels[:, None], boxes], axis=1).astype(np.float64)
    coarse = rows.round(3)
    return rows[np.lexsort((*coarse.T[:0:-1], -coarse[:, 0]))]


def assert_same(expected, dets, labels):
    for ours, classes, theirs in zip(np.asarray(dets), np.asarray(labels), expected, strict=True):
        count = len(theirs)
        assert (ours[count:] == 0).all() and not classes[count:].any()
        ours, classes = ours[:count], classes[:count]
        assert (np.diff(ours[:, 4]) <= 1e-6).all()
        found = in_order(ours[:, :4], ours[:, 4], classes)
        reference = in_order(theirs.bboxes.numpy(), theirs.scores.numpy(), theirs.labels.numpy())
        np.testing.assert_array_equal(found[:, 1], reference[:, 1])
        np.testing.assert_allclose(found[:, 0], reference[:, 0], rtol=0, atol=1e-6)
        np.testing.assert_allclose(found[:, 2:], reference[:, 2:], rtol=0, atol=1e-4)


def assert_noted(notes, flavour, exact):
    assert len(notes) == (flavour == 'portable')
    assert all(note.tolist() == exact for note in notes)


@pytest.mark.parametrize('case', RANDOM)
def test_detections_of_random_maps_are_mmdets(case, detections, flavour):
    expected, found, notes = detections[case]
    assert case in ('none', 'all boxes are dropped') or all(len(theirs) for theirs in expected)
    assert_same(expected, *found)
    assert_noted(notes, flavour, [1.0] * len(expected))


@pytest.mark.parametrize('case', MADE)
def test_detections_of_chosen_boxes_are_mmdets(case, detections, flavour):
    expected, found, notes = detections[case]
    assert_same(expected, *found)
    assert_noted(notes, flavour, [1.0])


def test_what_is_known_of_chosen_boxes(detections):
    """mmdet's own result is what the cases were made for."""
    counts = {case: len(detections[case][0][0]) for case in MADE}
    assert counts == {
        'ties': 6,
        'the same box, tied': 1,
        'the same box in every class': 3,
        'all suppressed but one': 1,
        'a chain': 9,
        'a chain from its end': 9,
        'chains of two classes': 18,
        'boxes outside': 3,
        'boxes of one pixel': 6,
        'boxes of less than a pixel': 6,
        'one': 1,
        'all just below the threshold': 0,
    }


@pytest.mark.parametrize('case', ['a long chain', 'more than it sees'])
def test_it_is_noted_where_the_portable_selection_is_uncertain(case, detections, flavour):
    expected, (dets, labels), notes = detections[case]
    assert_noted(notes, flavour, [1.0, 0.0])
    certain = slice(0, 1) if flavour == 'portable' else slice(0, 2)
    assert_same(expected[certain], dets[certain], labels[certain])


def test_scores_with_factors_are_refused(rewriting):
    head = head_of()
    factors = [torch.rand(1, ANCHORS, *shape) for shape in shapes_of(SIZE)]
    with rewriting(), pytest.raises(DeployError, match='RetinaHead weighs its scores'):
        head.predict_by_feat(*maps_of(head, 1), factors, batch_img_metas=metas_of([SIZE])[1])


class Selection(nn.Module):
    """The head's selection as a network: the maps of every level, and the extent, to boxes and labels."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, *inputs):
        *maps, extent = inputs
        meta = {IMAGE_EXTENT: extent, EXACTNESS: []}
        levels = len(STRIDES)
        dets, labels = self.head.predict_by_feat(maps[:levels], maps[levels:], batch_img_metas=[meta] * extent.shape[0])
        return dets, labels, *meta[EXACTNESS]


@pytest.fixture(scope='module')
def graph(graph_in, flavour):
    """The selection, exported for one image of 64 x 96 with all sizes free: the head, and what runs it."""
    torch.manual_seed(0)
    head = head_of(nms_pre=100)
    scores, deltas = maps_of(head, 1)
    sides = [{0: 'b', 2: f'h{level}', 3: f'w{level}'} for level in range(len(STRIDES))]
    inputs = *scores, *deltas, metas_of([SIZE])[1][0][IMAGE_EXTENT]
    return head, graph_in(flavour, Selection(head), inputs, [*sides, *sides, {0: 'b'}])


def test_the_graph_has_the_operators_of_its_flavour(graph, flavour):
    found = graph[1].operators
    assert not any('::' in name for name in found)
    if flavour == 'native':
        assert found['NonMaxSuppression'] == 1
    else:
        assert not {'NonMaxSuppression', 'NonZero', 'Loop', 'If', 'Scan'} & set(found)


@pytest.mark.parametrize(
    'size, shapes',
    [((64, 96), [(60, 90)]), ((96, 64), [(96, 50), (70, 64)]), ((16, 16), [(16, 16)]), ((128, 160), [(128, 160)] * 2)],
    ids=['as exported', 'two images upright', 'few anchors', 'two larger images'],
)
def test_the_graph_serves_other_sizes(graph, flavour, size, shapes):
    head, run = graph
    maps = maps_of(head, len(shapes), size)
    metas, (rewritten, *_) = metas_of(shapes)
    expected = head.predict_by_feat(*maps, batch_img_metas=metas, rescale=False)
    dets, labels, *exact = run(*maps[0], *maps[1], rewritten[IMAGE_EXTENT])
    assert all(len(theirs) for theirs in expected)
    assert_same(expected, dets, labels)
    assert_noted(exact, flavour, [1.0] * len(shapes))


@pytest.mark.parametrize('case', [case for case in MADE if 'tied' not in case and 'ties' not in case])
def test_the_graph_selects_among_chosen_boxes(graph, case):
    head, run = graph
    boxes, scores, labels = MADE[case]
    maps = maps_with(head, boxes, scores, labels)
    metas, (rewritten, *_) = metas_of([SIZE])
    expected = head.predict_by_feat(*maps, batch_img_metas=metas, rescale=False)
    assert_same(expected, *run(*maps[0], *maps[1], rewritten[IMAGE_EXTENT])[:2])


def test_limits_are_checked_first(rewriting, flavour):
    with rewriting(flavour):
        for settings in ({'max_per_img': -1}, {'nms_pre': -1}, {'nms_pre': 5000}, {'max_per_img': 5000}):
            head = head_of(**settings)
            refused = flavour == 'portable' or -1 in settings.values()
            with pytest.raises(DeployError, match=next(iter(settings))) if refused else contextlib.nullcontext():
                head.predict_by_feat(*maps_of(head, 1), batch_img_metas=metas_of([SIZE])[1])
