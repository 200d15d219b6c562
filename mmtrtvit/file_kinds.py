"""The kind of a file, told from its bytes: for messages about a file that is not the one that was asked for."""

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

_HEAD = 1 << 16
"""Bytes that are looked at."""

_DOWNLOAD = 'download it again, from the address of the file itself'

_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b'version https://git-lfs', 'a Git LFS pointer: the file itself was not fetched', 'git lfs pull'),
    (0, b'\x1f\x8b', 'a gzip archive', 'unpack it'),
    (0, b'BZh', 'a bzip2 archive', 'unpack it'),
    (0, b'\xfd7zXZ', 'an xz archive', 'unpack it'),
    (0, b"7z\xbc\xaf'", 'a 7z archive', 'unpack it'),
    (0, b'Rar!', 'a RAR archive', 'unpack it'),
    (257, b'ustar', 'a tar archive', 'unpack it'),
    (0, b'\x89HDF', 'an HDF5 file (Keras, MATLAB)', 'give the PyTorch checkpoint'),
    (8, b'{"', 'a safetensors file', 'convert it: python tools/convert_weights.py SOURCE --family FAMILY --out FILE'),
    (0, b'\x89PNG', 'a PNG image', 'give the path of a checkpoint'),
    (0, b'\xff\xd8\xff', 'a JPEG image', 'give the path of a checkpoint'),
    (0, b'%PDF', 'a PDF document', 'give the path of a checkpoint'),
    (0, b'\x7fELF', 'a program or library', 'give the path of a checkpoint'),
)
"""Place and bytes that a kind has, the kind, and the remedy."""


def _zip(path: Path, head: bytes) -> tuple[str, str] | None:
    if not head.startswith(b'PK'):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return 'cut off: its end is missing', 'copy or download it again, or use the checkpoint before it'
    if any(name.endswith('constants.pkl') for name in names) and any('/code/' in name for name in names):
        return 'a TorchScript program, not a checkpoint', 'save the state dict of the network that it was made from'
    if any(name.endswith('data.pkl') for name in names):
        return None
    few = ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')
    return f'a zip archive of {len(names)} files ({few})', 'unpack it and give the checkpoint in it'


def _page(path: Path, head: bytes) -> tuple[str, str] | None:
    text = head.decode(errors='replace').lstrip('\ufeff \t\r\n')
    if not re.match(r'(<!--.*?-->\s*)?<(!doctype html|html|head|body)', text, re.I | re.S):
        return None
    title = re.search(r'<title[^>]*>\s*(.*?)\s*</title>', text, re.I | re.S)
    shown = f' ({" ".join(title[1].split())[:80]!r})' if title and title[1] else ''
    return f'an HTML page{shown}: a failed download, or the address of a page about the file', _DOWNLOAD


def _json(path: Path, head: bytes) -> tuple[str, str] | None:
    text = head.decode(errors='replace').lstrip('\ufeff \t\r\n')
    if text[:1] not in ('{', '['):
        return None
    try:
        json.loads(path.read_text(encoding='utf-8-sig'))
    except (ValueError, OSError):
        return None
    return f'JSON ({" ".join(text[:80].split())})', f'give the path of a checkpoint, or {_DOWNLOAD}'


def _text(path: Path, head: bytes) -> tuple[str, str] | None:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:  # a character may be cut at the end of the head
        if error.start < len(head) - 4 or len(head) < _HEAD:
            return None
        text = head[: error.start].decode()
    if not all(character.isprintable() or character in '\t\r\n\f' for character in text):
        return None
    line = text.strip().partition('\n')[0]
    return f'text that begins with {line[:60]!r}', 'give the path of a checkpoint'


_READERS: tuple[Callable[[Path, bytes], tuple[str, str] | None], ...] = (_zip, _page, _json, _text)


def file_kind(path: Path) -> tuple[str, str] | None:
    """The kind of a file that should be a checkpoint of PyTorch and cannot be read as one.

    Args:
        path: An existing file.

    Returns:
        Its kind, to be read after "is", and a remedy; ``None`` where the bytes do not tell.
    """
    with path.open('rb') as file:
        head = file.read(_HEAD)
    if not head.strip(b'\0'):
        kind = 'empty' if not head else 'filled with zeros'
        return kind, 'copy or download it again, or use the checkpoint before it (was the disk full?)'
    for start, magic, kind, fix in _MAGIC:
        if head[start : start + len(magic)] == magic:
            return kind, fix
    if path.suffix == '.onnx':
        return 'an ONNX graph', 'give the checkpoint that it was exported from'
    return next((found for reader in _READERS if (found := reader(path, head))), None)
