"""Drawing: objects, label maps, and PNGs with a palette."""

import io

import cv2
import numpy as np
from PIL import Image

from mmtrtvit.prediction.drawing import colours_of, draw_detections, draw_label_map
from mmtrtvit.prediction.palette_png import palette_png
from mmtrtvit.runtime import Detections, LabelMap


def detections(boxes, masks=None, classes=('one', 'two')):
    number = len(boxes)
    scores = np.linspace(0.9, 0.5, number, dtype=np.float32) if number else np.zeros(0, np.float32)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), scores, np.arange(number) % len(classes), masks, tuple(classes)
    )


def test_boxes_have_the_colour_of_their_class():
    image = np.full((120, 160, 3), 90, np.uint8)
    before = image.copy()
    palette = [[255, 0, 0], [0, 0, 255]]  # RGB
    picture = draw_detections(image, detections([[20, 40, 80, 100], [100, 30, 150, 90]]), palette, labels=False, line=1)
    np.testing.assert_array_equal(image, before)
    assert picture[70, 20].tolist() == [0, 0, 255] and picture[60, 150].tolist() == [255, 0, 0]  # BGR
    assert (picture != 90).any(-1).sum() == 2 * (60 + 60) + 2 * (50 + 60)  # nothing but the two frames
    with_names = draw_detections(image, detections([[20, 40, 80, 100]]), palette)
    assert (with_names[20:40, 20:60] != 90).any()  # above the box


def test_masks_are_mixed_into_the_image():
    image = np.full((60, 80, 3), 100, np.uint8)
    masks = np.zeros((1, 60, 80), bool)
    masks[0, 20:40, 30:50] = True
    picture = draw_detections(image, detections([[30, 20, 50, 40]], masks), [[200, 0, 0]], labels=False, line=1)
    assert picture[30, 40].tolist() == [50, 50, 150] and picture[10, 10].tolist() == [100] * 3


def test_boxes_at_the_border_and_beyond():
    image = np.zeros((30, 40, 3), np.uint8)
    masks = np.ones((4, 30, 40), bool)
    boxes = [[-5, -5, 10, 10], [30, 20, 60, 50], [5, 5, 5, 5], [0, 0, 40, 30]]
    picture = draw_detections(image, detections(boxes, masks), [])
    assert picture.shape == image.shape and picture.any()
    assert not draw_detections(image, detections([]), []).any()


def test_letters_that_opencv_does_not_have():
    image = np.zeros((60, 200, 3), np.uint8)
    box = [[20, 40, 60, 55]]
    pictures = [draw_detections(image, detections(box, classes=[name]), []) for name in ('??', '犬猫')]
    np.testing.assert_array_equal(*pictures)


def test_colours_that_are_missing_are_made_and_differ():
    made = colours_of([], 80)
    assert made.shape == (80, 3) and made.dtype == np.uint8 and len(np.unique(made, axis=0)) == 80
    kept = colours_of([[1, 2, 3]], 3)
    assert kept[0].tolist() == [1, 2, 3] and len(kept) == 3
    assert len(colours_of(np.zeros((9, 3), np.uint8), 4)) == 4


def test_label_maps():
    image = np.full((2, 3, 3), 100, np.uint8)
    found = LabelMap(np.array([[0, 1, 1], [0, 0, 255]]), ('a', 'b'), np.array([[200, 0, 0], [0, 200, 0]], np.uint8))
    picture = draw_label_map(image, found)
    assert picture[0, 0].tolist() == [50, 50, 150] and picture[0, 1].tolist() == [50, 150, 50]
    assert picture[1, 2].tolist() == [50, 50, 50]  # without a class


def test_a_png_with_a_palette():
    numbers = np.random.default_rng(0)
    labels, colours = numbers.integers(0, 150, (37, 53)), numbers.integers(0, 256, (150, 3), dtype=np.uint8)
    content = palette_png(labels, colours)
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == 'P' and image.getpalette()[:450] == colours.ravel().tolist()
        np.testing.assert_array_equal(np.array(image), labels)
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded[..., ::-1], colours[labels])
