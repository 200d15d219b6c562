"""The input of the network is that of OpenMMLab's own transforms and data preprocessors."""

import itertools
import struct
import zlib

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmcv.transforms import CenterCrop, Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS, init_default_scope

import mmtrtvit.deploy.export.fixed_size  # noqa: F401  registers the transform
from mmtrtvit.deploy.export.describe import describe_preprocessing
from mmtrtvit.deploy.proof.reference import Reference
from mmtrtvit.errors import DataError, DeployError
from mmtrtvit.runtime import Preprocessing

SIZES = [(480, 640), (640, 480), (427, 640), (333, 500), (500, 333), (97, 1201), (31, 33), (800, 1333), (1, 7), (7, 1)]
NORMALISING = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])

RESIZES = {
    'edges': dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    'edges, small': dict(type='Resize', scale=(64, 51), keep_ratio=True),
    'stretch': dict(type='Resize', scale=(131, 77), keep_ratio=False),
    'fit': dict(type='FitResize', scale=(131, 77)),
    'none': None,
}
PREPROCESSORS = {
    'mmdet': dict(type='DetDataPreprocessor', **NORMALISING, bgr_to_rgb=True, pad_size_divisor=32),
    'mmdet, bgr': dict(type='DetDataPreprocessor', mean=[127.5], std=[127.5], pad_value=2),
    'mmdet, raw': dict(type='DetDataPreprocessor', bgr_to_rgb=False),
    'mmseg': dict(type='SegDataPreProcessor', **NORMALISING, bgr_to_rgb=True, size=(64, 64), pad_val=1),
    'mmseg, divisor': dict(type='SegDataPreProcessor', **NORMALISING, test_cfg=dict(size_divisor=16), pad_val=1),
    'mmseg, size': dict(type='SegDataPreProcessor', **NORMALISING, test_cfg=dict(size=(1400, 1400))),
}


def config_of(resize, preprocessor) -> Config:
    scope = 'mmseg' if 'mmseg' in preprocessor else 'mmdet'
    pack = dict(type='PackSegInputs' if scope == 'mmseg' else 'PackDetInputs', meta_keys=('img_shape', 'ori_shape'))
    steps = [dict(type='LoadImageFromFile', backend_args=None), RESIZES[resize], dict(type='LoadAnnotations'), pack]
    return Config(
        dict(
            default_scope=scope,
            model=dict(data_preprocessor=PREPROCESSORS[preprocessor]),
            test_dataloader=dict(dataset=dict(pipeline=[step for step in steps if step])),
        )
    )


@pytest.fixture(scope='module')
def noise():
    generator = np.random.default_rng(0)
    return {size: generator.integers(0, 256, (*size, 3), np.uint8) for size in SIZES}


@pytest.mark.parametrize('resize, preprocessor', list(itertools.product(RESIZES, PREPROCESSORS)))
def test_the_input_is_openmmlabs(noise, resize, preprocessor):
    config = config_of(resize, preprocessor)
    init_default_scope(config.default_scope)
    model = torch.nn.Module()
    model.data_preprocessor = MODELS.build(config.model.data_preprocessor)
    reference, ours = Reference(model, config), Preprocessing.from_manifest(describe_preprocessing(config))
    for size, image in noise.items():
        if min(size) == 1 and 'edges' in resize:
            continue  # mmcv asks OpenCV for an image without rows
        wanted = reference.input(image)
        found, (frame,) = ours([image])
        assert found.dtype == np.float32 and found.shape == wanted.shape, size
        assert frame.original == size
        np.testing.assert_array_equal(found, wanted, err_msg=str(size))


@pytest.mark.parametrize('resize', ['edges', 'stretch', 'fit'])
def test_the_scale_is_openmmlabs(noise, resize):
    config = config_of(resize, 'mmdet')
    pipeline = config.test_dataloader.dataset.pipeline
    pipeline[-1].meta_keys = ('img_shape', 'ori_shape', 'scale_factor')
    pipeline[0] = dict(type='mmdet.LoadImageFromNDArray')
    del pipeline[2]
    init_default_scope('mmdet')
    compose = Compose(pipeline)
    ours = Preprocessing.from_manifest(describe_preprocessing(config))
    for size in SIZES[:-2]:
        sample = pseudo_collate([compose(dict(img=noise[size], img_id=0))])['data_samples'][0]
        frame = ours.frame(noise[size])
        assert frame.resized == sample.img_shape and frame.scale == sample.scale_factor
    if resize == 'fit':
        frames = [ours.frame(image).resized for image in noise.values()]
        assert all(height == 77 or width == 131 for height, width in frames)
        assert all(height <= 77 and width <= 131 for height, width in frames)


def test_a_fixed_shape(noise):
    ours = Preprocessing.from_manifest(describe_preprocessing(config_of('fit', 'mmdet'), (96, 160)))
    several = [noise[480, 640], noise[640, 480]]
    batch, frames = ours(several)
    assert batch.shape == (2, 3, 96, 160)
    for place, frame in zip(batch, frames, strict=True):
        height, width = frame.resized
        assert (place[:, height:] == 0).all() and (place[:, :, width:] == 0).all()
        assert (place[:, :height, :width] != 0).any(axis=0).all()
    np.testing.assert_array_equal(batch[1], ours(several[1:])[0][0])


@pytest.mark.parametrize('scale, crop', [(64, (56, 56)), (57, (56, 40)), (33, (32, 33))])
def test_the_middle_of_an_image_is_that_of_mmcv(noise, scale, crop):
    described = dict(
        resize=dict(rule='short', width=scale, height=scale),
        crop=list(crop),
        channels='bgr',
        mean=[0.0] * 3,
        std=[1.0] * 3,
        pad=dict(value=0.0, divisor=1, shape=None),
    )
    ours, cut = Preprocessing.from_manifest(described), CenterCrop(crop_size=crop[::-1])
    for size, image in noise.items():
        if size == (97, 1201):
            continue
        short = size.index(min(size))
        sides = [int(scale * side / size[short]) for side in size]
        wanted = cut(dict(img=mmcv.imresize(image, tuple(sides[::-1]))))['img']
        found, (frame,) = ours([image])
        assert frame.original == size and frame.shown == crop
        np.testing.assert_array_equal(found[0].transpose(1, 2, 0), wanted, err_msg=str(size))


def test_an_image_that_does_not_fit(noise):
    ours = Preprocessing.from_manifest(describe_preprocessing(config_of('edges', 'mmdet'), (800, 1344)))
    assert ours([noise[480, 640]])[0].shape == (1, 3, 800, 1344)
    with pytest.raises(DeployError, match=r'640 x 480 \(height x width\) becomes 1067 x 800, more than'):
        ours([noise[640, 480]])


def test_images_turned_by_their_exif_data(tmp_path):
    from PIL import Image

    from mmtrtvit.runtime.preprocess import read_image

    exif = Image.Exif()
    exif[274] = 6  # turned by 90 degrees
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)).save(
        tmp_path / 'turned.png', exif=exif
    )
    found = read_image(tmp_path / 'turned.png')
    np.testing.assert_array_equal(found, mmcv.imread(str(tmp_path / 'turned.png')))
    assert found.shape == (12, 8, 3)
    grey = np.arange(60, dtype=np.uint8).reshape(6, 10)
    cv2.imwrite(str(tmp_path / 'grey.png'), grey)
    np.testing.assert_array_equal(read_image(tmp_path / 'grey.png'), np.repeat(grey[..., None], 3, axis=2))


def png_of(width, height):
    """A PNG of a few bytes that says it is so large."""
    chunks = [(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)), (b'IDAT', zlib.compress(bytes(100)))]
    chunks.append((b'IEND', b''))
    written = [struct.pack('>I', len(c)) + name + c + struct.pack('>I', zlib.crc32(name + c)) for name, c in chunks]
    return b'\x89PNG\r\n\x1a\n' + b''.join(written)


def test_files_that_raise_instead(tmp_path):
    from mmtrtvit.runtime.preprocess import read_image

    (tmp_path / 'bomb.png').write_bytes(png_of(60000, 60000))
    for path, reason in ((tmp_path / 'bomb.png', 'pixels'), (tmp_path / f'{"a" * 300}.png', 'name too long')):
        with pytest.raises(DataError, match=rf'The image .*{path.name} cannot be read \(.*{reason}.*\)') as caught:
            read_image(path)
        assert str(caught.value).count('Fix') == 1
