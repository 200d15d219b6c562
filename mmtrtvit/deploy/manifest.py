"""What an exported artefact consists of, and whether it is still what was exported."""

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from ..atomic import atomic_file
from ..errors import DeployError
from ..version import __version__

MANIFEST = 'manifest.json'
FORMAT = 1
"""Counted up when the manifest changes in a way that an older reader cannot follow."""

_MODULES = ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmdeploy', 'onnx', 'onnxruntime')


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of every module that had a part in an export."""
    # this package may run from a checkout, which no distribution knows of
    found = {'python': platform.python_version(), 'mmtrtvit': f'mmtrtvit {__version__}'}
    distributions = importlib.metadata.packages_distributions()
    for module in _MODULES:
        for distribution in distributions.get(module, [])[:1]:
            found[module] = f'{distribution} {importlib.metadata.version(distribution)}'
    return found


def write_manifest(folder: str | os.PathLike, content: Mapping) -> dict:
    """Write the manifest of the files that a folder holds.

    Args:
        folder: The artefact's folder; every file in it is listed with its size and hash.
        content: What else to say: backend, precision, shapes, classes, where it came from.

    Returns:
        The manifest as written.
    """
    folder = Path(folder)
    files = {
        path.name: {'bytes': path.stat().st_size, 'sha256': sha256(path)}
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST
    }
    text = json.dumps({'format': FORMAT, **content, 'versions': versions(), 'files': files}, indent=2) + '\n'
    with atomic_file(folder / MANIFEST) as temporary:
        temporary.write_text(text)
    return json.loads(text)  # tuples of a config are lists in it


def read_manifest(folder: str | os.PathLike) -> dict:
    """Read the manifest of an artefact and check every file that it lists.

    Raises:
        DeployError: If there is no manifest, it is not one, or a file is missing or was changed.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise DeployError(
            f'{folder} holds no exported artefact: there is no {MANIFEST} in it.',
            expected='a folder that tools/deploy.py left',
            fix='give the --work-dir of tools/deploy.py, or export again if it was stopped',
        )
    try:
        manifest = json.loads(path.read_text())
        files, version = manifest['files'], manifest['format']
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DeployError(f'{path} is not a manifest: {error!r}', fix='export again with tools/deploy.py') from error
    if version != FORMAT:
        raise DeployError(
            f'{path} has format {version!r}, this version of mmtrtvit reads {FORMAT}.', fix='export again with it'
        )
    for name, said in files.items():
        file = folder / Path(name).name
        if not file.is_file() or file.stat().st_size != said['bytes'] or sha256(file) != said['sha256']:
            state = 'is missing' if not file.is_file() else 'is not the file that was exported (size or hash differs)'
            raise DeployError(f'{file} {state}.', fix='copy the whole folder again, or export again')
    return manifest
