"""Detections of the rewritten box head are mmdet's own."""

import contextlib

import pytest
import torch
from mmdet.models import Shared2FCBBoxHead
from mmengine.config import ConfigDict

from mmtrtvit.deploy.export.rewriters.image_extent import IMAGE_EXTENT
from mmtrtvit.deploy.export.rewriters.selection import EXACTNESS
from mmtrtvit.errors import DeployError

CLASSES = 5
TEST_CFG = dict(score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)


def head_of(class_agnostic):
    return Shared2FCBBoxHead(
        in_channels=4,
        fc_out_channels=8,
        roi_feat_size=7,
        num_classes=CLASSES,
        reg_class_agnostic=class_agnostic,
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]),
    ).eval()


def outputs_of(head, batch, proposals, side=60.0):
    """Proposals (B, N, 5) that overlap, logits, and deltas that differ from class to class."""
    corner = torch.rand(batch, proposals, 2) * side
    boxes = torch.cat([corner, corner + 8 + torch.rand(batch, proposals, 2) * 30], dim=-1)
    index = torch.arange(batch).float().reshape(-1, 1, 1).expand(batch, proposals, 1)
    deltas = torch.randn(batch, proposals, 4 if head.reg_class_agnostic else 4 * CLASSES)
    return torch.cat([index, boxes], dim=-1), torch.randn(batch, proposals, CLASSES + 1) * 1.5, deltas


def assert_same(expected, found):
    for ours, labels, theirs in zip(*found, expected, strict=True):
        count = len(theirs)
        assert (ours[count:] == 0).all() and not labels[count:].any()
        assert labels[:count].tolist() == theirs.labels.tolist()
        torch.testing.assert_close(ours[:count, 4], theirs.scores, rtol=0, atol=1e-6)
        torch.testing.assert_close(ours[:count, :4], theirs.bboxes, rtol=0, atol=1e-4)


CASES = {
    'as usual': {},
    'few are kept': {'max_per_img': 5},
    'only sure ones': {'score_thr': 0.4},
    'none': {'score_thr': 1.0},
    'much is suppressed': {'nms': dict(type='nms', iou_threshold=0.05)},
    'all are kept': {'max_per_img': 3840},
}


def own_boxes():
    """One proposal, of which two classes have boxes apart."""
    deltas = torch.zeros(1, 1, CLASSES, 4)
    deltas[0, 0, 1, 0] = 5.0  # half a width to the right
    logits = torch.tensor([[[2.0, 1.9, -9, -9, -9, -9]]])
    return torch.tensor([[[0.0, 10, 10, 30, 30]]]), logits, deltas.flatten(2)


def with_padding(outputs, real):
    """The same with proposals from number ``real`` on that are none, however sure the head is of them."""
    rois, logits, deltas = (values.clone() for values in outputs)
    rois[:, real:] = 0
    logits[:, real:, 0] = 9.0
    return rois, logits, deltas


@pytest.fixture(scope='module')
def detections(rewriting, flavour):
    """Case to mmdet's detections and those of the rewritten head (which is slow to put in force, so once)."""
    torch.manual_seed(0)
    two = [(64, 96), (51, 77)]
    inputs = {}
    for agnostic in (False, True):
        head = head_of(agnostic)
        for case, settings in CASES.items():
            inputs[case, agnostic] = head, outputs_of(head, 2, 40), two, settings
        inputs['one proposal', agnostic] = head, outputs_of(head, 1, 1), two[:1], {}
        inputs['padding', agnostic] = head, outputs_of(head, 1, 12), two[:1], {}
    inputs['own boxes', False] = head_of(False), own_boxes(), two[:1], {}
    expected, given = {}, {}
    for case, (head, outputs, shapes, settings) in inputs.items():
        metas, cfg = [dict(img_shape=shape) for shape in shapes], ConfigDict({**TEST_CFG, **settings})
        if case[0] == 'padding':
            theirs = [list(values[:, :8]) for values in outputs]
            outputs = with_padding(outputs, 8)
        else:
            theirs = [list(values) for values in outputs]
        expected[case] = head.predict_by_feat(*theirs, batch_img_metas=metas, rcnn_test_cfg=cfg)
        extent = torch.tensor([[w, h, w, h] for h, w in shapes], dtype=torch.float32)
        given[case] = head, outputs, [{IMAGE_EXTENT: extent, EXACTNESS: []}] * len(shapes), cfg
    with rewriting(flavour):
        found = {
            case: (expected[case], head.predict_by_feat(*outputs, batch_img_metas=metas, rcnn_test_cfg=cfg))
            for case, (head, outputs, metas, cfg) in given.items()
        }
    notes = [note for _, _, metas, _ in given.values() for note in metas[0][EXACTNESS]]
    assert len(notes) == (len(given) if flavour == 'portable' else 0) and all(note.all() for note in notes)
    return found


@pytest.mark.parametrize('class_agnostic', [False, True])
@pytest.mark.parametrize('case', [*CASES, 'one proposal', 'padding'])
def test_detections_are_mmdets(case, class_agnostic, detections):
    expected, found = detections[case, class_agnostic]
    assert case in ('none', 'one proposal') or all(len(theirs) for theirs in expected)
    assert_same(expected, found)


def test_a_class_has_its_own_box_of_a_proposal(detections):
    expected, (dets, labels) = detections['own boxes', False]
    assert_same(expected, (dets, labels))
    assert labels[0, :2].tolist() == [0, 1]
    torch.testing.assert_close(dets[0, :2, :4], torch.tensor([[10.0, 10, 30, 30], [20, 10, 40, 30]]))


def test_limits_are_checked_first(rewriting, flavour):
    head = head_of(False)
    with rewriting(flavour):
        for most in (-1, 5000):
            refused = flavour == 'portable' or most < 0
            metas = [{IMAGE_EXTENT: torch.tensor([[96.0, 64, 96, 64]]), EXACTNESS: []}]
            cfg = ConfigDict(TEST_CFG, max_per_img=most)
            with pytest.raises(DeployError, match='max_per_img') if refused else contextlib.nullcontext():
                head.predict_by_feat(*outputs_of(head, 1, 9), batch_img_metas=metas, rcnn_test_cfg=cfg)
