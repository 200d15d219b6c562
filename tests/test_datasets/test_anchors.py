"""Anchors and the sizes of boxes."""

import numpy as np
import pytest
from mmengine.config import Config

from mmtrtvit.datasets.anchors import anchors_of, boxes_at_the_input, resize_factor

RETINANET = dict(
    bbox_head=dict(
        anchor_generator=dict(
            octave_base_scale=4, scales_per_octave=3, ratios=[0.5, 1, 2], strides=[8, 16, 32, 64, 128]
        )
    )
)
RPN = dict(rpn_head=dict(anchor_generator=dict(scales=[8], ratios=[0.5, 1, 2], strides=[4, 8, 16, 32, 64])))


def squares(*sides):
    return np.array([(side, side) for side in sides], dtype=float)


@pytest.mark.parametrize(
    'transform, factor',
    [
        (dict(type='Resize', scale=(320, 200), keep_ratio=True), 0.4),
        (dict(type='mmdet.Resize', scale=(200, 320), keep_ratio=True), 0.4),
        (dict(type='Resize', scale=(640, 125)), 0.5),
        (dict(type='Resize', scale=320, keep_ratio=True), 0.5),
        (dict(type='Resize', scale_factor=0.25), 0.25),
        (dict(type='Resize', scale_factor=2), 2),
        (dict(type='Resize', scale_factor=(0.5, 0.125)), 0.25),
        (dict(type='RandomFlip'), 1.0),
    ],
)
def test_factor_of_a_pipeline(transform, factor):
    assert resize_factor([dict(type='LoadImageFromFile'), transform], 640, 500) == pytest.approx(factor)


def test_boxes_at_the_input():
    content = dict(
        images=[dict(id=1, width=640, height=480), dict(id=2, width=64, height=48)],
        categories=[dict(id=7, name='cell'), dict(id=8, name='none')],
        annotations=[
            dict(image_id=1, category_id=7, bbox=[0, 0, 40, 20]),
            dict(image_id=2, category_id=7, bbox=[0, 0, 4, 2]),
            dict(image_id=1, category_id=7, bbox=[0, 0, 0, 20]),
            dict(image_id=1, category_id=7, bbox=[0, 0, 9, 9], iscrowd=1),
        ],
    )
    found = boxes_at_the_input(content, [dict(type='Resize', scale=(320, 240), keep_ratio=True)])
    assert list(found) == ['cell'] and found['cell'].tolist() == [[20, 10], [20, 10]]


@pytest.mark.parametrize('model, smallest, key', [(RETINANET, 32, 'octave_base_scale'), (RPN, 32, 'scales')])
def test_anchors_match_boxes_of_their_sizes(model, smallest, key):
    (anchors,) = anchors_of(model)
    assert anchors.smallest == smallest and anchors.key == key and anchors.place.endswith('_head.anchor_generator')
    assert anchors.matched(squares(32, 64, 512)) == 1
    assert anchors.matched(squares(22, 23)) == 0.5  # 22 ** 2 is less than half of 32 ** 2
    assert anchors.matched(np.array([[32 / 8**0.5, 32 * 8**0.5]])) == 0  # eight times as high as wide
    assert anchors.matched(squares(22), anchors.scale / 2) == 1


def test_the_rarer_class_counts_as_much_as_the_common_one():
    (anchors,) = anchors_of(RPN)
    boxes = dict(large=squares(*[100] * 900), small=squares(*[19] * 20), single=squares(1))
    assert anchors.worst(boxes) == ('small', 0) and anchors.fitting_scale(boxes) == 4
    assert anchors.value(4) == [4]


def test_anchors_that_fit_stay():
    (anchors,) = anchors_of(RETINANET)
    assert anchors.fitting_scale(dict(cell=squares(*[100] * 20))) == 4
    # one size cannot be right for both ends: the better one of the two
    assert anchors.fitting_scale(dict(tiny=squares(*[3] * 20))) in (1, 4)


def test_shipped_configs_have_one_set_of_anchors_each(root):
    for name in ('retinanet_trtvit_a_coco', 'maskrcnn_trtvit_a_coco'):
        assert len(list(anchors_of(Config.fromfile(root / 'configs' / f'{name}.py').model))) == 1
    assert not list(anchors_of(Config.fromfile(root / 'configs' / 'semfpn_trtvit_a_ade20k.py').model))
