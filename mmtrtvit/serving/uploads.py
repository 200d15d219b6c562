"""Images from strangers: their size is read from the header, before anything is decoded."""

import cv2
import numpy as np

from ..errors import DataError
from ..runtime.image_header import ends_early, image_size

MAX_BYTES, MAX_PIXELS = 20 << 20, 50_000_000
"""Limits of a file, and of height times width, unless a caller sets others."""


def decode_upload(content: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an image that anybody may have sent.

    Args:
        content: A JPEG, PNG, WebP or BMP file.
        max_bytes: Largest size of the file.
        max_pixels: Largest product of height and width. An image above it is not decoded.

    Returns:
        ``(H, W, 3)`` uint8, BGR, rotated as its EXIF data says.

    Raises:
        DataError: If it is not such a file, or too large, or damaged.
    """
    if len(content) > max_bytes:
        raise DataError(
            f'The file has {len(content)} bytes.', expected=f'at most {max_bytes}', fix='send a smaller image'
        )
    size = image_size(content)
    if size is None:
        raise DataError(
            'The file is not an image that is read here.', expected='JPEG, PNG, WebP or BMP', fix='send another file'
        )
    if size[0] * size[1] > max_pixels:
        raise DataError(
            f'The image has {size[0]} x {size[1]} pixels.',
            expected=f'at most {max_pixels} pixels',
            fix='send a smaller image',
        )
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None or ends_early(content):
        raise DataError('The image is damaged.', expected='a complete file', fix='send it again')
    return image
