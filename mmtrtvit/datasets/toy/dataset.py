"""Making the toy data set: the same scenes in the COCO and in the ADE20K layout."""

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
from tqdm import tqdm

from ...atomic import atomic_dir
from ...errors import ConfigError, DataError
from . import manifest as manifests
from .ade_layout import AdeLayout
from .coco_layout import CocoSplit
from .preview import draw_preview
from .scene import make_scene
from .scene_settings import SceneSettings
from .shapes import CLASSES
from .splits import MAX_IMAGES, SPLITS


@dataclass(frozen=True)
class ToyDataset:
    """The contents of a toy data set.

    Attributes:
        root: Its folder, as it was given.
        made: Whether this call made it; False when it was there already.
        seed: The seed it was made from.
        images: Number of images by split.
        objects: Number of objects by split and class.
    """

    root: Path
    made: bool
    seed: int
    images: dict[str, int]
    objects: dict[str, dict[str, int]]

    @property
    def coco(self) -> Path:
        """The COCO folder: ``annotations``, ``train2017``, ``val2017``."""
        return self.root / manifests.COCO_FOLDER

    @property
    def ade(self) -> Path:
        """The ADE20K folder: ``images`` and ``annotations``."""
        return self.root / manifests.ADE_FOLDER

    @property
    def preview(self) -> Path:
        """The contact sheet, a PNG."""
        return self.root / manifests.PREVIEW

    def report(self) -> str:
        """The summary as text for a terminal: what there is, where, and how configs find it."""
        lines = [f'{"Made" if self.made else "Already there, nothing to do"}: {self.root} (seed {self.seed})']
        for name, images in self.images.items():
            counts = self.objects[name]
            listed = ', '.join(f'{count} {label}' for label, count in counts.items())
            lines.append(f'  {name:5s} {images:5d} images, {sum(counts.values()):5d} objects: {listed}')
        lines += [
            f'  COCO layout     {self.coco}',
            f'  ADE20K layout   {self.ade}',
            f'  contact sheet   {self.preview}',
            'How configs find it:',
            f'  those that read coco/ or ade/     MMTRTVIT_DATA_ROOT={self.root.as_posix()}/',
        ]
        if self.root.name == 'toy':
            lines.append(f'  those that read toy/coco/         MMTRTVIT_DATA_ROOT={self.root.parent.as_posix()}/')
        return '\n'.join(lines)


def make_toy_dataset(
    root: str | os.PathLike,
    *,
    train: int = 1700,
    val: int = 80,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = True,
    settings: SceneSettings | None = None,
) -> ToyDataset:
    """Make the toy data set, unless it is there already.

    Image i of a split depends on the seed, the split, i and the settings only, so a larger data set begins
    with the images of a smaller one. Training and validation images never share a photograph.

    Args:
        root: Folder to make. It appears whole or not at all. Below it are ``coco`` and
            ``ade/ADEChallengeData2016`` in the genuine layouts, ``preview.png`` and the manifest
            ``embedded.json``.
        train: Number of training images.
        val: Number of validation images.
        seed: 0 or above.
        overwrite: Make it anew where ``root`` holds a toy data set. Folders that hold anything else are
            never touched.
        progress: Whether to show a progress bar.
        settings: The look of the scenes; the defaults of :class:`SceneSettings` when None.

    Returns:
        The data set. A second call with the same arguments changes nothing and returns at once.

    Raises:
        ConfigError: If a count or the seed cannot be used.
        DataError: If ``root`` holds something else, a photograph is missing, or files cannot be written.
    """
    for name, value, lowest, highest in (
        ('train', train, 1, MAX_IMAGES),
        ('val', val, 1, MAX_IMAGES),
        ('seed', seed, 0, 2**63 - 1),
    ):
        if not isinstance(value, int) or not lowest <= value <= highest:
            raise ConfigError(
                f'Toy data set: {name} is {value!r}.',
                expected=f'a whole number from {lowest} to {highest}.',
                fix=f'give another {name}.',
            )
    given, root = Path(root), Path(root).expanduser().resolve()
    settings = settings or SceneSettings()
    request = manifests.request_of(train, val, seed, settings)
    found = _check_folder(given, root, request, overwrite)
    if found is not None:
        return ToyDataset(given, False, seed, found['images'], found['objects'])
    try:
        with atomic_dir(root) as temporary:
            objects = _write_scenes(temporary, request['images'], seed, settings, progress)
            draw_preview(temporary / manifests.COCO_FOLDER, temporary / manifests.PREVIEW)
            manifests.write_manifest(temporary, request, objects)
    except OSError as error:
        raise DataError(
            f'The toy data set cannot be written to {given}: {error}',
            expected='a folder that can be made there, and room for about 60 kB per image.',
            fix='choose another folder.',
        ) from error
    return ToyDataset(given, True, seed, request['images'], objects)


def _check_folder(given: Path, root: Path, request: dict, overwrite: bool) -> dict | None:
    """Check that ``root`` may be written, or already holds the requested data set.

    Returns:
        The manifest of the requested data set if it exists, or None if it is to be made.

    Raises:
        DataError: If ``root`` holds something else.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    manifest = manifests.read_manifest(root)
    if manifest is None:
        raise DataError(
            f'{given} exists and is not a toy data set (it has no {manifests.MANIFEST}).',
            expected='a folder that does not exist, is empty, or holds a data set made by this command.',
            fix='choose another folder; this one is never deleted.',
        )
    if overwrite:
        # Only our own files may go with the folder: any files that the user added stay.
        foreign = sorted(manifests.files_under(root) - manifests.expected_files(manifest))
        if foreign:
            raise DataError(
                f'{given} also holds {len(foreign)} file(s) of another origin, the first is {foreign[0]}.',
                expected='nothing but the toy data set, since overwriting deletes the whole folder.',
                fix='move those files away, or choose another folder.',
            )
        return None
    reason = manifests.difference(root, manifest, request)
    if reason:
        raise DataError(
            f'{given} holds another toy data set: {reason}.',
            expected='no data set there, or the one asked for.',
            fix='replace it with --overwrite (overwrite=True), or choose another folder.',
        )
    return manifest


def _write_scenes(
    root: Path, images: dict[str, int], seed: int, settings: SceneSettings, progress: bool
) -> dict[str, dict[str, int]]:
    """Write every scene in both layouts; return the number of objects by split and class."""
    ade = AdeLayout(root / manifests.ADE_FOLDER)
    objects = {name: dict.fromkeys(CLASSES, 0) for name in images}
    with tqdm(
        total=sum(images.values()),
        desc='Toy data set',
        unit='image',
        mininterval=0.5,
        disable=None if progress else True,
    ) as bar:
        for name, count in images.items():
            coco = CocoSplit(root / manifests.COCO_FOLDER, SPLITS[name])
            for index in range(count):
                scene = make_scene(seed, name, index, settings)
                bgr = cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR)
                quality = [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality]
                jpeg = cv2.imencode('.jpg', bgr, quality)[1].tobytes()
                coco.add(index, scene, jpeg)
                ade.add(SPLITS[name], index, scene, jpeg)
                for label in scene.labels:
                    objects[name][CLASSES[label]] += 1
                bar.update()
            coco.finish()
    ade.finish()
    return objects
