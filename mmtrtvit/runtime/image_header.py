"""Height and width of image files, by their headers, and files that end early."""

import re
import struct
from collections.abc import Iterator

_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""JPEG markers of the segments that hold height and width."""

_MARKER = re.compile(rb'\xff([^\xff])', re.DOTALL)
_MOST_SEGMENTS = 2000
"""Limit of the work on a file that was made to take long."""

_SCAN, _END = 0xDA, b'\xff\xd9'
"""JPEG marker of pixels, and the bytes that end a file. Pixels never have these bytes."""


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of each segment, up to the first one with pixels.

    Raises:
        IndexError, struct.error: If the file ends before, or has more segments than any camera writes.
    """
    place = 2
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(content, place, place + 4096)  # padding between segments is short
        if found is None:
            break
        marker, place = found[1][0], found.end()
        yield marker, place
        if marker == _SCAN:
            return
        if marker != 0x01 and not 0xD0 <= marker <= 0xD7:  # these have no length
            place += struct.unpack_from('>H', content, place)[0]
    raise IndexError


def _jpeg_size(content: bytes) -> tuple[int, int]:
    place = next((place for marker, place in _jpeg_segments(content) if marker in _FRAMES), len(content))
    height, width = struct.unpack_from('>HH', content, place + 3)
    return height, width


def ends_early(content: bytes) -> bool:
    """True for a JPEG without an end. OpenCV decodes it all the same, with grey in place of the missing part."""
    if not content.startswith(_JPEG):
        return False
    try:
        return content.find(_END, max(place for _, place in _jpeg_segments(content))) < 0
    except (IndexError, struct.error):
        return True


def _png_size(content: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from('>II', content, 16)
    return height, width


def _bmp_size(content: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from('<ii', content, 18)
    return abs(height), width


def _webp_size(content: bytes) -> tuple[int, int]:
    kind = content[8:16]
    if kind == b'WEBPVP8X':
        width, height = (int.from_bytes(content[start : start + 3], 'little') + 1 for start in (24, 27))
        if len(content) < 30:
            raise IndexError
    elif kind == b'WEBPVP8L':
        (bits,) = struct.unpack_from('<I', content, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b'WEBPVP8 ':
        width, height = (side & 0x3FFF for side in struct.unpack_from('<HH', content, 26))
    else:
        raise IndexError
    return height, width


_JPEG = b'\xff\xd8'

_READERS = {_JPEG: _jpeg_size, b'\x89PNG\r\n\x1a\n': _png_size, b'BM': _bmp_size, b'RIFF': _webp_size}
"""First bytes of a file to the function that reads its height and width."""


def image_size(content: bytes) -> tuple[int, int] | None:
    """Height and width of a JPEG, PNG, WebP or BMP file, by its header.

    Returns:
        None if it is another kind of file, or ends within the header.
    """
    read = next((read for start, read in _READERS.items() if content.startswith(start)), None)
    if read is None:
        return None
    try:
        height, width = read(content)
    except (IndexError, struct.error):
        return None
    return (height, width) if height > 0 and width > 0 else None
