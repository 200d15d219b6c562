"""What surrounds a network is described in full, or refused."""

import copy
import re

import pytest
from mmengine.config import Config

from mmtrtvit.apis import load_config
from mmtrtvit.deploy.export.describe import (
    describe_model,
    describe_postprocessing,
    describe_preprocessing,
    describe_window,
    task_of,
)
from mmtrtvit.errors import DeployError

NUMBERS = {'mean': [123.675, 116.28, 103.53], 'std': [58.395, 57.12, 57.375], 'channels': 'rgb'}
EXPECTED = {
    'maskrcnn_trtvit_b_coco': ('MaskRCNN', 'instance', (1333, 800), 32, {'mask_threshold': 0.5}),
    'retinanet_trtvit_b_coco': ('RetinaNet', 'detection', (1333, 800), 32, {}),
    'semfpn_trtvit_b_ade20k': ('EncoderDecoder', 'segmentation', (2048, 512), 1, {'align_corners': False}),
    'upernet_trtvit_b_ade20k': ('EncoderDecoder', 'segmentation', (2048, 512), 1, {'align_corners': False}),
}


@pytest.mark.parametrize('name', EXPECTED)
@pytest.mark.parametrize('shape', [None, (800, 1344)])
def test_the_configs_of_this_project(root, name, shape):
    method, task, (width, height), divisor, postprocessing = EXPECTED[name]
    config = load_config(root / 'configs' / f'{name}.py')
    before = copy.deepcopy(config.to_dict())
    described = describe_model(config, {'classes': ('a', 'b'), 'palette': [(1, 2, 3)]}, shape)
    assert described == {
        'method': method,
        'task': task,
        'preprocessing': {
            **NUMBERS,
            'resize': {'rule': 'edges', 'width': width, 'height': height},
            'pad': {'value': 0.0, 'divisor': divisor, 'shape': shape and list(shape)},
        },
        'postprocessing': postprocessing,
        'classes': ['a', 'b'],
        'palette': [[1, 2, 3]],
    }
    assert config.to_dict() == before


PIPELINE = 'test_dataloader.dataset.pipeline'


def small(**changes) -> Config:
    config = Config(
        dict(
            model=dict(type='X', data_preprocessor=dict(type='DetDataPreprocessor', mean=[1, 2, 3], std=[4, 5, 6])),
            test_dataloader=dict(
                dataset=dict(
                    pipeline=[
                        dict(type='LoadImageFromFile'),
                        dict(type='Resize', scale=(64, 48), keep_ratio=False),
                        dict(type='mmdet.PackDetInputs'),
                    ]
                )
            ),
        )
    )
    config.merge_from_dict(changes)
    return config


def test_the_ways_to_resize():
    for changes, resize in (
        ({}, {'rule': 'stretch', 'width': 64, 'height': 48}),
        ({f'{PIPELINE}.1.keep_ratio': True}, {'rule': 'edges', 'width': 64, 'height': 48}),
        ({f'{PIPELINE}.1.scale': 50}, {'rule': 'stretch', 'width': 50, 'height': 50}),
        ({f'{PIPELINE}.1.type': 'mmseg.Resize'}, {'rule': 'stretch', 'width': 64, 'height': 48}),
        ({f'{PIPELINE}.1': dict(_delete_=True, type='FitResize', scale=(64, 48))}, {'rule': 'fit'}),
        ({f'{PIPELINE}.1': dict(_delete_=True, type='LoadAnnotations')}, None),
    ):
        config = small()
        for key, value in changes.items():
            if key == f'{PIPELINE}.1':
                config.test_dataloader.dataset.pipeline[1] = {
                    name: item for name, item in value.items() if name != '_delete_'
                }
            else:
                config.merge_from_dict({key: value})
        found = describe_preprocessing(config)['resize']
        assert found == resize or (resize['rule'] == 'fit' and found == {'rule': 'fit', 'width': 64, 'height': 48})


def test_channels_and_padding():
    prefix = 'model.data_preprocessor.'
    assert describe_preprocessing(small())['channels'] == 'bgr'
    for key in ('bgr_to_rgb', 'rgb_to_bgr'):
        assert describe_preprocessing(small(**{prefix + key: True}))['channels'] == 'rgb'
    raw = small()
    del raw.model.data_preprocessor['mean'], raw.model.data_preprocessor['std']
    found = describe_preprocessing(raw)
    assert (found['mean'], found['std']) == ([0.0] * 3, [1.0] * 3)
    grey = small(**{prefix + 'mean': [7], prefix + 'std': [8]})
    assert describe_preprocessing(grey)['mean'] == [7.0] * 3 and describe_preprocessing(grey)['std'] == [8.0] * 3
    fixed = small(**{prefix + 'type': 'mmtrtvit.FixedShapeDetDataPreprocessor', prefix + 'fixed_shape': (96, 128)})
    assert describe_preprocessing(fixed)['pad'] == {'value': 0.0, 'divisor': 1, 'shape': [96, 128]}
    padded = small(**{prefix + 'pad_value': 2, prefix + 'pad_size_divisor': 64})
    assert describe_preprocessing(padded)['pad'] == {'value': 2.0, 'divisor': 64, 'shape': None}


@pytest.mark.parametrize(
    'changes, message',
    [
        ({f'{PIPELINE}.0.to_float32': True}, 'LoadImageFromFile has to_float32=True'),
        ({f'{PIPELINE}.0.color_type': 'grayscale'}, "has color_type='grayscale'"),
        ({f'{PIPELINE}.0.imdecode_backend': 'pillow'}, "has imdecode_backend='pillow'"),
        ({f'{PIPELINE}.1.interpolation': 'bicubic'}, "Resize has interpolation='bicubic'"),
        ({f'{PIPELINE}.1.backend': 'pillow'}, "Resize has backend='pillow'"),
        ({f'{PIPELINE}.1.scale': 0.5}, 'Resize has scale 0.5'),
        ({f'{PIPELINE}.1.scale_factor': 2.0}, 'Resize has scale_factor=2.0'),
        ({f'{PIPELINE}.1.type': 'RandomFlip'}, 'the test pipeline has RandomFlip'),
        ({f'{PIPELINE}.1.type': 'Pad'}, 'the test pipeline has Pad'),
        ({f'{PIPELINE}.2.type': 'Resize', f'{PIPELINE}.2.scale': 7}, 'resizes twice, the second time by Resize'),
        ({'model.data_preprocessor.type': 'TrackDataPreprocessor'}, 'the data preprocessor is TrackDataPreprocessor'),
        ({'model.data_preprocessor.std': [1]}, '3 means and 1 deviations'),
        ({'model.data_preprocessor.new': 1}, 'DetDataPreprocessor has new'),
    ],
)
def test_what_there_is_no_word_for(changes, message):
    with pytest.raises(DeployError, match=message) as caught:
        describe_preprocessing(small(**changes))
    assert str(caught.value).count('Fix: ') == 1


def test_kinds_and_what_they_need():
    head = dict(num_classes=5, align_corners=False)
    assert task_of(dict(decode_head=head)) == 'segmentation'
    assert task_of(dict(roi_head=dict(mask_head=None))) == task_of(dict(bbox_head={})) == 'detection'
    instance = dict(roi_head=dict(mask_head=dict(type='FCNMaskHead')), test_cfg=dict(rcnn=dict(mask_thr_binary=0.25)))
    assert describe_postprocessing(instance) == {'mask_threshold': 0.25}
    assert describe_postprocessing(dict(decode_head=[dict(num_classes=1), head])) == {'align_corners': False}
    for model, message in (
        (dict(decode_head=dict(head, align_corners=True)), 'align_corners=True'),
        (dict(decode_head=dict(head, num_classes=1)), 'one output channel'),
        (dict(decode_head=dict(head, num_classes=2, out_channels=1)), 'one output channel'),
    ):
        with pytest.raises(DeployError, match=message):
            describe_postprocessing(model)


def test_sliding_windows():
    head = dict(num_classes=5)

    def described(**test):
        return describe_window(dict(decode_head=head, test_cfg=test))

    assert described() is described(mode='whole') is describe_window(dict(bbox_head={}, test_cfg={})) is None
    assert described(mode='slide', crop_size=(512, 256), stride=(341, 256)) == {
        'size': [512, 256],
        'stride': [341, 256],
    }
    for test in (
        dict(mode='slide'),
        dict(mode='slide', crop_size=(8, 8)),
        dict(mode='slide', crop_size=(8, 8), stride=(9, 8)),
        dict(mode='slide', crop_size=(8, 8), stride=(0, 8)),
        dict(mode='tiles', crop_size=(8, 8), stride=(8, 8)),
    ):
        with pytest.raises(DeployError, match=r'test_cfg is .*\n.*\nFix: correct model.test_cfg'):
            described(**test)


def test_a_palette_that_is_a_name():
    assert describe_model(small(), {'classes': ('a',), 'palette': 'random'})['palette'] == []


# --- classifiers ------------------------------------------------------------------------------------------------------


def classifier(root, **changes) -> Config:
    config = Config.fromfile(root / 'configs' / 'imagenet' / 'trtvit_b_in1k.py')
    config.merge_from_dict(changes)
    return config


def test_a_classifier(root):
    described = describe_model(classifier(root), {'classes': ('ant', 'bee')}, (224, 224))
    assert described == {
        'method': 'ImageClassifier',
        'task': 'classification',
        'preprocessing': {
            **NUMBERS,
            'resize': {'rule': 'short', 'width': 256, 'height': 256},
            'crop': [224, 224],
            'pad': {'value': 0.0, 'divisor': 1, 'shape': [224, 224]},
        },
        'postprocessing': {},
        'classes': ['ant', 'bee'],
        'palette': [],
    }


@pytest.mark.parametrize(
    'step, message',
    [
        (dict(type='ResizeEdge', scale=256, edge='long'), "edge='long'"),
        (dict(type='ResizeEdge', scale=256, backend='pillow'), "backend='pillow'"),
        (dict(type='ResizeEdge', scale=256, interpolation='bicubic'), "interpolation='bicubic'"),
        (dict(type='ResizeEdge', scale=200), 'more than is left'),
        (dict(type='Resize', scale=(256, 256), keep_ratio=True), 'without a resize that sets the shorter side'),
    ],
)
def test_classifiers_that_cannot_be_described(root, step, message):
    config = classifier(root)
    config.test_dataloader.dataset.pipeline[1] = step
    with pytest.raises(DeployError, match=re.escape(message)):
        describe_preprocessing(config)
