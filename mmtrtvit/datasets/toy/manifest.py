"""``embedded.json``: the request behind a toy data set, and a check that a folder holds all of it."""

import dataclasses
import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import skimage

from .ade_layout import OBJECT_INFO, SCENE_CATEGORIES, ade_files
from .coco_layout import annotation_file, coco_files
from .scene_settings import SceneSettings
from .shapes import CLASSES
from .splits import SPLITS

MANIFEST = 'embedded.json'
PREVIEW = 'preview.png'
COCO_FOLDER = 'coco'
ADE_FOLDER = 'ade/ADEChallengeData2016'
GENERATOR = 'mmtrtvit.datasets.toy'
#: The name in data sets of earlier commits: they have the same files and may be overwritten.
FORMER_GENERATOR = 'mmtrtvit.datasets.embedded'
#: Counted up whenever the same request gives other files than before.
FORMAT = 1
#: The bits of the files depend on these as well. Recorded, not compared.
VERSIONS = {'numpy': np.__version__, 'opencv': cv2.__version__, 'scikit-image': skimage.__version__}


def request_of(train: int, val: int, seed: int, settings: SceneSettings) -> dict:
    """A request as the manifest records it. Data sets of equal requests are the same."""
    request = {
        'generator': GENERATOR,
        'format': FORMAT,
        'seed': seed,
        'images': {'train': train, 'val': val},
        'classes': CLASSES,
        'settings': dataclasses.asdict(settings),
    }
    # Through JSON, so that it compares equal with one that was read from a file.
    return json.loads(json.dumps(request))


def write_manifest(root: Path, request: dict, objects: dict[str, dict[str, int]]) -> None:
    """Write the manifest of the data set under ``root``.

    Args:
        root: Folder of the data set, complete but for the manifest.
        request: From :func:`request_of`.
        objects: Number of objects by split and class.
    """
    manifest = {**request, 'objects': objects, 'sha256': _hashes(root), 'versions': VERSIONS}
    (root / MANIFEST).write_text(json.dumps(manifest, indent=2) + '\n', encoding='ascii')


def read_manifest(root: Path) -> dict | None:
    """The manifest under ``root``, or None when the folder does not carry one of ours."""
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding='ascii'))
        ours = manifest['generator'] in (GENERATOR, FORMER_GENERATOR)
        ours = ours and all(isinstance(manifest['images'][name], int) for name in SPLITS)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return manifest if ours else None


def difference(root: Path, manifest: dict, request: dict) -> str:
    """The reason why the data set under ``root`` is not the one asked for; empty when it is."""
    for key, wanted in request.items():
        if manifest.get(key) != wanted:
            return f'it was made with {key} {manifest.get(key)}, not {wanted}'
    present = files_under(root)
    missing = sorted(expected_files(manifest) - present)
    if missing:
        return f'{len(missing)} of its files are missing, the first is {missing[0]}'
    for name, digest in _hashes(root).items():
        if manifest.get('sha256', {}).get(name) != digest:
            return f'its {name} was changed after it was made'
    return ''


def expected_files(manifest: dict) -> set[str]:
    """Every file that the data set of a manifest consists of, as POSIX paths inside its folder."""
    files = {MANIFEST, PREVIEW, f'{ADE_FOLDER}/{OBJECT_INFO}', f'{ADE_FOLDER}/{SCENE_CATEGORIES}'}
    for name, split in SPLITS.items():
        images = manifest['images'][name]
        files.update(f'{COCO_FOLDER}/{file}' for file in coco_files(split, images))
        files.update(f'{ADE_FOLDER}/{file}' for file in ade_files(split, images))
    return files


def files_under(root: Path) -> set[str]:
    """Everything under ``root`` that is not a folder, as POSIX paths inside it."""
    return {path.relative_to(root).as_posix() for path in root.rglob('*') if path.is_symlink() or not path.is_dir()}


def _hashes(root: Path) -> dict[str, str]:
    """SHA-256 of each annotation file under ``root``."""
    names = [f'{COCO_FOLDER}/{annotation_file(split)}' for split in SPLITS.values()]
    return {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names}
