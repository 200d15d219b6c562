"""Images in the forms that other libraries give them."""

import cv2
import numpy as np
import pytest
from PIL import Image

from mmtrtvit.errors import DataError
from mmtrtvit.runtime import load
from mmtrtvit.runtime.preprocess import read_image


@pytest.fixture
def picture():
    """BGR."""
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_red_first(picture):
    np.testing.assert_array_equal(read_image(picture[..., ::-1], rgb=True), picture)
    assert read_image(picture) is picture
    assert read_image(picture[..., ::-1].copy(), rgb=True).flags.c_contiguous


def test_grey(picture):
    grey = picture[..., 0]
    for given in (grey, grey[..., None], Image.fromarray(grey)):
        for rgb in (False, True):
            np.testing.assert_array_equal(read_image(given, rgb), np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize('rgb', [False, True])
@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'P', 'L', 'LA', '1', 'CMYK'])
def test_pil_images_of_8_bits(picture, mode, rgb):
    image = Image.fromarray(picture[..., ::-1].copy()).convert(mode)
    np.testing.assert_array_equal(read_image(image, rgb), np.array(image.convert('RGB'))[..., ::-1])


@pytest.mark.parametrize('mode', ['I', 'F', 'I;16'])
def test_pil_images_of_more_bits(mode):
    with pytest.raises(DataError, match=f'mode {mode}, of more than 8 bits.\n(.*\n)Fix: bring its values'):
        read_image(Image.new(mode, (8, 8)))


def test_exif_turns_files_and_pil_images_alike(picture, tmp_path):
    path, exif = tmp_path / 'turned.png', Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(picture[..., ::-1].copy()).save(path, exif=exif)
    wanted = cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE)
    np.testing.assert_array_equal(read_image(path), wanted)
    np.testing.assert_array_equal(read_image(path, rgb=True), wanted)
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_image(image), wanted)


def test_a_file_of_16_bits_is_read_as_in_training(picture, tmp_path):
    """Both OpenCV and mmcv keep the upper 8 bits."""
    path = tmp_path / 'deep.png'
    cv2.imwrite(str(path), picture.astype(np.uint16) * 256 + 77)
    np.testing.assert_array_equal(read_image(path), picture)


def test_a_file_that_is_cut_off(picture, tmp_path):
    """OpenCV up to 4.11 decodes it, with grey in place of the missing part."""
    path = tmp_path / 'short.jpg'
    cv2.imwrite(str(path), np.repeat(picture, 20, axis=0))
    read_image(path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match='short.jpg cannot be read: it is cut off.\nExpected: a complete JPEG'):
        read_image(path)


def test_a_truncated_pil_image(picture, tmp_path):
    path = tmp_path / 'short.jpg'
    Image.fromarray(np.repeat(picture, 20, axis=0)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with Image.open(path) as image, pytest.raises(DataError, match=r'PIL image cannot be read: .*\nFix: '):
        read_image(image)


def test_predictors_take_them_all(plain_segmentor, picture):
    predict = load(plain_segmentor())
    wanted = predict(picture).labels
    red_first = picture[..., ::-1]
    for found in (
        predict(red_first, rgb=True),
        predict([red_first], rgb=True)[0],
        next(predict.stream([red_first], rgb=True)),
        predict(Image.fromarray(red_first.copy())),
    ):
        np.testing.assert_array_equal(found.labels, wanted)
    assert (predict(red_first).labels != wanted).any()
    for image in (picture.astype(np.float32) / 255, picture.astype(np.uint16)):
        with pytest.raises(DataError, match='Fix: bring its values to 0 to 255'):
            predict(image)


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_a_predictor_says_what_it_is(plain_segmentor, backend):
    assert repr(load(plain_segmentor(backend))) == (
        f'Predictor(semfpn for segmentation, 3 classes, input * x 3 x 24 x 24, fp32, {backend} on cpu)'
    )
