"""Large images in tiles."""

import numpy as np
import pytest

from mmtrtvit.errors import ConfigError
from mmtrtvit.runtime import Detections, LabelMap, Masks, load
from mmtrtvit.runtime.masks import Part
from mmtrtvit.runtime.tiles import Tile, merge, tiles_of
from tests.fixtures.plain import MEAN, SIDE, STD


@pytest.mark.parametrize('size', [(100, 100), (101, 257), (64, 300), (40, 40), (1, 999), (128, 64)])
@pytest.mark.parametrize('overlap', [0, 0.2, 0.5, 0.99])
def test_tiles_cover_the_image_and_overlap(size, overlap):
    tiles = tiles_of(size, (64, 48), overlap)
    seen = np.zeros(size, int)
    for tile in tiles:
        assert (tile.bottom - tile.top, tile.right - tile.left) == (min(64, size[0]), min(48, size[1]))
        assert tile.top >= 0 and tile.left >= 0 and tile.bottom <= size[0] and tile.right <= size[1]
        seen[tile.top : tile.bottom, tile.left : tile.right] += 1
    assert seen.min() >= 1
    for starts, side in ((sorted({tile.top for tile in tiles}), 64), (sorted({tile.left for tile in tiles}), 48)):
        assert all(before + side - after >= int(side * overlap) - 1 for before, after in zip(starts, starts[1:]))


def rectangles(boxes, size):
    masks = np.zeros((len(boxes), *size), bool)
    for mask, (left, top, right, bottom) in zip(masks, np.round(boxes).astype(int), strict=True):
        mask[max(top, 0) : bottom, max(left, 0) : right] = True
    return masks


def seen_in(tile, boxes, labels, scores, size):
    """What a perfect detector finds in a tile: the visible parts of at least 6 x 6 pixels."""
    corner = np.array([tile.left, tile.top] * 2)
    low, high = np.zeros(2), np.array([tile.right - tile.left, tile.bottom - tile.top])
    parts = (boxes - corner).reshape(-1, 2, 2).clip(low, high).reshape(-1, 4).astype(np.float32)
    kept = ((parts[:, 2:] - parts[:, :2]) >= 6).all(axis=1)
    cells = np.ones((28, 28), np.float32)
    masks = Masks([[Part(cells, part)] for part in parts[kept]], tuple(high[::-1]), 0.5)
    return Detections(parts[kept], scores[kept], labels[kept], masks, ('a', 'b'))


def apart(random, size, number):
    """Boxes of many sizes, up to larger than a tile, none of which overlaps another one."""
    boxes = []
    while len(boxes) < number:
        corner, extent = random.integers(0, size[::-1]), random.integers(10, 120, 2)
        box = np.array([*corner, *np.minimum(corner + extent, size[::-1])])
        if (box[2:] - box[:2]).min() >= 10 and all(
            (np.minimum(box[2:], b[2:]) - np.maximum(box[:2], b[:2])).min() < -3 for b in boxes
        ):
            boxes.append(box)
    return np.array(boxes, np.float32)


@pytest.mark.parametrize('seed', range(5))
def test_objects_of_several_tiles_become_whole(seed):
    random, size = np.random.default_rng(seed), (250, 330)
    boxes = apart(random, size, 20)
    labels, scores = random.integers(0, 2, 20), np.sort(random.random(20).astype(np.float32))[::-1]
    tiles = tiles_of(size, (96, 96), 0.3)
    parts = [seen_in(tile, boxes, labels, scores, size) for tile in tiles]
    found = merge(iter(parts), tiles, size)
    assert len(tiles) > 10 and sum(map(len, parts)) > 40
    np.testing.assert_array_equal(found.boxes, boxes)
    np.testing.assert_array_equal(found.scores, scores)
    np.testing.assert_array_equal(found.labels, labels)
    assert found.classes == ('a', 'b') and found.masks.shape == (20, *size)
    # the sampled mask of a box ends a little inside of its border cells
    inside = rectangles(boxes + [2, 2, -2, -2], size)
    outside = rectangles(boxes, size)
    masks = np.asarray(found.masks)
    assert (masks | ~inside).all() and not (masks & ~outside).any()


def detections(boxes, labels, masks=None):
    scores = np.linspace(0.9, 0.5, len(boxes), dtype=np.float32)
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), scores, np.array(labels, int), masks, ('a', 'b'))


def test_masks_that_are_arrays():
    tiles, size = [Tile(0, 0, 100, 100), Tile(0, 60, 100, 160)], (100, 160)
    boxes = [[[50, 10, 100, 40]], [[0, 10, 90, 40]]]
    left, right = (detections(box, [0], rectangles(np.array(box), (100, 100))) for box in boxes)
    found = merge([left, right], tiles, size)
    assert found.boxes.tolist() == [[50, 10, 150, 40]]
    np.testing.assert_array_equal(np.asarray(found.masks), rectangles(found.boxes, size))


def test_different_objects_stay_apart():
    tiles, size = [Tile(0, 0, 100, 100), Tile(0, 60, 100, 160)], (100, 160)
    left = detections([[62, 10, 90, 40], [62, 50, 90, 90]], [0, 0])
    # in the second tile: the first one again, another class at the place of the second, and one that is elsewhere
    right = detections([[2.5, 10, 30, 40], [2, 50, 30, 90], [20, 10, 60, 40]], [0, 1, 0])
    found = merge([left, right], tiles, size)
    assert len(found) == 4 and sorted(found.labels) == [0, 0, 0, 1] and found.masks is None
    assert [62, 10, 90, 40] in found.boxes.tolist() and [80, 10, 120, 40] in found.boxes.tolist()
    assert len(merge([detections([], []), detections([], [])], tiles, size)) == 0
    assert len(merge([detections([], []), right], tiles, size)) == 3


def test_two_neighbours_in_each_tile_are_not_chained_into_one():
    """Boxes of a crowd overlap each other; each takes the best partner only."""
    tiles, size = [Tile(0, 0, 100, 100), Tile(0, 60, 100, 160)], (100, 160)
    left, right = (
        detections([[62 - x, 10, 90 - x, 40], [66 - x, 10, 94 - x, 40], [70 - x, 10, 98 - x, 40]], [0, 0, 0])
        for x in (0, 60)
    )
    found = merge([left, right], tiles, size)
    assert found.boxes.tolist() == [[62, 10, 90, 40], [66, 10, 94, 40], [70, 10, 98, 40]]


def test_two_objects_of_a_tile_stay_two():
    """A third tile that sees one object in place of two does not join them."""
    tiles, size = [Tile(0, left, 100, left + 100) for left in (0, 30, 60)], (100, 160)
    close = [[66, 10, 90, 40], [72, 10, 96, 40]]
    first, second, third = (
        detections(np.array(boxes) - [tile.left, 0, tile.left, 0], [0] * len(boxes))
        for tile, boxes in zip(tiles, (close, [[69, 10, 93, 40]], close), strict=True)
    )
    assert sorted(map(tuple, merge([first, second, third], tiles, size).boxes[:, :2].tolist())) in (
        [(66, 10), (69, 10)],
        [(66, 10), (72, 10)],
    )


def test_labels_are_those_of_the_tile_in_which_a_pixel_lies_deepest():
    size = (50, 90)
    tiles = tiles_of(size, (30, 40), 0.25)
    truth = np.random.default_rng(0).integers(0, 9, size)
    parts = []
    for tile in tiles:
        labels = np.full((30, 40), 99)  # a network is least certain at its borders
        rows = slice(3 * (tile.top > 0), 30 - 3 * (tile.bottom < 50))
        columns = slice(3 * (tile.left > 0), 40 - 3 * (tile.right < 90))
        labels[rows, columns] = tile.of(truth)[rows, columns]
        parts.append(LabelMap(labels, ('a',), np.zeros((0, 3), np.uint8)))
    np.testing.assert_array_equal(merge(iter(parts), tiles, size).labels, truth)


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_a_predictor_in_tiles(plain_segmentor, backend):
    """The class of a pixel is its largest channel, if a tile is as large as the input, so that nothing is resized."""
    predict = load(plain_segmentor(backend))
    image = np.random.default_rng(0).integers(0, 256, (101, 83, 3), dtype=np.uint8)
    wanted = ((image[..., ::-1] - np.array(MEAN)) / STD).argmax(-1)
    assert (predict(image).labels != wanted).any()
    for tile, overlap in ((SIDE, 0.2), ((SIDE, SIDE), 0), ([SIDE, SIDE], 0.6)):
        for found in (
            predict(image, tile=tile, overlap=overlap),
            predict([image], tile=tile, overlap=overlap)[0],
            next(predict.stream([image], tile=tile, overlap=overlap)),
        ):
            np.testing.assert_array_equal(found.labels, wanted)
    # an image that one tile covers is not changed by tiles
    np.testing.assert_array_equal(predict(image, tile=(200, 200)).labels, predict(image).labels)


def test_tiles_that_cannot_be(plain_segmentor):
    predict, image = load(plain_segmentor()), np.zeros((50, 50, 3), np.uint8)
    for tile in (0, -3, 2.5, (10,), (10, 0), (1, 2, 3), True, '10'):
        with pytest.raises(ConfigError, match='The tile is'):
            predict(image, tile=tile)
    for overlap in (1, -0.1, '0.2', None):
        with pytest.raises(ConfigError, match='overlap of tiles'):
            predict.stream([image], tile=10, overlap=overlap)
