"""Proposals of the rewritten RPN head are mmdet's own."""

import contextlib

import pytest
import torch
from mmdet.models import RPNHead
from mmengine.config import ConfigDict

from mmtrtvit.deploy.export.rewriters.image_extent import IMAGE_EXTENT
from mmtrtvit.deploy.export.rewriters.selection import EXACTNESS
from mmtrtvit.errors import DeployError

STRIDES = (4, 8, 16)


def head_of(use_sigmoid=True, **test_cfg):
    settings = dict(nms_pre=60, max_per_img=40, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0)
    return RPNHead(
        in_channels=8,
        feat_channels=8,
        anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0, 2.0], strides=list(STRIDES)),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[1.0] * 4),
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=use_sigmoid, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0),
        test_cfg=ConfigDict({**settings, **test_cfg}),
    ).eval()


def maps_of(head, batch, size, spread=2.0):
    """Random logits and deltas of every level for a padded input of ``size``."""
    shapes = [(size[0] // stride, size[1] // stride) for stride in STRIDES]
    channels = 3 * head.cls_out_channels
    scores = [torch.randn(batch, channels, *shape) * spread - 1 for shape in shapes]
    return scores, [torch.randn(batch, 12, *shape) * 0.4 for shape in shapes]


def metas_of(shapes):
    """What mmdet's head, and what the rewritten one is told of images of ``shapes`` in one padded batch."""
    extent = torch.tensor([[w, h, w, h] for h, w in shapes], dtype=torch.float32)
    return [dict(img_shape=shape) for shape in shapes], [{IMAGE_EXTENT: extent, EXACTNESS: []}] * len(shapes)


def assert_same(expected, dets):
    for ours, theirs in zip(dets, expected, strict=True):
        real, padding = ours[: len(theirs)], ours[len(theirs) :]
        assert (padding == 0).all()
        torch.testing.assert_close(real[:, 4], theirs.scores, rtol=0, atol=1e-6)
        torch.testing.assert_close(real[:, :4], theirs.bboxes, rtol=0, atol=1e-4)


CASES = {
    'as usual': ({}, [(64, 96)]),
    'two images of different size': ({}, [(51, 77), (64, 60)]),
    'a small image in a large batch': ({}, [(64, 96), (20, 20)]),
    'fewer anchors than nms_pre': ({'nms_pre': 3840, 'max_per_img': 1000}, [(64, 96), (40, 90)]),
    'few are kept': ({'max_per_img': 7}, [(64, 96)]),
    'small boxes are dropped': ({'min_bbox_size': 30}, [(64, 96), (51, 77)]),
    'all boxes are dropped': ({'min_bbox_size': 1000}, [(64, 96)]),
    'softmax': ({'use_sigmoid': False}, [(64, 96)]),
    'much is suppressed': ({'nms': dict(type='nms', iou_threshold=0.1)}, [(64, 96), (51, 77)]),
}


def usual(case):
    settings, shapes = CASES[case]
    head = head_of(**settings)
    return head, maps_of(head, len(shapes), (64, 96)), shapes


def low_scores():
    head = head_of()
    scores, deltas = maps_of(head, 1, (64, 96))
    return head, ([score * 0.1 - 6 for score in scores], deltas), [(64, 96)]


def same_box_on_two_levels():
    head = head_of(max_per_img=2)
    scores = [torch.full((1, 3, 64 // stride, 64 // stride), -9.0) for stride in STRIDES]
    deltas = [torch.zeros(1, 12, 64 // stride, 64 // stride) for stride in STRIDES]
    for level in (1, 2):
        # Anchors of 64 and 128 pixels, grown by e: clipped to the image of 64 pixels, both are all of it.
        scores[level][0, 1, 32 // STRIDES[level], 32 // STRIDES[level]] = 3.0 - level
        deltas[level][0, 6:8] = 1.0
    return head, (scores, deltas), [(64, 64)]


@pytest.fixture(scope='module')
def proposals(rewriting, flavour):
    """Case to mmdet's proposals and those of the rewritten head (which is slow to put in force, so once)."""
    torch.manual_seed(0)
    inputs = {case: usual(case) for case in CASES}
    inputs['low scores'] = low_scores()
    inputs['same box on two levels'] = same_box_on_two_levels()
    expected = {
        case: head.predict_by_feat(*maps, batch_img_metas=metas_of(shapes)[0])
        for case, (head, maps, shapes) in inputs.items()
    }
    metas = {case: metas_of(shapes)[1] for case, (_, _, shapes) in inputs.items()}
    with rewriting(flavour):
        found = {
            case: head.predict_by_feat(*maps, batch_img_metas=metas[case]) for case, (head, maps, _) in inputs.items()
        }
    notes = [note for given in metas.values() for note in given[0][EXACTNESS]]
    assert len(notes) == (3 * len(inputs) if flavour == 'portable' else 0) and all(note.all() for note in notes)
    return {case: (expected[case], *found[case]) for case in inputs}


@pytest.mark.parametrize('case', CASES)
def test_proposals_are_mmdets(case, proposals):
    expected, dets, labels = proposals[case]
    assert labels.shape == dets.shape[:2] and not labels.any()
    assert_same(expected, dets)


def test_low_scores_are_proposals_too(proposals):
    expected, dets, _ = proposals['low scores']
    assert expected[0].scores.max() < 0.05 and len(expected[0]) == 40
    assert_same(expected, dets)


def test_levels_do_not_suppress_each_other(proposals):
    expected, dets, _ = proposals['same box on two levels']
    assert expected[0].bboxes.tolist() == [[0, 0, 64, 64]] * 2
    assert_same(expected, dets)


def test_limits_are_checked_first(rewriting, flavour):
    with rewriting(flavour):
        for settings in ({'max_per_img': -1}, {'nms_pre': -1}, {'nms_pre': 5000}, {'max_per_img': 5000}):
            head = head_of(**settings)
            refused = flavour == 'portable' or -1 in settings.values()
            with pytest.raises(DeployError, match=next(iter(settings))) if refused else contextlib.nullcontext():
                head.predict_by_feat(*maps_of(head, 1, (64, 96)), batch_img_metas=metas_of([(64, 96)])[1])
