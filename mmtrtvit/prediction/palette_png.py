"""PNG files with a palette, which OpenCV cannot write."""

import struct
import zlib

import numpy as np


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))


def palette_png(labels: np.ndarray, colours: np.ndarray) -> bytes:
    """A label map as a PNG: its pixels are the classes, its palette the colours of them.

    Args:
        labels: ``(H, W)`` integers from 0 to 255.
        colours: ``(n, 3)`` uint8 RGB, at most 256.

    Returns:
        The file.
    """
    height, width = labels.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each row starts with the number of its filter: none
    rows[:, 1:] = labels
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    header = struct.pack('>IIBBBBB', width, height, 8, 3, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        [
            _chunk(b'IHDR', header),
            _chunk(b'PLTE', table.tobytes()),
            _chunk(b'IDAT', zlib.compress(rows.tobytes(), 3)),
            _chunk(b'IEND', b''),
        ]
    )
