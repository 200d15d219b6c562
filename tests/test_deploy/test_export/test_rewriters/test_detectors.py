"""Whole one-stage and two-stage detectors, rewritten, find what mmdet finds in a batch of images of different size."""

import copy

import pytest
import torch
from mmdeploy.core import RewriterContext
from mmdeploy.utils import IR
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

from mmtrtvit.deploy.export.deploy_configs import for_export, make_deploy_config
from mmtrtvit.deploy.export.describe import task_of
from mmtrtvit.deploy.export.mmdeploy_patches import LOWEST_OPSET
from mmtrtvit.deploy.steps import quiet

CHANNELS = 16
CLASSES = 4
SIZES = [(60, 90), (96, 50)]
"""Of the images; the batch is 96 x 96."""

_ARCH = dict(widths=(32, 32, 32, 64), depths=(1, 1, 1, 2), block_types=('C', 'C', 'C', 'M'))
_CODER = dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4)
_CLASS_LOSS = dict(type='CrossEntropyLoss', use_sigmoid=False)
_NMS = dict(type='nms', iou_threshold=0.5)
_SHARED = dict(
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(type='mmtrtvit.TRTViT', arch=_ARCH),
    neck=dict(type='FPN', in_channels=list(_ARCH['widths']), out_channels=CHANNELS, num_outs=5),
)


def _anchors(strides):
    return dict(type='AnchorGenerator', scales=[4], ratios=[0.5, 1.0, 2.0], strides=list(strides))


def _extractor(size):
    layer = dict(type='RoIAlign', output_size=size, sampling_ratio=2)
    return dict(
        type='SingleRoIExtractor',
        roi_layer=layer,
        out_channels=CHANNELS,
        featmap_strides=[4, 8, 16, 32],
        finest_scale=14,
    )


DETECTORS = {
    'one stage': dict(
        _SHARED,
        type='RetinaNet',
        bbox_head=dict(
            type='RetinaHead',
            num_classes=CLASSES,
            in_channels=CHANNELS,
            feat_channels=CHANNELS,
            stacked_convs=1,
            anchor_generator=_anchors((4, 8, 16, 32, 64)),
            bbox_coder=dict(_CODER, target_stds=[1.0] * 4),
            loss_cls=dict(type='FocalLoss', use_sigmoid=True),
        ),
        test_cfg=dict(nms_pre=200, min_bbox_size=0, score_thr=0.05, nms=_NMS, max_per_img=60),
    ),
    'two stages': dict(
        _SHARED,
        type='MaskRCNN',
        train_cfg=None,
        rpn_head=dict(
            type='RPNHead',
            in_channels=CHANNELS,
            feat_channels=CHANNELS,
            anchor_generator=_anchors((4, 8, 16, 32, 64)),
            bbox_coder=dict(_CODER, target_stds=[1.0] * 4),
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
        ),
        roi_head=dict(
            type='StandardRoIHead',
            bbox_roi_extractor=_extractor(7),
            bbox_head=dict(
                type='Shared2FCBBoxHead',
                in_channels=CHANNELS,
                fc_out_channels=32,
                roi_feat_size=7,
                num_classes=CLASSES,
                bbox_coder=dict(_CODER, target_stds=[0.1, 0.1, 0.2, 0.2]),
                loss_cls=_CLASS_LOSS,
            ),
            mask_roi_extractor=_extractor(14),
            mask_head=dict(
                type='FCNMaskHead',
                num_convs=1,
                in_channels=CHANNELS,
                conv_out_channels=CHANNELS,
                num_classes=CLASSES,
                loss_mask=dict(type='CrossEntropyLoss', use_mask=True),
            ),
        ),
        test_cfg=dict(
            rpn=dict(nms_pre=150, max_per_img=100, nms=dict(_NMS, iou_threshold=0.7), min_bbox_size=0),
            rcnn=dict(score_thr=0.05, nms=_NMS, max_per_img=60, mask_thr_binary=0.5),
        ),
    ),
}


SPREADS = {'retina_cls': 1.0, 'rpn_cls': 1.0, 'fc_cls': 1.0, 'conv_logits': 100.0}
"""Part of a parameter's name to how widely the head's outputs spread."""


def detector_of(kind):
    """The detector with heads that have an opinion, as those of a trained one have and fresh ones have not."""
    torch.manual_seed(0)
    init_default_scope('mmdet')
    detector = MODELS.build(ConfigDict(copy.deepcopy(DETECTORS[kind]))).eval()
    with quiet():
        detector.init_weights()
    with torch.no_grad():
        for name, parameter in detector.named_parameters():
            if parameter.ndim > 1 and not name.startswith('backbone'):
                spread = next((value for part, value in SPREADS.items() if part in name), 0.6)
                parameter.normal_(std=spread * parameter[0].numel() ** -0.5)
            elif 'cls' in name and name.endswith('bias'):
                parameter.fill_(-1.0)
    return detector


@pytest.fixture(scope='module')
def found(flavour):
    """Kind of detector to mmdet's results and those of the rewritten detector, for the same batch."""
    kinds = {kind: detector_of(kind) for kind in DETECTORS}
    torch.manual_seed(1)
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in SIZES]
    results = {}

    def data_of(detector):
        samples = [
            DetDataSample(metainfo=dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0))) for size in SIZES
        ]
        data = detector.data_preprocessor(dict(inputs=images, data_samples=samples))
        return data['inputs'], data['data_samples']

    with torch.no_grad():
        for kind, detector in kinds.items():
            expected = [sample.pred_instances for sample in detector.predict(*data_of(detector), rescale=False)]
            results[kind] = [expected]
            if kind == 'two stages':
                features = detector.extract_feat(data_of(detector)[0])
                rois = bbox2roi([theirs.bboxes for theirs in expected])
                logits = detector.roi_head._mask_forward(features, rois)['mask_preds']
                masks = logits.sigmoid().split([len(theirs) for theirs in expected])
        config = for_export(make_deploy_config(task_of(DETECTORS['two stages']), 'onnxruntime', flavour))
        with RewriterContext(cfg=config, backend='onnxruntime', ir=IR.ONNX, opset=LOWEST_OPSET):
            for kind, detector in kinds.items():
                results[kind].append(detector.forward(*data_of(detector), mode='predict'))
    results['two stages'].append(masks)
    return results


@pytest.mark.parametrize('kind', DETECTORS)
def test_boxes_are_mmdets(kind, found):
    expected, (dets, labels, *_) = found[kind][:2]
    for theirs, ours, classes in zip(expected, dets, labels, strict=True):
        count = len(theirs)
        assert 20 < count <= 60 and len(theirs.labels.unique()) > 1
        assert (ours[count:] == 0).all() and not classes[count:].any()
        torch.testing.assert_close(ours[:count, 4], theirs.scores, rtol=0, atol=1e-5)
        torch.testing.assert_close(ours[:count, :4], theirs.bboxes, rtol=0, atol=1e-3)
        assert classes[:count].tolist() == theirs.labels.tolist()


def test_boxes_end_where_the_image_does(found):
    """Not where the padding does, though some box would reach further."""
    for _, (dets, *_), *_ in found.values():
        sides = [(0, 2, 90), (0, 3, 60), (1, 2, 50)]
        reached = [float(dets[image, :, side].max()) / end for image, side, end in sides]
        assert max(reached) == 1.0 and min(reached) > 0.9


@pytest.mark.parametrize('kind, outputs', [('one stage', 2), ('two stages', 3)])
def test_the_portable_flavour_says_that_it_is_certain(kind, outputs, found, flavour):
    ours = found[kind][1]
    assert len(ours) == outputs + (flavour == 'portable')
    if flavour == 'portable':
        assert ours[-1].tolist() == [1.0, 1.0]


def test_masks_are_mmdets(found):
    """The probabilities, before they are pasted into the image."""
    _, (dets, labels, masks, *_), probabilities = found['two stages']
    assert masks.shape == (*dets.shape[:2], 28, 28)
    for ours, theirs, classes in zip(masks, probabilities, labels, strict=True):
        count = len(theirs)
        expected = theirs[torch.arange(count), classes[:count]]
        assert expected.std() > 0.05
        torch.testing.assert_close(ours[:count], expected, rtol=0, atol=1e-3)
