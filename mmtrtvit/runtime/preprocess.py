"""Turning images into the input of a network, exactly as mmcv's transforms and OpenMMLab's preprocessors do.

Uses NumPy and OpenCV only.
"""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import cv2
import numpy as np

from ..errors import DataError, DeployError
from .image_header import ends_early

if TYPE_CHECKING:
    import PIL.Image

ImageLike = Union[np.ndarray, str, os.PathLike, 'PIL.Image.Image']


def _read_file(path: Path) -> np.ndarray:
    reason = ''
    try:
        if not path.is_file():
            raise DataError(f'There is no image {path}.', fix='correct the path')
        content = path.read_bytes() or b'\0'
        # like mmcv, rotate the image as its EXIF data says
        array = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        if ends_early(content):
            array, reason = None, ': it is cut off'
    except OSError as error:  # for example a name that is too long, or missing permissions
        array, reason = None, f' ({error.strerror})'
    except cv2.error as error:  # the image has too many pixels for OpenCV
        array, reason = None, f' ({error.err})'
    if array is None:
        raise DataError(
            f'The image {path} cannot be read{reason}.',
            expected='a complete JPEG, PNG or another format that OpenCV reads',
            fix='give another image',
        )
    return array


def _from_pil(image: Any) -> np.ndarray:
    """A PIL image, upright, BGR."""
    from PIL import ImageOps

    if image.mode in ('I', 'F') or image.mode.startswith('I;'):
        raise DataError(
            f'A PIL image was given in mode {image.mode}, of more than 8 bits.', expected=_EXPECTED, fix=_DEPTH_FIX
        )
    try:
        return np.asarray(ImageOps.exif_transpose(image).convert('RGB'))[..., ::-1]
    except OSError as error:  # PIL decodes a file when its pixels are needed
        raise DataError(f'A PIL image cannot be read: {error}.', fix='give another image') from error


_EXPECTED = 'height x width x 3 uint8, blue first as cv2.imread gives it (red first with rgb=True), or height x width'

_DEPTH_FIX = 'bring its values to 0 to 255 as they were in training, then .astype(numpy.uint8)'


def read_image(image: ImageLike, rgb: bool = False) -> np.ndarray:
    """An image as an array. A path is read from its file; files and PIL images are turned upright, as EXIF says.

    Args:
        image: ``(H, W, 3)`` uint8; or ``(H, W)`` or ``(H, W, 1)`` uint8, which is grey; or a PIL image, or a path.
        rgb: Whether red comes first in an array.

    Returns:
        ``(H, W, 3)`` uint8, BGR.

    Raises:
        DataError: If it is not a valid image.
    """
    if isinstance(image, (str, os.PathLike)):
        return _read_file(Path(image))
    if type(image).__module__.partition('.')[0] == 'PIL':
        return np.ascontiguousarray(_from_pil(image))
    if not isinstance(image, np.ndarray):
        raise DataError(
            f'An image was given as {type(image).__name__}.',
            expected=f'a NumPy array ({_EXPECTED}), a PIL image or the path of a file',
            fix='give such an image; several images as a list, or to predictor.stream(images)',
        )
    channels = image.shape[2:] if image.ndim > 1 else None
    if image.dtype != np.uint8 or channels not in ((), (1,), (3,)) or not image.size:
        sides = ' x '.join(map(str, image.shape))
        raise DataError(
            f'An image was given as {sides} {image.dtype}.',
            expected=_EXPECTED,
            fix=_DEPTH_FIX if image.dtype != np.uint8 else 'for four channels image[..., :3]',
        )
    if channels != (3,):
        return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_GRAY2BGR)
    return np.ascontiguousarray(image[..., ::-1]) if rgb else image


@dataclasses.dataclass(frozen=True)
class Frame:
    """The position of an image in the input of the network.

    Attributes:
        original: Height and width of the image.
        resized: Height and width of the resized image. It starts at the top left of the input.
        crop: Height and width of its middle, which alone is in the input; None if all of it is.
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    crop: tuple[int, int] | None = None

    @property
    def shown(self) -> tuple[int, int]:
        """Height and width of the part that is in the input."""
        return self.crop or self.resized

    @property
    def scale(self) -> tuple[float, float]:
        """Scale factors of width and height."""
        return self.resized[1] / self.original[1], self.resized[0] / self.original[0]


def resized(size: tuple[int, int], resize: Mapping | None) -> tuple[int, int]:
    """The size of an image after resizing.

    Args:
        size: Height and width of the image.
        resize: ``width``, ``height`` and ``rule``, one of :data:`~mmtrtvit.runtime.manifest.RESIZE_RULES`; None to keep
            the size.

    Returns:
        Height and width.
    """
    if resize is None:
        return size
    bounds = resize['height'], resize['width']
    if resize['rule'] == 'stretch':
        return bounds
    if resize['rule'] == 'short':
        # rounded down, as mmpretrain does
        height, width = (int(min(bounds) * side / min(size)) for side in size)
        return height, width
    if resize['rule'] == 'edges':
        factor = min(max(bounds) / max(size), min(bounds) / min(size))
    else:
        factor = min(bound / side for bound, side in zip(bounds, size, strict=True))
    # halves are rounded up, as in mmcv; a side is at least 1, because OpenCV rejects 0
    height, width = (max(int(side * factor + 0.5), 1) for side in size)
    return height, width


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Turns images into the input of a network, as described by the ``preprocessing`` of a manifest.

    Attributes:
        resize: ``width``, ``height`` and ``rule``, or None.
        rgb: Whether red comes first in the input.
        mean, std: Three numbers each.
        pad_value: Value of the padding at the right and the bottom, after normalisation.
        pad_divisor: Height and width of the input are multiples of this.
        pad_shape: Height and width of an input of fixed size, or None.
        crop: Height and width of the part that is cut out of the middle of a resized image; None for all of it.
    """

    resize: Mapping | None
    rgb: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad_value: float
    pad_divisor: int
    pad_shape: tuple[int, int] | None
    crop: tuple[int, int] | None = None

    @classmethod
    def from_manifest(cls, described: Mapping) -> 'Preprocessing':
        """Create it from the ``preprocessing`` of a manifest that was already checked."""
        pad = described['pad']
        return cls(
            described['resize'],
            described['channels'] == 'rgb',
            tuple(described['mean']),
            tuple(described['std']),
            pad['value'],
            pad['divisor'],
            pad['shape'] and tuple(pad['shape']),
            tuple(described['crop']) if described.get('crop') else None,
        )

    @functools.cached_property
    def _normalised(self) -> np.ndarray:
        """``(3, 256)`` float32: the input of the network for each value of a pixel, by channel."""
        mean, std = (np.array(values, np.float32)[:, None] for values in (self.mean, self.std))
        return (np.arange(256, dtype=np.float32) - mean) / std

    def frame(self, image: np.ndarray) -> Frame:
        """The position that an image will have in the input."""
        original = image.shape[0], image.shape[1]
        size = resized(original, self.resize)
        return Frame(original, size, self.crop and (min(size[0], self.crop[0]), min(size[1], self.crop[1])))

    def shape(self, frame: Frame) -> tuple[int, int]:
        """Height and width of the input that an image needs.

        Raises:
            DeployError: If the network has a fixed input size and the image does not fit.
        """
        if self.pad_shape is None:
            height, width = (-(-side // self.pad_divisor) * self.pad_divisor for side in frame.shown)
            return height, width
        if any(side > room for side, room in zip(frame.shown, self.pad_shape, strict=True)):
            raise DeployError(
                f'An image of {frame.original[0]} x {frame.original[1]} (height x width) becomes {frame.resized[0]} x '
                f'{frame.resized[1]}, more than the network takes.',
                expected=f'at most {self.pad_shape[0]} x {self.pad_shape[1]} after resizing',
                fix='export with --dynamic, or with a --shape into which it fits',
            )
        return self.pad_shape

    def __call__(self, images: Sequence[np.ndarray]) -> tuple[np.ndarray, list[Frame]]:
        """Make the input of a network.

        Args:
            images: ``(H, W, 3)`` uint8, BGR, all with the same input size (:meth:`shape`).

        Returns:
            ``(B, 3, H, W)`` float32, and the position of each image in it.
        """
        frames = [self.frame(image) for image in images]
        batch = np.empty((len(images), 3, *self.shape(frames[0])), np.float32)
        for place, image, frame in zip(batch, images, frames, strict=True):
            height, width = frame.resized
            if frame.resized != frame.original:
                image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
            if frame.crop:
                # as mmcv's CenterCrop: a half is rounded to the even number
                top, left = (round((side - part) / 2) for side, part in zip(frame.resized, frame.crop, strict=True))
                height, width = frame.crop
                image = image[top : top + height, left : left + width]
            place[:, height:] = place[:, :height, width:] = self.pad_value
            planes = cv2.split(image)
            for plane, values, target in zip(planes[:: -1 if self.rgb else 1], self._normalised, place, strict=True):
                cv2.LUT(plane, values, target[:height, :width])
        return batch, frames
