"""Boxes, masks and label maps come out as mmdet's and mmseg's own code makes them."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask

from mmtrtvit.runtime.masks import Masks, Part
from mmtrtvit.runtime.postprocess import class_scores, detections, label_map, logits_at, nearest_labels
from mmtrtvit.runtime.preprocess import Frame

HEIGHT, WIDTH = 60, 90
BOXES = {
    'inside': [10.3, 12.7, 50.1, 40.9],
    'whole image': [0, 0, WIDTH, HEIGHT],
    'beyond the image': [-20.5, -7.25, 120.0, 80.0],
    'beyond the right': [80, 50, 100, 70],
    'one pixel': [30, 20, 31, 21],
    'a part of a pixel': [30.2, 20.4, 30.6, 20.9],
    'no extent': [30.2, 20.4, 30.2, 20.4],
    'no width': [30.2, 10, 30.2, 40],
    'at the corner': [0, 0, 1, 1],
    'thin': [5.5, 3, 6.4, 58],
}


def paste_masks(masks, boxes):
    return np.asarray(Masks([[Part(*part)] for part in zip(masks, boxes, strict=True)], (HEIGHT, WIDTH), 0.5))


def torch_masks(masks, boxes):
    """As ``FCNMaskHead`` does it on a CPU: one after the other."""
    pasted = torch.zeros(len(masks), HEIGHT, WIDTH, dtype=torch.bool)
    for index in range(len(masks)):
        part, (rows, columns) = _do_paste_mask(
            torch.from_numpy(masks[index, None, None]), torch.from_numpy(boxes[index, None]), HEIGHT, WIDTH
        )
        pasted[index, rows, columns] = (part >= 0.5)[0]
    return pasted.numpy()


@pytest.mark.parametrize('name', BOXES)
def test_masks_are_mmdets(name):
    generator = np.random.default_rng(0)
    masks = generator.random((20, 28, 28), np.float32)
    masks[0], masks[1] = 1, 0
    boxes = np.tile(np.array(BOXES[name], np.float32), (20, 1))
    found, wanted = paste_masks(masks, boxes), torch_masks(masks, boxes)
    assert found.dtype == bool and found.shape == wanted.shape
    # a probability may round to the other side of the threshold, nothing more
    assert (found != wanted).sum() <= 1e-4 * wanted.size
    np.testing.assert_array_equal(found[:2], wanted[:2])


def test_masks_of_random_boxes_are_mmdets():
    generator = np.random.default_rng(1)
    boxes = generator.uniform(-10, 90, (300, 4)).astype(np.float32)
    boxes = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], axis=1)
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, WIDTH)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, HEIGHT)
    masks = generator.random((300, 28, 28), np.float32)
    found, wanted = paste_masks(masks, boxes), torch_masks(masks, boxes)
    assert wanted.sum() > 10000 and (found != wanted).sum() <= 1e-5 * wanted.size


def test_boxes_that_are_no_numbers_have_no_mask():
    boxes = np.array([[np.nan, 0, 5, 5], [0, 0, np.inf, 5]], np.float32)
    assert not paste_masks(np.ones((2, 28, 28), np.float32), boxes).any()


def test_places_without_a_detection_are_dropped():
    dets = np.array([[0, 0, 20, 10, 0.9], [0, 0, 0, 0, 0], [5, 5, 25, 15, 0.1]], np.float32)
    outputs = {'dets': dets, 'labels': np.array([1, 0, 5])}
    frame = Frame(original=(30, 80), resized=(15, 20))
    found = detections(outputs, frame, ('a', 'b'), None)
    np.testing.assert_allclose(found.boxes, [[0, 0, 80, 20], [20, 10, 100, 30]])
    assert found.scores.tolist() == pytest.approx([0.9, 0.1]) and found.names == ['b', '5'] and found.masks is None
    with_masks = detections({**outputs, 'masks': np.ones((3, 28, 28), np.float32)}, frame, ('a', 'b'), 0.5)
    assert with_masks.masks.shape == (2, 30, 80)
    assert with_masks.masks[0][:20].all() and not with_masks.masks[0][21:].any()
    nothing = detections({'dets': dets[:0], 'labels': np.zeros(0, int), 'masks': dets[:0, None]}, frame, (), 0.5)
    assert len(nothing) == 0 and nothing.masks.shape == (0, 30, 80) and nothing.boxes.shape == (0, 4)


@pytest.mark.parametrize('size', [(64, 85), (231, 317), (33, 20), (40, 40), (1, 1)])
def test_labels_of_logits_are_pytorchs(size):
    generator = torch.Generator().manual_seed(0)
    logits = F.interpolate(torch.randn(1, 150, 9, 11, generator=generator), (64, 85), mode='bicubic')[0]
    wanted = F.interpolate(logits[None], size, mode='bilinear', align_corners=False)[0].argmax(0).numpy()
    frame = Frame(original=size, resized=(64, 85))
    padded = F.pad(logits, (0, 3, 0, 7), value=100.0).numpy()
    found = label_map(padded, frame)
    assert (logits_at(padded, frame).argmax(0) == found).all()
    assert found.shape == size and found.dtype == np.int64
    assert (found == wanted).mean() >= 0.9999 and len(np.unique(wanted)) >= min(5, wanted.size)


def test_the_first_of_equal_classes_wins():
    frame = Frame(original=(4, 4), resized=(4, 4))
    np.testing.assert_array_equal(label_map(np.zeros((3, 4, 4), np.float32), frame), np.zeros((4, 4)))
    np.testing.assert_array_equal(label_map(np.full((3, 4, 4), -1e30, np.float32), frame), np.zeros((4, 4)))


@pytest.mark.parametrize('size', [(64, 85), (231, 317), (33, 20), (683, 512), (1, 1)])
def test_labels_at_another_size_are_pytorchs(size):
    labels = np.random.default_rng(0).integers(0, 150, (64, 85))
    wanted = F.interpolate(torch.from_numpy(labels)[None, None].float(), size, mode='nearest')[0, 0].numpy()
    np.testing.assert_array_equal(nearest_labels(labels, size), wanted)


@pytest.mark.parametrize('chosen', [False, True])
def test_padding_is_cut_away_first(chosen):
    output = np.zeros((2, 8, 12), np.float32)
    output[0], output[1, :6, :9] = 1, 2
    output[:, 6:], output[:, :, 9:] = np.nan, np.nan
    if chosen:
        output = np.nan_to_num(output, nan=7).argmax(0)[None]
        output[:, 6:], output[:, :, 9:] = 7, 7
    found = label_map(output, Frame(original=(12, 18), resized=(6, 9)))
    np.testing.assert_array_equal(found, np.ones((12, 18)))


def test_scores_that_are_no_numbers_are_told():
    with pytest.warns(UserWarning, match='not a number'):
        class_scores({'scores': np.array([0.2, np.nan], np.float32)}, ('ant', 'bee'))
    frame = Frame(original=(4, 4), resized=(4, 4))
    dets = np.array([[0, 0, 2, 1, 0.9], [1, 1, 2, 2, np.nan]], np.float32)
    with pytest.warns(UserWarning, match='objects are missing'):
        assert len(detections({'dets': dets, 'labels': np.array([1, 0])}, frame, ('ant', 'bee'), None)) == 1
    for classes, value in ((slice(None), np.nan), (slice(1, 2), np.nan), (slice(2, 3), np.inf)):
        logits = np.ones((3, 4, 4), np.float32)
        logits[classes, 2, 1] = value
        with pytest.warns(UserWarning, match='pixels of the label map are wrong'):
            found = label_map(logits, frame)
        found[2, 1] = 0
        assert found.max() == 0


def test_class_scores_name_the_most_probable_classes():
    found = class_scores({'scores': np.array([0.2, 0.5, 0.3], np.float16)}, ('ant', 'bee'))
    assert found.scores.dtype == np.float32
    assert (found.label, found.name, found.score) == (1, 'bee', 0.5)
    assert [name for name, _ in found.top(2)] == ['bee', '2']  # a class without a name is its number
    assert [name for name, _ in found.top()] == ['bee', '2', 'ant']
