"""The manifest of an exported artefact: its files with their hashes, and everything that a runtime needs.

A manifest may come from anyone, so it is data only: nothing in it is executed, and it can name files of its own folder
only. It holds a hash of every other file and of itself. The hashes reveal damage and careless edits. They do not prove
who made the artefact, as an attacker can recompute them.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..atomic import atomic_file
from ..errors import DeployError
from ..version import __version__
from .backends import BACKENDS
from .precisions import PRECISIONS
from .tasks import FLAVOURS, TASKS

MANIFEST = 'manifest.json'
FORMAT = 4
"""Version of the format. Increase it when older readers would misunderstand a manifest."""

WINDOW_FORMAT = 5
"""Version of a manifest with a sliding window, which older readers would run without it."""

_HASH = 'sha256'
"""Key of the hash of the manifest itself."""

RESIZE_RULES = ('stretch', 'edges', 'fit', 'short')
"""Rules for resizing an image to a width and a height.

``'stretch'`` resizes to exactly this size and ignores the aspect ratio. The others keep the aspect ratio: ``'edges'``
limits the longer side of the image by the larger of the two numbers and the shorter side by the smaller one (mmcv's
``keep_ratio``); ``'fit'`` makes the image as large as possible within this width and height; ``'short'`` brings the
shorter side to the smaller number (mmpretrain's ``ResizeEdge``).
"""

_MODULES = (
    *('torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'mmdeploy', 'numpy', 'cv2'),
    *('onnx', 'onnxslim'),
    *(backend.module for backend in BACKENDS.values()),
)

# --- what has to be in it ---------------------------------------------------------------------------------------------


_MOST_PIXELS = 1 << 16
"""Limit of a side, pixels: far above the input of any network."""

_FLOAT32_MAX = 3.4e38


def _is_integer(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_side(value: Any) -> bool:
    return _is_integer(value) and value <= _MOST_PIXELS


def _is_number(value: Any) -> bool:
    """True if float32 can hold the value: not NaN, not infinite, and not an integer that is too large."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _FLOAT32_MAX


def _is_deviation(value: Any) -> bool:
    return _is_number(value) and value >= 1 / _FLOAT32_MAX


def _is_list(value: Any, of: Callable[[Any], bool], length: int | None = None) -> bool:
    return isinstance(value, list) and (length is None or len(value) == length) and all(map(of, value))


def _is_name(value: Any) -> bool:
    """True if the value is a file name, without a folder, that file systems accept."""
    return (
        isinstance(value, str)
        and value not in ('', '.', '..')
        and value.isprintable()  # excludes control characters and lone surrogates
        and not set(value) & {'/', '\\', ':'}
        and len(value.encode()) <= 255
    )


def _is_tensors(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(tensor, dict)
        and isinstance(tensor.get('dtype'), str)
        and _is_list(tensor.get('shape'), lambda side: isinstance(side, str) or _is_integer(side, -1))
        for tensor in value.values()
    )


def _is_resize(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and all(_is_side(value.get(side)) for side in ('width', 'height'))
        and value.get('rule') in RESIZE_RULES
    )


def _is_padding(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_number(value.get('value'))
        and _is_side(value.get('divisor'))
        and (value.get('shape', ()) is None or _is_list(value.get('shape'), _is_side, 2))
    )


def _is_profile(value: Any) -> bool:
    shapes = [value.get(name) for name in ('min', 'opt', 'max')] if isinstance(value, dict) else [None]
    return all(_is_list(shape, _is_side, 4) for shape in shapes) and all(
        least <= usual <= most for least, usual, most in zip(*shapes, strict=True)
    )


def _is_window(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(_is_list(value.get(name), _is_side, 2) for name in ('size', 'stride'))
        and all(step <= side for side, step in zip(value['size'], value['stride'], strict=True))
    )


def _is_profiles(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_profile, value.values()))


Rule = tuple[Callable[[Any], bool], str]
"""A test of a value, and the expected value in words."""


def _one_of(names: Iterable[str]) -> Rule:
    names = tuple(names)
    return names.__contains__, ' or '.join(names)


_RULES: dict[str, Rule] = {
    'method': (lambda value: isinstance(value, str), 'a name'),
    'task': _one_of(TASKS),
    'backend': _one_of(BACKENDS),
    'precision': _one_of(PRECISIONS),
    'flavour': _one_of(FLAVOURS),
    'engine': (_is_name, 'the name of a file in the folder'),
    'inputs': (_is_tensors, 'name to dtype and shape'),
    'outputs': (_is_tensors, 'name to dtype and shape'),
    'classes': (lambda value: _is_list(value, lambda name: isinstance(name, str)), 'a list of names'),
    'palette': (
        lambda value: _is_list(value, lambda colour: _is_list(colour, lambda c: _is_integer(c, 0) and c < 256, 3)),
        'a list of three numbers from 0 to 255 each',
    ),
    'preprocessing.resize': (_is_resize, f'width, height and rule ({", ".join(RESIZE_RULES)}), or null'),
    'preprocessing.channels': (lambda value: value in ('rgb', 'bgr'), 'rgb or bgr'),
    'preprocessing.mean': (lambda value: _is_list(value, _is_number, 3), 'three numbers'),
    'preprocessing.std': (lambda value: _is_list(value, _is_deviation, 3), 'three numbers above 0'),
    'preprocessing.pad': (_is_padding, 'value, divisor and shape'),
}
"""Dotted key to the rule for its value."""

_OPTIONAL: dict[str, Rule] = {
    'profiles': (
        _is_profiles,
        'name of an input to the shapes min, opt and max of four sides each, none of which shrinks',
    ),
    'preprocessing.crop': (lambda value: _is_list(value, _is_side, 2), 'height and width'),
    'window': (_is_window, 'size and stride, height and width each, and a stride within the size'),
}
"""Optional keys."""

_TASK_RULES: dict[str, dict[str, Rule]] = {
    'detection': {},
    'instance': {'postprocessing.mask_threshold': (lambda value: _is_number(value) and 0 <= value <= 1, '0 to 1')},
    'segmentation': {'postprocessing.align_corners': (lambda value: value is False, 'false')},
    'classification': {},
}
"""Additional keys of each task."""


def _look_up(content: Mapping, dotted: str) -> Any:
    for key in dotted.split('.'):
        content = content.get(key, ...) if isinstance(content, Mapping) else ...
    return content


def check_content(manifest: Mapping, path: Path) -> None:
    """Check that a manifest has everything a runtime needs.

    Args:
        manifest: The manifest.
        path: Its path, for the error message.

    Raises:
        DeployError: Naming the first key that is missing or has an invalid value.
    """
    of_task = _TASK_RULES.get(str(manifest.get('task')), {})
    for key, (test, expected) in {**_RULES, **of_task, **_OPTIONAL}.items():
        value = _look_up(manifest, key)
        if value is ... and key in _OPTIONAL:
            continue
        if value is ... or not test(value):
            state = 'is missing' if value is ... else f'is {json.dumps(value)[:80]}'
            raise DeployError(f'{path}: {key} {state}.', expected=expected, fix='export again with tools/deploy.py')
    if manifest['engine'] not in manifest['files']:
        raise DeployError(
            f'{path}: the engine {manifest["engine"]} is not among its files.', fix='export again with tools/deploy.py'
        )


# --- writing and reading ----------------------------------------------------------------------------------------------


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sealed(manifest: Mapping) -> dict:
    """A manifest with the SHA-256 of its content: JSON with sorted keys, without spaces and without the hash."""
    content = {key: value for key, value in manifest.items() if key != _HASH}
    text = json.dumps(content, sort_keys=True, separators=(',', ':'))
    return {**content, _HASH: hashlib.sha256(text.encode()).hexdigest()}


def versions() -> dict[str, str]:
    """Versions of Python and of every module that was involved in an export."""
    # a checkout has no distribution to ask for the version
    found = {'python': platform.python_version(), 'mmtrtvit': f'mmtrtvit {__version__}'}
    distributions = importlib.metadata.packages_distributions()
    for module in _MODULES:
        for distribution in distributions.get(module, [])[:1]:
            found[module] = f'{distribution} {importlib.metadata.version(distribution)}'
    return found


def write_manifest(folder: str | os.PathLike, content: Mapping) -> dict:
    """Write the manifest for the files in a folder.

    Args:
        folder: The artefact's folder; every file in it is listed with its size and hash.
        content: All other keys: the result of :func:`~mmtrtvit.deploy.export.describe.describe_model`, ``backend``,
            ``precision``, ``flavour``, ``engine`` (a file of the folder), ``inputs`` and ``outputs`` (name to ``dtype``
            and ``shape``), ``profiles`` if the engine has them (name of the input to ``min``, ``opt`` and ``max``
            shape), ``window`` if the network slides one, and anything worth knowing about its origin.

    Returns:
        The manifest as written.
    """
    folder = Path(folder)
    files = {
        path.name: {'bytes': path.stat().st_size, 'sha256': sha256(path)}
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST
    }
    version = WINDOW_FORMAT if 'window' in content else FORMAT
    text = json.dumps({'format': version, **content, 'versions': versions(), 'files': files})
    manifest = sealed(json.loads(text))  # tuples of a config become lists
    with atomic_file(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + '\n')
    return manifest


def listed_files(folder: str | os.PathLike) -> list[str]:
    """Names of the files that a folder's manifest lists, in any version of the format; empty without a manifest.

    These files belong to an artefact, so an export into the same folder may delete them.
    """
    try:
        files = json.loads((Path(folder) / MANIFEST).read_text())['files']
    except (ValueError, KeyError, TypeError, OSError, RecursionError):
        return []
    return [name for name in files if _is_name(name)] if isinstance(files, dict) else []


def _check_files(folder: Path, files: Mapping) -> None:
    for name, said in files.items():
        if not _is_name(name):
            raise DeployError(
                f'{folder / MANIFEST} names the file {name!r}, which is not in its folder.',
                expected='plain names of files',
                fix='do not use this artefact: it was not made by tools/deploy.py',
            )
        file = folder / name
        if not file.is_file() or file.stat().st_size != said['bytes'] or sha256(file) != said['sha256']:
            state = 'is missing' if not file.is_file() else 'is not the file that was exported (size or hash differs)'
            raise DeployError(f'{file} {state}.', fix='copy the whole folder again, or export again')


def read_manifest(folder: str | os.PathLike) -> dict:
    """Read the manifest of an artefact, and check it and every file that it lists.

    Raises:
        DeployError: If the manifest is missing, invalid or incomplete, or if a file is missing or was changed.
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
        version, intact = manifest['format'], manifest.get(_HASH) == sealed(manifest)[_HASH]
        files = {
            str(name): dict(bytes=said['bytes'], sha256=said['sha256']) for name, said in manifest['files'].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise DeployError(f'{path} is not a manifest: {error!r}', fix='export again with tools/deploy.py') from error
    if version not in (FORMAT, WINDOW_FORMAT):
        raise DeployError(
            f'{path} has format {version!r}; this version of mmtrtvit reads the formats {FORMAT} and {WINDOW_FORMAT}.',
            fix='export again with tools/deploy.py',
        )
    if not intact:
        raise DeployError(
            f'{path} is not as it was written: its content and its own SHA-256 differ.',
            expected='a manifest that nobody edited',
            fix='copy the whole folder again, or export again with the settings that are wanted',
        )
    _check_files(folder, files)
    check_content(manifest, path)
    return manifest
