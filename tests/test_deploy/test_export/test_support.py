"""Networks that cannot be exported exactly are refused by their config alone; the message names the part."""

import copy
import functools
import re

import pytest
from mmcv.ops import ModulatedDeformConv2dPack
from torch import nn

from mmtrtvit.config import load_config
from mmtrtvit.deploy.export.support import check_layers, check_support
from mmtrtvit.errors import DeployError
from mmtrtvit.runtime.backends import BACKENDS

RESNET_50 = [
    'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    'mmseg::sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py',
    'mmseg::upernet/upernet_r50_4xb4-80k_ade20k-512x512.py',
]
COVERED = [
    *RESNET_50,
    'mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py',
    'mmseg::ocrnet/ocrnet_hr18_4xb4-80k_ade20k-512x512.py',
]


read = functools.cache(load_config)


def check(path, flavour='native', backend='onnxruntime', **changes):
    pytest.importorskip(path.partition('::')[0])
    config = copy.deepcopy(read(path))
    config.merge_from_dict(changes)
    check_support(config.model, config.default_scope, flavour, BACKENDS[backend])


@pytest.mark.parametrize('path', COVERED)
def test_covered(path):
    check(path)


@pytest.mark.parametrize(
    'path, part, reason',
    [
        ('mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', r"bbox_head\.type='FCOSHead'", 'centerness'),
        ('mmdet::atss/atss_r50_fpn_1x_coco.py', r"bbox_head\.type='ATSSHead'", 'centerness or an IoU'),
        ('mmdet::gfl/gfl_r50_fpn_1x_coco.py', r"bbox_head\.type='GFLHead'", '_predict_by_feat_single'),
        ('mmdet::yolox/yolox_s_8xb8-300e_coco.py', r"bbox_head\.type='YOLOXHead'", 'predict_by_feat'),
        ('mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py', r"model\.type='DINO'", 'SingleStageDetector'),
        ('mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py', r"roi_head\.type='CascadeRoIHead'", 'StandardRoIHead'),
        ('mmdet::ms_rcnn/ms-rcnn_r50_fpn_1x_coco.py', r"roi_head\.type='MaskScoringRoIHead'", 'predict_mask'),
        ('mmdet::groie/faste-rcnn_r50_fpn_groie_1x_coco.py', 'bbox_roi_extractor', 'SingleRoIExtractor'),
        ('mmdet::fast_rcnn/fast-rcnn_r50_fpn_1x_coco.py', r'model\.rpn_head', 'missing'),
        ('mmdet::faster_rcnn/faster-rcnn_r50_fpn_soft-nms_1x_coco.py', 'soft_nms', 'plain suppression'),
        ('mmseg::mask2former/mask2former_r50_8xb2-160k_ade20k-512x512.py', 'Mask2FormerHead', 'BaseDecodeHead'),
    ],
)
def test_refused(path, part, reason):
    with pytest.raises(DeployError, match=rf'(?s){part}.*{reason}.*Fix: '):
        check(path)


def test_a_layer_that_is_not_in_the_standard():
    network = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Sequential(ModulatedDeformConv2dPack(4, 4, 3)))
    with pytest.raises(DeployError, match=r'1 layers .*: 1\.0 \(ModulatedDeformConv2dPack\)\.\n.*\nFix: '):
        check_layers(network)
    check_layers(network[:1])


def rows_of_the_guide(root):
    """Config, native and portable of each row in the table of networks in docs/deploy.md."""
    text = (root / 'docs' / 'deploy.md').read_text().partition('\n## Networks\n')[2].partition('\n## ')[0]
    return re.findall(r'^\|[^|]*\| `(mm(?:det|seg)::\S+)` \| ([^|]*) \| ([^|]*) \|$', text, re.MULTILINE)


def test_the_guide_is_true(root):
    rows = rows_of_the_guide(root)
    assert {path for path, _, _ in rows} >= set(RESNET_50)
    for path, *said in rows:
        for flavour, answer in zip(('native', 'portable'), said, strict=True):
            changes = {}
            if answer == 'with `sampling_ratio=2`':
                with pytest.raises(DeployError, match='sampling_ratio'):
                    check(path, flavour)
                roi_head = read(path).model.roi_head
                extractors = [name for name in ('bbox', 'mask') if f'{name}_roi_extractor' in roi_head]
                changes = {LAYERS.format(name, 'sampling_ratio'): 2 for name in extractors}
            if answer.startswith('refused'):
                with pytest.raises(DeployError):
                    check(path, flavour)
            else:
                assert answer in ('yes', 'with `sampling_ratio=2`')
                check(path, flavour, **changes)


LAYERS = 'model.roi_head.{}_roi_extractor.roi_layer.{}'


def test_roi_align_that_adapts_to_the_box_is_native_only():
    """mmdet's default. The message holds the option that makes it portable."""
    path = COVERED[0]
    check(path, 'native')
    with pytest.raises(DeployError) as error:
        check(path, 'portable')
    places = [LAYERS.format(name, 'sampling_ratio') for name in ('bbox', 'mask')]
    assert f'{places[0]}=0, {places[1]}=0' in str(error.value)
    assert f'--cfg-options {places[0]}=2 {places[1]}=2,' in str(error.value)
    check(path, 'portable', **dict.fromkeys(places, 2))


def test_roi_align_by_the_maximum_is_refused():
    with pytest.raises(DeployError, match=r"mask_roi_extractor\.roi_layer\.pool_mode='max'"):
        check(COVERED[0], **{LAYERS.format('mask', 'pool_mode'): 'max'})
    with pytest.raises(DeployError, match=r"roi_layer\.type='RoIPool' is not in the ONNX standard"):
        check(COVERED[0], **{LAYERS.format('bbox', 'type'): 'RoIPool'})


SAMPLES = {LAYERS.format(name, 'sampling_ratio'): 2 for name in ('bbox', 'mask')}
MANY = {'model.test_cfg.nms_pre': 1001}
MANY_PROPOSALS = {'model.test_cfg.rpn.nms_pre': 2000}


@pytest.mark.parametrize(
    'path, changes, portable, said',
    [
        (RESNET_50[2], MANY, {}, r'model\.test_cfg\.nms_pre=1001 on 5 levels gives up to 5005 boxes'),
        (
            RESNET_50[0],
            MANY_PROPOSALS,
            SAMPLES,
            r'model\.test_cfg\.rpn\.nms_pre=2000 on 5 levels gives up to 10000 boxes',
        ),
    ],
)
def test_more_boxes_than_tensorrt_suppresses(path, changes, portable, said):
    """INMSLayer would ignore those beyond 5000 in silence."""
    with pytest.raises(DeployError, match=f'{said}(.|\n)*TensorRT ignores all but 5000(.|\n)*nms_pre=1000'):
        check(path, backend='tensorrt', **changes)
    check(path, backend='tensorrt')  # 5 levels of 1000 are just those
    check(path, backend='tensorrt', flavour='portable', **changes, **portable)
    check(path, backend='onnxruntime', **changes)
