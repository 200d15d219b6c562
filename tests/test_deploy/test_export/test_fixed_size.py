"""A fixed engine's network pads every batch to one size, and refuses what does not fit."""

import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmdet.structures import DetDataSample

from mmtrtvit.errors import DeployError
from mmtrtvit.registry import MODELS

NORMAL = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)


def preprocessor_of(shape=(96, 160), **options):
    settings = dict(NORMAL, pad_size_divisor=32, **options)
    return MODELS.build(dict(type='mmtrtvit.FixedShapeDetDataPreprocessor', fixed_shape=shape, **settings))


def data_of(*sizes):
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in sizes]
    return dict(inputs=images, data_samples=[DetDataSample(metainfo=dict(img_shape=size)) for size in sizes])


@pytest.mark.parametrize(
    'sizes', [[(96, 160)], [(51, 77)], [(1, 1)], [(96, 30), (20, 160)]], ids=['full', 'small', 'a pixel', 'two']
)
@pytest.mark.parametrize('pad_value', [0, 114])
def test_padded_at_the_right_and_the_bottom(sizes, pad_value):
    data = data_of(*sizes)
    batch = preprocessor_of(pad_value=pad_value)(data)
    assert batch['inputs'].shape == (len(sizes), 3, 96, 160)
    mean, std = (torch.tensor(NORMAL[name]).reshape(3, 1, 1) for name in ('mean', 'std'))
    for image, found, sample in zip(data['inputs'], batch['inputs'], batch['data_samples'], strict=True):
        height, width = image.shape[1:]
        expected = torch.full((3, 96, 160), float(pad_value))
        expected[:, :height, :width] = (image.flip(0) - mean) / std
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
        assert tuple(sample.batch_input_shape) == tuple(sample.pad_shape) == (96, 160)
        assert tuple(sample.img_shape) == (height, width)


def test_mmdets_own_pads_less():
    batch = DetDataPreprocessor(**NORMAL, pad_size_divisor=32)(data_of((51, 77)))
    assert batch['inputs'].shape == (1, 3, 64, 96)


def test_without_data_samples():
    data = dict(inputs=data_of((20, 30))['inputs'], data_samples=None)
    batch = preprocessor_of()(data)
    assert batch['inputs'].shape == (1, 3, 96, 160) and batch['data_samples'] is None


@pytest.mark.parametrize(
    'size, shape, padded',
    [((97, 20), (96, 160), '128 x 32'), ((20, 161), (96, 160), '32 x 192'), ((90, 150), (90, 160), '96 x 160')],
    ids=['too high', 'too wide', 'no multiple of the divisor'],
)
def test_what_does_not_fit_is_refused(size, shape, padded):
    with pytest.raises(DeployError, match=rf'{padded} after padding[\s\S]*at most {shape[0]} x {shape[1]}'):
        preprocessor_of(shape)(data_of(size))
