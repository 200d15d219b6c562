"""Masks that are pasted on demand, and results in the formats of others."""

import dataclasses
import json
import sys
import tracemalloc
import types

import numpy as np
import pytest

from mmtrtvit.errors import DataError, DeployError
from mmtrtvit.runtime import Detections, LabelMap, Masks
from mmtrtvit.runtime.masks import Part, as_masks

SIZE = 60, 90


def some_masks(boxes, size=SIZE, seed=0):
    random = np.random.default_rng(seed)
    return Masks([[Part(random.random((28, 28), np.float32), np.array(box, np.float32))] for box in boxes], size, 0.5)


BOXES = [
    [10.3, 12.7, 50.1, 40.9],
    [0, 0, 90, 60],
    [-20.5, -7.25, 120, 80],
    [30.2, 20.4, 30.6, 20.9],
    [5, 0, 9, 60],
    [200, 200, 210, 210],
    [np.nan, 0, 5, 5],
]


@pytest.fixture
def masks():
    return some_masks(BOXES)


@pytest.fixture
def found(masks):
    boxes = np.array([[1, 2, 5, 10.5], [0, 0, 9, 9]], np.float32)
    return Detections(boxes, np.array([0.75, 0.5], np.float32), np.array([1, 0]), masks[:2], ('cat', 'dog'))


def test_one_some_and_all(masks):
    dense = np.asarray(masks)
    assert dense.shape == masks.shape == (7, 60, 90) and dense.dtype == masks.dtype == bool and len(masks) == 7
    assert dense[:3].any(axis=(1, 2)).all() and not dense[5:].any()
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(mask, dense[index])
    np.testing.assert_array_equal(masks[-1], dense[-1])
    for chosen in (slice(1, 4), [4, 0], np.array([2]), dense.any(axis=(1, 2)), np.zeros(7, bool)):
        assert isinstance(masks[chosen], Masks)
        np.testing.assert_array_equal(np.asarray(masks[chosen]), dense[chosen])
    with pytest.raises(IndexError):
        masks[7]
    assert repr(masks) == 'Masks(7 of 60 x 90)' and np.asarray(masks, np.uint8).sum() == dense.sum()
    assert np.asarray(masks[:0]).shape == (0, 60, 90)


def test_a_region_is_the_size_of_its_box(masks):
    top, left, mask = masks.region(0)
    assert (top, left, mask.shape) == (11, 9, (31, 43))
    np.testing.assert_array_equal(mask, masks[0][11:42, 9:52])


def test_a_mask_of_several_parts_is_their_union(masks):
    """As an object that lies in several tiles."""
    dense = np.asarray(masks)
    for chosen in ((0, 1), (0, 4), (3, 5), (5, 6), (0, 3, 4)):
        joined = Masks([[masks.parts[index][0] for index in chosen]], SIZE, 0.5)
        np.testing.assert_array_equal(joined[0], dense[list(chosen)].any(axis=0))


def test_run_lengths_are_those_of_pycocotools(masks):
    mask_api = pytest.importorskip('pycocotools.mask')
    random = [some_masks(np.random.default_rng(seed).uniform(-10, 90, (20, 4)), seed=seed) for seed in range(5)]
    solid = Masks([[Part(np.ones((28, 28), np.float32), np.array(box, np.float32))] for box in BOXES], SIZE, 0.5)
    seen = 0
    for each in (masks, solid, *random):
        for encoded, mask in zip(each.rle(), each, strict=True):
            wanted = mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))
            assert encoded == {'size': list(SIZE), 'counts': wanted['counts'].decode()}
            np.testing.assert_array_equal(mask_api.decode(encoded), mask)
            seen += mask.any()
    assert seen > 20


def test_memory_of_100_objects_on_12_megapixels():
    """Dense masks would take 1.2 GB."""
    random = np.random.default_rng(0)
    corners = random.uniform(0, 2800, (100, 2))
    boxes = np.concatenate([corners, corners + random.uniform(20, 200, (100, 2))], axis=1)
    boxes[0] = 0, 0, 4000, 3000  # the worst: one as large as the image
    tracemalloc.start()
    try:
        masks = some_masks(boxes, (3000, 4000))
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        assert len(masks.rle()) == 100
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert held < 1e6, held
    assert peak < 200e6, peak


def test_coco_results(found):
    entries = json.loads(json.dumps(found.to_coco(7)))
    assert entries[0] == {
        'image_id': 7,
        'category_id': 1,
        'bbox': [1, 2, 4, 8.5],
        'score': 0.75,
        'segmentation': found.masks.rle()[0],
    }
    assert [entry['category_id'] for entry in found.to_coco('a', {'cat': 17, 'dog': 18})] == [18, 17]
    with pytest.raises(DataError, match=r'no category id for dog.\n(.*\n)Fix: '):
        found.to_coco(7, {'cat': 17})
    boxes_only = Detections(found.boxes, found.scores, found.labels, None, found.classes)
    assert 'segmentation' not in boxes_only.to_coco(7)[0]
    assert found.above(0.9).to_coco(7) == []


def test_coco_results_of_fields_that_differ_in_length(found):
    """None is dropped in silence."""
    boxes_only = dataclasses.replace(found, masks=None)
    for given, field in ((boxes_only, 'scores'), (boxes_only, 'boxes'), (found, 'masks')):
        with pytest.raises(ValueError, match='zip'):
            dataclasses.replace(given, **{field: getattr(given, field)[:1]}).to_coco(7)


def test_masks_that_are_an_array(found):
    dense = dataclasses.replace(found, masks=np.asarray(found.masks))
    assert dense.to_coco(7) == found.to_coco(7) and as_masks(found.masks) is found.masks
    np.testing.assert_array_equal(as_masks(dense.masks)[1], found.masks[1])


def test_supervision(found, monkeypatch):
    monkeypatch.setitem(sys.modules, 'supervision', types.SimpleNamespace(Detections=types.SimpleNamespace))
    given = found.to_supervision()
    np.testing.assert_array_equal(given.xyxy, found.boxes)
    np.testing.assert_array_equal(given.mask, np.asarray(found.masks))
    assert given.confidence.tolist() == [0.75, 0.5] and given.class_id.tolist() == [1, 0]
    assert given.data['class_name'].tolist() == ['dog', 'cat']
    monkeypatch.setitem(sys.modules, 'supervision', None)
    with pytest.raises(DeployError, match='package supervision .*\nFix: pip install "supervision"'):
        found.to_supervision()


def test_label_maps_as_images():
    labels = np.array([[0, 2], [1, 1]])
    for classes, dtype in ((3, np.uint8), (256, np.uint8), (257, np.uint16), (0, np.uint8)):
        image = LabelMap(labels, ('x',) * classes, np.zeros((0, 3), np.uint8)).to_image()
        assert image.dtype == dtype
        np.testing.assert_array_equal(image, labels)
    assert LabelMap(labels * 200, (), np.zeros((0, 3), np.uint8)).to_image().max() == 400
