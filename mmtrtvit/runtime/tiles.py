"""Large images in tiles: where the tiles lie, and how their results become one."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np

from ..errors import ConfigError
from .boxes import overlaps
from .masks import Masks, as_masks
from .postprocess import Detections, LabelMap

SAME_OBJECT = 0.5
"""IoU, in the area that two tiles share, from which two detections of a class are one object."""


class Tile(NamedTuple):
    """A rectangle of an image.

    Attributes:
        top, left: Its first row and column.
        bottom, right: The row and the column after its last ones.
    """

    top: int
    left: int
    bottom: int
    right: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """Its pixels."""
        return image[self.top : self.bottom, self.left : self.right]


def check_tiling(tile: Sequence[int] | int | None, overlap: float, task: str = 'detection') -> tuple[int, int] | None:
    """Height and width of tiles as given by a user; None for whole images.

    Args:
        tile: Height and width in pixels, or one number for both.
        overlap: Least share of a tile that the next one covers again.
        task: The task of the network.

    Raises:
        ConfigError: If one of them is invalid, or the network tells the class of a whole image.
    """
    if tile is None:
        return None
    if task == 'classification':
        raise ConfigError(
            'A classifier looks at the whole image, and was given a size of tiles.',
            expected='tiles for a detector or a segmentor',
            fix='leave out the size of tiles',
        )
    sides = tuple(tile) if isinstance(tile, (list, tuple)) else (tile, tile)
    if len(sides) != 2 or any(isinstance(side, bool) or not isinstance(side, int) or side < 1 for side in sides):
        raise ConfigError(f'The tile is {tile!r}.', expected='height and width in pixels', fix='give two such numbers')
    if not isinstance(overlap, (int, float)) or not 0 <= overlap < 1:
        raise ConfigError(
            f'The overlap of tiles is {overlap!r}.',
            expected='a share of the tile: from 0 to below 1, such as 0.2',
            fix='give such a number',
        )
    return cast(tuple[int, int], sides)


def _starts(side: int, tile: int, overlap: float) -> list[int]:
    """First pixels of the tiles along a side: evenly spaced, from its beginning to its end."""
    step = max(int(tile * (1 - overlap)), 1)
    number = -(-max(side - tile, 0) // step) + 1
    return np.linspace(0, max(side - tile, 0), number).round().astype(int).tolist()


def tiles_of(size: tuple[int, int], tile: tuple[int, int], overlap: float) -> list[Tile]:
    """Tiles that cover an image, row by row. All have the given size, or that of the image where it is smaller.

    Args:
        size: Height and width of the image.
        tile: Height and width of a tile.
        overlap: Least share of a tile that the next one covers again.
    """
    rows, columns = (_starts(side, part, overlap) for side, part in zip(size, tile, strict=True))
    return [
        Tile(top, left, min(top + tile[0], size[0]), min(left + tile[1], size[1])) for top in rows for left in columns
    ]


def merge(
    results: Iterable[Detections | LabelMap], tiles: Sequence[Tile], size: tuple[int, int]
) -> Detections | LabelMap:
    """The result of an image from the results of its tiles.

    Args:
        results: The result of each tile.
        tiles: The tiles.
        size: Height and width of the image.
    """
    if len(tiles) == 1:
        return next(iter(results))
    results = iter(results)
    first = next(results)
    if isinstance(first, LabelMap):
        return _merge_label_maps(first, cast(Iterator[LabelMap], results), tiles, size)
    return _merge_detections([first, *cast(Iterator[Detections], results)], tiles, size)


def _merge_label_maps(
    first: LabelMap, others: Iterator[LabelMap], tiles: Sequence[Tile], size: tuple[int, int]
) -> LabelMap:
    """Each pixel takes its class from the tile in which it lies deepest: tiles meet in the middle of their overlap."""
    labels = np.zeros(size, first.labels.dtype)
    cuts = []
    for begin, end, side in zip(('top', 'left'), ('bottom', 'right'), size, strict=True):
        begins, ends = (sorted({getattr(tile, name) for tile in tiles}) for name in (begin, end))
        middles = [(start + stop) // 2 for start, stop in zip(begins[1:], ends, strict=False)]
        cuts.append(dict(zip(begins, zip([0, *middles], [*middles, side], strict=True), strict=True)))
    for tile, found in zip(tiles, itertools.chain([first], others), strict=True):
        (top, bottom), (left, right) = cuts[0][tile.top], cuts[1][tile.left]
        labels[top:bottom, left:right] = found.labels[
            top - tile.top : bottom - tile.top, left - tile.left : right - tile.left
        ]
    return LabelMap(labels, first.classes, first.palette)


def _same_objects(
    boxes: Sequence[np.ndarray], labels: Sequence[np.ndarray], tiles: Sequence[Tile]
) -> Iterator[tuple[float, tuple[int, int], tuple[int, int]]]:
    """Pairs of detections that may be one object: their IoU where both tiles are, and tile and place of each.

    Both tiles see the same pixels where they overlap. So two detections of an object agree there, even if the object
    goes on beyond one of the tiles or both. Each detection of a tile has at most one partner in another tile.
    """
    for one, other in itertools.combinations(range(len(tiles)), 2):
        ours, theirs = tiles[one], tiles[other]
        top, left = max(ours.top, theirs.top), max(ours.left, theirs.left)
        bottom, right = min(ours.bottom, theirs.bottom), min(ours.right, theirs.right)
        if top >= bottom or left >= right or not len(boxes[one]) or not len(boxes[other]):
            continue
        zone = np.array([left, top, right, bottom], np.float32)
        here, there = (
            np.concatenate([np.maximum(each[:, :2], zone[:2]), np.minimum(each[:, 2:], zone[2:])], axis=1)
            for each in (boxes[one], boxes[other])
        )
        iou = overlaps(here, there) * (labels[one][:, None] == labels[other][None])
        while iou.max() >= SAME_OBJECT:
            row, column = (int(place) for place in np.unravel_index(iou.argmax(), iou.shape))
            yield float(iou[row, column]), (one, row), (other, column)
            iou[row], iou[:, column] = 0, 0


def _merge_detections(results: Sequence[Detections], tiles: Sequence[Tile], size: tuple[int, int]) -> Detections:
    """An object of several tiles gets the box around all of its boxes, the union of its masks and its best score."""
    offsets = [np.array([tile.left, tile.top] * 2, np.float32) for tile in tiles]
    boxes = [found.boxes + offset for found, offset in zip(results, offsets, strict=True)]
    labels = [found.labels for found in results]
    objects = {(tile, place): [(tile, place)] for tile, found in enumerate(results) for place in range(len(found))}
    for _, one, other in sorted(_same_objects(boxes, labels, tiles), key=lambda pair: -pair[0]):
        # two detections of one tile are two objects, whatever others say
        if {tile for tile, _ in objects[one]}.isdisjoint(tile for tile, _ in objects[other]):
            objects[one].extend(objects[other])
            for member in objects[other]:
                objects[member] = objects[one]
    members = list({id(group): group for group in objects.values()}.values())
    scores = [max(results[tile].scores[place] for tile, place in group) for group in members]
    order = sorted(range(len(members)), key=lambda index: -scores[index])
    around = np.zeros((len(order), 4), np.float32)
    for row, index in zip(around, order, strict=True):
        corners = np.stack([boxes[tile][place] for tile, place in members[index]])
        row[:2], row[2:] = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    first = results[0]
    masks = None
    held = [as_masks(found.masks) for found in results if found.masks is not None]  # of all tiles, or of none
    if held:
        parts = [
            [
                part.moved(tiles[tile].top, tiles[tile].left)
                for tile, place in members[index]
                for part in held[tile].parts[place]
            ]
            for index in order
        ]
        masks = Masks(parts, size, held[0].threshold)
    return Detections(
        around,
        np.array([scores[index] for index in order], np.float32),
        np.array([labels[tile][place] for index in order for tile, place in members[index][:1]], np.int64),
        masks,
        first.classes,
    )
