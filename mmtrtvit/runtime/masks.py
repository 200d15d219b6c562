"""Masks of objects, kept at the resolution of the network and pasted into the image when asked for."""

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple, overload

import numpy as np


class Part(NamedTuple):
    """A mask within a box.

    Attributes:
        cells: ``(m, m)`` probabilities.
        box: x1, y1, x2, y2 in pixels of the image.
    """

    cells: np.ndarray
    box: np.ndarray

    def moved(self, down: int, right: int) -> 'Part':
        """The same mask at another place of the image."""
        return self._replace(box=self.box + np.array([right, down] * 2, np.float32))


class Region(NamedTuple):
    """A rectangle of an image.

    Attributes:
        top, left: Its first row and column.
        mask: ``(h, w)`` bool, its pixels.
    """

    top: int
    left: int
    mask: np.ndarray

    def moved(self, down: int, right: int) -> 'Region':
        """The same mask at another place of the image."""
        return self._replace(top=self.top + down, left=self.left + right)


def _sampling_weights(first: np.float32, last: np.float32, start: int, stop: int, cells: int) -> np.ndarray:
    """Weight of each cell of a mask for each pixel along one side of its box.

    This is bilinear sampling between the cell centres, with 0 outside the mask, in one direction. The product of both
    directions equals PyTorch's ``grid_sample`` with ``align_corners=False``.

    Args:
        first, last: Edges of the box, pixels.
        start, stop: Range of pixels.
        cells: Side of the mask.

    Returns:
        ``(stop - start, cells)`` float32.
    """
    pixels = np.arange(start, stop, dtype=np.float32) + np.float32(0.5)
    with np.errstate(divide='ignore', invalid='ignore'):
        across = (pixels - first) / (last - first) * 2 - 1  # from -1 to 1 over the box
    across[~np.isfinite(across)] = 0  # an empty box, handled as in mmdet
    place = ((across + 1) * cells - 1) / 2
    distance = np.abs(place[:, None] - np.arange(cells, dtype=np.float32))
    return np.maximum(1 - distance, 0).astype(np.float32)


def _paste(part: Part, size: tuple[int, int], threshold: float) -> Region:
    """Paste a mask as mmdet's ``FCNMaskHead`` does on a CPU."""
    cells, box = part
    if not np.isfinite(box).all():
        return Region(0, 0, np.zeros((0, 0), bool))
    # the same region as in mmdet: one pixel more than the box on each side
    left, top = (int(max(np.floor(side) - 1, 0)) for side in box[:2])
    right, bottom = (int(min(np.ceil(side) + 1, end)) for side, end in zip(box[2:], size[::-1], strict=True))
    if right <= left or bottom <= top:
        return Region(0, 0, np.zeros((0, 0), bool))
    rows = _sampling_weights(box[1], box[3], top, bottom, cells.shape[0])
    columns = _sampling_weights(box[0], box[2], left, right, cells.shape[1])
    return Region(top, left, rows @ cells @ columns.T >= threshold)


def _join(regions: Sequence[Region]) -> Region:
    """The union of several regions, in the smallest rectangle around them."""
    if len(regions) == 1:
        return regions[0]
    filled = [region for region in regions if region.mask.size]
    if not filled:
        return Region(0, 0, np.zeros((0, 0), bool))
    top, left = min(region.top for region in filled), min(region.left for region in filled)
    bottom = max(region.top + region.mask.shape[0] for region in filled)
    right = max(region.left + region.mask.shape[1] for region in filled)
    joined = np.zeros((bottom - top, right - left), bool)
    for region in filled:
        height, width = region.mask.shape
        row, column = region.top - top, region.left - left
        joined[row : row + height, column : column + width] |= region.mask
    return Region(top, left, joined)


def _run_lengths(region: Region, size: tuple[int, int]) -> np.ndarray:
    """Lengths of the runs outside and inside a mask, in turn, down one column of the image after the other."""
    height, width = size
    columns = np.pad(region.mask.T, ((0, 0), (1, 1)))
    column, row = np.nonzero(columns[:, 1:] != columns[:, :-1])  # first and end of each run
    places = (region.left + column) * height + region.top + row
    apart = np.ones(len(places), bool)
    # a run down to the last row goes on where the next column starts with one
    apart[1:-1:2] = apart[2::2] = places[1:-1:2] != places[2::2]
    counts = np.diff(places[apart], prepend=0, append=height * width)
    return counts[:-1] if len(counts) > 1 and not counts[-1] else counts


def _compressed(counts: np.ndarray) -> str:
    """Run lengths in the characters of pycocotools: differences to the last but one, 5 bits a character."""
    values = counts.astype(np.int64)
    values[3:] -= counts[1:-2]
    open_, characters = np.ones(len(values), bool), []
    while open_.any():
        bits = values & 31
        values >>= 5
        more = open_ & (values != np.where(bits & 16, -1, 0))
        characters.append(np.where(open_, bits + 32 * more + 48, 0))
        open_ = more
    text = np.stack(characters, axis=1).ravel()
    return text[text > 0].astype(np.uint8).tobytes().decode()


class Masks(Sequence[np.ndarray]):
    """The masks of the objects in an image.

    Only the probabilities that the network gave are held: 3 kB for an object of 28 x 28 cells, whatever the size of the
    image. ``masks[index]`` pastes one mask, :meth:`region` only the rectangle that it fills, and ``np.asarray(masks)``
    all of them. A slice or an array of indices or of bool selects objects.

    Args:
        parts: The parts of each object, whose union is its mask. A region is taken as it is.
        size: Height and width of the image.
        threshold: Pixels with at least this probability belong to the object.

    Attributes:
        shape: Number of objects, height and width.
    """

    dtype = np.dtype(bool)
    ndim = 3

    def __init__(self, parts: Sequence[Sequence[Part | Region]], size: tuple[int, int], threshold: float) -> None:
        self.parts = parts
        self.threshold = threshold
        self.shape = len(parts), *size

    def __len__(self) -> int:
        return len(self.parts)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice | Sequence | np.ndarray) -> 'Masks': ...

    def __getitem__(self, index: Any) -> Any:
        try:
            place = operator.index(index)
        except TypeError:
            chosen = np.arange(len(self))[index]
            return Masks([self.parts[place] for place in chosen], self.shape[1:], self.threshold)
        mask = np.zeros(self.shape[1:], bool)
        top, left, part = self.region(place)
        mask[top : top + part.shape[0], left : left + part.shape[1]] = part
        return mask

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        masks = np.zeros(self.shape, bool)
        for canvas, mask in zip(masks, self):
            canvas[:] = mask
        return masks.astype(dtype or bool, copy=False)

    def __repr__(self) -> str:
        return 'Masks({} of {} x {})'.format(*self.shape)

    def region(self, index: int) -> Region:
        """The rectangle of the image that holds the mask of an object. Everything outside it is False."""
        return _join(
            [
                part if isinstance(part, Region) else _paste(part, self.shape[1:], self.threshold)
                for part in self.parts[index]
            ]
        )

    def rle(self) -> list[dict]:
        """Run-length encodings as pycocotools makes them, with text in place of bytes, as JSON needs it.

        Returns:
            For each object ``size`` (height and width) and ``counts``.
        """
        size = self.shape[1:]
        return [
            {'size': list(size), 'counts': _compressed(_run_lengths(self.region(index), size))}
            for index in range(len(self))
        ]


def as_masks(masks: Masks | np.ndarray) -> Masks:
    """Masks of :class:`Masks`, or an array of masks, ``(n, H, W)`` bool, as the former."""
    if isinstance(masks, Masks):
        return masks
    return Masks([[Region(0, 0, mask)] for mask in masks], masks.shape[1:], threshold=0.5)
