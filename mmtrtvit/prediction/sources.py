"""Images to predict on: a file, a folder, a pattern, a list, a video, a camera."""

import collections
import dataclasses
import functools
import glob
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from ..errors import ConfigError, DataError
from ..runtime.preprocess import read_image
from ..unique_names import UniqueNames
from .ahead import done

IMAGES = ('.bmp', '.dib', '.jp2', '.jpe', '.jpeg', '.jpg', '.pbm', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')
VIDEOS = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.ts', '.webm', '.wmv')
"""Suffixes of the files that are taken from folders. OpenCV reads all of these."""

_ADDRESS = re.compile(r'^\w+://')

_ATTEMPTS = 25
"""Broken frames in a row after which the rest of a video is given up."""

_UNCERTAIN = 0.02
"""Share of its frames by which a video may end early: some formats estimate their number."""


@dataclasses.dataclass(frozen=True)
class Item:
    """An image file, a video, or a camera.

    Attributes:
        path: Its path, the address of a stream, or the number of a camera.
        name: Name of its results: its path below the folder that all items share, without a suffix. No two items of a
            source have the same name.
        file: Its path below that folder, or its address.
        is_video: Whether it has frames.
        is_live: Whether it ends only when it is stopped.
    """

    path: str
    name: str
    file: str
    is_video: bool = False
    is_live: bool = False


@dataclasses.dataclass(frozen=True)
class SourceImage:
    """An image, or a frame of a video.

    Attributes:
        item: Its file or its video.
        pixels: ``(H, W, 3)`` uint8, BGR.
        frame: Number of the frame in its video, from 0 on; None for an image.
        rate: Frames per second at which the frames that are taken follow each other.
    """

    item: Item
    pixels: np.ndarray
    frame: int | None = None
    rate: float = 0.0

    @property
    def name(self) -> str:
        """Name of its results; frames are numbered."""
        return self.item.name if self.frame is None else f'{self.item.name}/{self.frame:06d}'

    @property
    def title(self) -> str:
        """Its path, and the number of its frame."""
        return self.item.path if self.frame is None else f'{self.item.path}, frame {self.frame}'


@dataclasses.dataclass(frozen=True)
class Skipped:
    """An image or a frame without a result.

    Attributes:
        title: Its path, and the number of its frame.
        reason: The fault, in a sentence.
        number: Number of frames that it stands for.
    """

    title: str
    reason: str
    number: int = 1


# --- finding them ----------------------------------------------------------------------------------------------------


def _files_of(folder: Path, recursive: bool) -> list[str]:
    found = sorted(folder.rglob('*') if recursive else folder.iterdir())
    return [
        str(path)
        for path in found
        if path.suffix.lower() in (*IMAGES, *VIDEOS) and path.is_file() and not path.name.startswith('.')
    ]


def _listed(path: Path) -> list[str]:
    """The paths in a list: relative to the current folder, or to that of the list."""
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f'The list {path} cannot be read: {error}.',
            expected='a text file in UTF-8 with one path in each line',
            fix='write the list again, or give a folder or a pattern in its place',
        ) from error
    names = [line.strip() for line in lines if line.strip()]
    return [name if Path(name).exists() else str(path.parent / name) for name in names]


def _names(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of the results of files, and their paths below the folder that all share.

    Files of the same name in different folders get different ones.
    """
    whole = [os.path.abspath(path) for path in paths]
    top = os.path.commonpath([os.path.dirname(path) for path in whole])
    below = [Path(os.path.relpath(path, top)) for path in whole]
    stems = collections.Counter(path.with_suffix('').as_posix().lower() for path in below)
    unique, names = UniqueNames(), []
    for path in below:
        stem = path.with_suffix('').as_posix()
        # a.jpg and a.png of one folder
        names.append(unique(stem if stems[stem.lower()] == 1 else path.as_posix()))
    return names, [path.as_posix() for path in below]


def find_items(
    source: str | os.PathLike, *, recursive: bool = False, out: str | os.PathLike | None = None
) -> list[Item]:
    """The images and videos of a source.

    Args:
        source: An image, a folder, a pattern such as ``data/*.jpg``, a ``.txt`` file with one path in each line, a
            video, the address of a stream (``rtsp://...``), or the number of a camera.
        recursive: Whether to look into the folders of a folder as well.
        out: The folder for the results. Files of a folder that lie in it are left out: those of an earlier run.

    Returns:
        At least one item. Files that are named more than once appear once. Whether they can be read is not known yet.

    Raises:
        DataError: If there is nothing.
        ConfigError: If a file that is named lies in ``out``, where it may be removed.
    """
    text = os.fspath(source)
    path = Path(text)
    if not path.exists() and text.isdigit():
        return [Item(text, f'camera_{text}', text, is_video=True, is_live=True)]
    if _ADDRESS.match(text):
        host = re.sub(r'\W+', '_', text.partition('://')[2].rpartition('@')[2]).strip('_')[:80]
        return [Item(text, host or 'stream', text, is_video=True, is_live=True)]
    if path.is_dir():
        paths = _files_of(path, recursive)
        fix = 'correct the path' if recursive else 'correct the path, or look into its folders with --recursive'
        nothing = DataError(f'There is no image and no video in the folder {path}.', expected=_SUFFIXES, fix=fix)
    elif path.is_file() and path.suffix.lower() == '.txt':
        paths = _listed(path)
        nothing = DataError(f'The list {path} is empty.', expected='one path in each line', fix='correct the list')
    elif path.is_file():
        paths = [text]
    else:
        paths = sorted(name for name in glob.glob(text, recursive=True) if os.path.isfile(name))
        nothing = DataError(
            f'There is no {text}.',
            expected='an image, a folder, a pattern in quotes, a .txt list, a video, an address or a camera number',
            fix='correct the path; paths are relative to where the command runs',
        )
    unique: dict[str, str] = {}
    results = os.path.join(os.path.realpath(out), '') if out else None
    for name in paths:
        real = os.path.realpath(name)
        if results is None or not real.startswith(results):
            unique.setdefault(real, name)
        elif not path.is_dir():
            raise ConfigError(
                f'The image {name} lies in the folder for the results, {out}.',
                expected='a folder apart from the images',
                fix='choose another --out',
            )
    paths = list(unique.values())
    if not paths:
        raise nothing
    videos = [Path(path).suffix.lower() in VIDEOS for path in paths]
    return [Item(*parts) for parts in zip(paths, *_names(paths), videos, strict=True)]


_SUFFIXES = f'files that end in {" ".join((*IMAGES, *VIDEOS))}'


# --- reading ---------------------------------------------------------------------------------------------------------


def _reason(error: Exception) -> str:
    """The first line of a message: the fault."""
    return str(error).splitlines()[0]


def _read(item: Item) -> SourceImage | Skipped:
    try:
        return SourceImage(item, read_image(item.path))
    except DataError as error:
        return Skipped(item.path, _reason(error))


def open_video(item: Item) -> cv2.VideoCapture:
    """Open a video, a stream or a camera.

    Raises:
        DataError: If that is not possible.
    """
    if item.is_live or Path(item.path).is_file():
        video = cv2.VideoCapture(int(item.path) if item.path.isdigit() else item.path)
        if video.isOpened():
            return video
        video.release()
    kind = 'camera or stream' if item.is_live else 'video'
    raise DataError(
        f'The {kind} {item.path} cannot be opened.',
        expected='a file that FFmpeg reads, an address, or the number of a camera',
        fix='check that it exists and is complete; for cameras, that no other program uses it',
    )


def count_frames(item: Item) -> int | None:
    """The number of frames that a video says it has; None if it does not say, or cannot be opened."""
    if item.is_live:
        return None
    try:
        video = open_video(item)
    except DataError:
        return None
    number = video.get(cv2.CAP_PROP_FRAME_COUNT)
    video.release()
    return int(number) if 0 < number < math.inf else None


def video_frames(item: Item, stride: int = 1) -> Iterator[SourceImage | Skipped]:
    """Every frame of a video, or every ``stride``-th one.

    A frame that cannot be decoded is skipped. If the file ends before the number of frames that it says it has, one
    ``Skipped`` stands for the rest.
    """
    try:
        video = open_video(item)
    except DataError as error:
        yield Skipped(item.path, _reason(error))
        return
    try:
        said, rate = video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)
        rate = (rate if 0 < rate < 1000 else 25.0) / stride
        frame = 0
        broken: list[int] = []
        while len(broken) < _ATTEMPTS:
            wanted = frame % stride == 0
            found, pixels = video.read() if wanted else (video.grab(), None)
            if not found:
                if item.is_live or frame + max(2, _UNCERTAIN * said) >= said:
                    break
                broken.append(frame)
            else:
                for number in broken:
                    if number % stride == 0:
                        yield Skipped(f'{item.path}, frame {number}', 'The frame cannot be decoded.')
                broken = []
                if pixels is not None:
                    yield SourceImage(item, pixels, frame, rate)
            frame += 1
        if broken:
            yield Skipped(
                f'{item.path}, from frame {broken[0]} on',
                f'The video says that it has {said:.0f} frames; {broken[0]} could be read.',
                max(int(said) - broken[0], 1) // stride or 1,
            )
        elif frame == 0:
            yield Skipped(item.path, 'No frame can be read.')
    finally:
        video.release()


def reading_tasks(items: Iterable[Item], stride: int = 1) -> Iterator[Callable[[], SourceImage | Skipped]]:
    """One function for each image and frame, in order. Images may be read in any thread; frames are read here."""
    for item in items:
        if item.is_video:
            for image in video_frames(item, stride):
                yield done(image)
        else:
            yield functools.partial(_read, item)
