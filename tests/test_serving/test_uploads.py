"""Uploads: the size is known from the header, and what is refused is refused before it is decoded."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from mmtrtvit.errors import DataError
from mmtrtvit.runtime.image_header import image_size
from mmtrtvit.serving import decode_upload, uploads

IMAGE = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)


def encoded(suffix, *options):
    return cv2.imencode(suffix, IMAGE, options)[1].tobytes()


FILES = {
    'jpeg': encoded('.jpg'),
    'progressive jpeg': encoded('.jpg', cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    'png': encoded('.png'),
    'bmp': encoded('.bmp'),
    'lossy webp': encoded('.webp', cv2.IMWRITE_WEBP_QUALITY, 80),
    'lossless webp': encoded('.webp', cv2.IMWRITE_WEBP_QUALITY, 101),
}


@pytest.mark.parametrize('kind', FILES)
def test_sizes_are_in_the_header(kind):
    assert image_size(FILES[kind]) == (37, 53)
    assert decode_upload(FILES[kind]).shape == (37, 53, 3)


def test_a_jpeg_with_a_thumbnail_has_the_size_of_the_whole():
    thumbnail = cv2.imencode('.jpg', IMAGE[:8, :8])[1].tobytes()
    segment = b'\xff\xe1' + struct.pack('>H', len(thumbnail) + 8) + b'Exif\0\0' + thumbnail
    assert image_size(FILES['jpeg'][:2] + segment + FILES['jpeg'][2:]) == (37, 53)


def test_an_extended_webp():
    chunk = b'VP8X' + struct.pack('<I', 10) + bytes(4) + (52).to_bytes(3, 'little') + (36).to_bytes(3, 'little')
    assert image_size(b'RIFF' + struct.pack('<I', 22) + b'WEBP' + chunk) == (37, 53)


@pytest.mark.parametrize('kind', FILES)
def test_files_that_were_cut_off(kind):
    for length in range(0, 60):
        with pytest.raises(DataError):
            decode_upload(FILES[kind][:length])


@pytest.mark.parametrize('content', [b'', b'text', b'GIF89a' + bytes(100), b'\xff\xd8' + bytes(100), b'<svg></svg>'])
def test_other_files(content):
    with pytest.raises(DataError, match='(?s)not an image that is read here.*JPEG, PNG, WebP or BMP'):
        decode_upload(content)


def bomb(width, height):
    """A PNG of a few bytes that would be gigabytes."""

    def chunk(kind, content):
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', body) + chunk(b'IEND', b'')


def test_an_image_that_is_too_large_is_never_decoded(monkeypatch):
    monkeypatch.setattr(uploads.cv2, 'imdecode', lambda *_: pytest.fail('it was decoded'))
    with pytest.raises(DataError, match='50000 x 40000 pixels'):
        decode_upload(bomb(40000, 50000))
    with pytest.raises(DataError, match='37 x 53 pixels'):
        decode_upload(FILES['png'], max_pixels=37 * 53 - 1)
    with pytest.raises(DataError, match='bytes'):
        decode_upload(FILES['png'], max_bytes=1000)


@pytest.mark.parametrize(
    'filling', [bytes(1_000_000), b'\xff' * 1_000_000, b'\xff\xe0\0\2' * 250_000, b'\xff\xe0\0\0' * 9]
)
def test_a_jpeg_of_endless_segments(filling):
    content = b'\xff\xd8' + filling + FILES['jpeg'][2:]
    assert image_size(content) in (None, (37, 53))
    if len(filling) == 1_000_000 and filling[1] == 0xE0:
        with pytest.raises(DataError, match='not an image'):
            decode_upload(content)


@pytest.mark.parametrize('kind', ['jpeg', 'progressive jpeg'])
def test_a_jpeg_that_ends_early(kind):
    for share in (0.5, 0.9, 0.999):
        with pytest.raises(DataError, match='damaged'):
            decode_upload(FILES[kind][: int(len(FILES[kind]) * share)])
    assert decode_upload(FILES[kind] + b'more \xff\xda').shape == (37, 53, 3)  # some cameras append


def test_damaged_images():
    for kind in ('png', 'lossless webp'):
        content = bytearray(FILES[kind])
        content[60:] = bytes(len(content) - 60)
        with pytest.raises(DataError, match='damaged'):
            decode_upload(bytes(content))
