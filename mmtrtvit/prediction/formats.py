"""The formats of results: one class for each."""

import contextlib
import csv
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, ClassVar, TextIO

import cv2
import numpy as np

from ..atomic import atomic_file
from ..errors import ConfigError
from ..runtime.masks import as_masks
from ..runtime.postprocess import ClassScores, Detections, LabelMap
from ..runtime.predictor import Result
from .drawing import colours_of, draw_class, draw_detections, draw_label_map
from .palette_png import palette_png
from .sources import Item, SourceImage

DETECTORS, SEGMENTORS, CLASSIFIERS = ('detection', 'instance'), ('segmentation',), ('classification',)

TOP = 5
"""Classes of an image that a table lists, at most."""


class Format:
    """Writes the predictions of a run.

    :meth:`render` does the work and runs in several threads. :meth:`add` runs in one thread, in the order of the
    images. An instance is a context manager: leaving it by an exception removes files that are not complete.

    Attributes:
        name: Its name in ``--format``.
        tasks: The tasks of networks whose results it can hold.
        place: The file or folder in ``--out``.

    Args:
        out: The folder of all results.
        manifest: Manifest of the network: ``task``, ``classes`` and ``palette``.
        drawing: Options of the drawn pictures: ``line`` and ``labels`` as in :func:`draw_detections`, and ``frames``:
            whether a video becomes pictures.
    """

    name: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]]
    place: ClassVar[str]

    def __init__(self, out: Path, manifest: Mapping, drawing: Mapping) -> None:
        self.path = out / self.place
        self.classes = tuple(manifest['classes'])
        self.palette = np.array(manifest['palette'], np.uint8).reshape(-1, 3)
        self.drawing = drawing

    def __enter__(self) -> 'Format':
        self._open = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            self.start(stack)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._open.__exit__(*error)

    def start(self, stack: contextlib.ExitStack) -> None:
        """Open files. What the stack closes without an exception is complete."""

    def render(self, image: SourceImage, found: Result) -> Any:
        """Write a file for this image, or prepare the argument of :meth:`add`."""

    def add(self, image: SourceImage, rendered: Any) -> None:
        """Add the result of :meth:`render` to a file for all images."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def writing_text(path: Path) -> Iterator[TextIO]:
    """Write a text file that appears when the block succeeds."""
    with atomic_file(path) as temporary, open(temporary, 'w', newline='', encoding='utf-8') as file:
        yield file


@contextlib.contextmanager
def _scratch() -> Iterator[IO[str]]:
    with tempfile.TemporaryFile('w+', encoding='utf-8') as file:
        yield file


# --- pictures and videos ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def writing_video(path: Path, rate: float, size: tuple[int, int]) -> Iterator[Callable[[np.ndarray], None]]:
    """Write a video that appears when the block succeeds.

    Args:
        path: The ``.mp4`` file.
        rate: Frames per second.
        size: Width and height.

    Yields:
        A function that adds a frame, ``(H, W, 3)`` uint8, BGR. A frame of another size is resized.

    Raises:
        ConfigError: If OpenCV cannot write videos, or not all frames arrived in the file.
    """
    with atomic_file(path) as temporary:
        writer = cv2.VideoWriter(str(temporary), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*'mp4v'), rate, size)
        if not writer.isOpened():
            raise ConfigError(
                f'OpenCV cannot write the video {path}.',
                expected='opencv-python or opencv-python-headless with FFmpeg, as the wheels of PyPI have it',
                fix='install one of them, or leave `drawn` out of --format',
            )
        number = 0

        def add(picture: np.ndarray) -> None:
            nonlocal number
            # OpenCV drops a frame of another size without a word
            writer.write(picture if picture.shape[1::-1] == size else cv2.resize(picture, size))
            number += 1

        try:
            yield add
        finally:
            writer.release()
        reader = cv2.VideoCapture(str(temporary))
        found = int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) if reader.isOpened() else 0
        reader.release()
        if found < number:  # OpenCV does not say so when a disk is full
            raise ConfigError(
                f'The video {path} cannot be written: {found} of its {number} frames arrived in the file.',
                fix='make room, or choose another folder with --out',
            )


_ENCODING = {'.jpg': [cv2.IMWRITE_JPEG_QUALITY, 95], '.png': [cv2.IMWRITE_PNG_COMPRESSION, 1]}


class Drawn(Format):
    """Images and videos with the results drawn over them."""

    name = 'drawn'
    tasks = (*DETECTORS, *SEGMENTORS, *CLASSIFIERS)
    place = 'drawn'

    def start(self, stack: contextlib.ExitStack) -> None:
        self._item: Item | None = None
        self._video = contextlib.ExitStack()
        stack.push(lambda *error: self._video.__exit__(*error))

    def render(self, image: SourceImage, found: Result) -> np.ndarray | None:
        if isinstance(found, LabelMap):
            picture = draw_label_map(image.pixels, found)
        elif isinstance(found, ClassScores):
            picture = draw_class(image.pixels, found, self.palette)
        else:
            line, labels = self.drawing.get('line'), self.drawing.get('labels', True)
            picture = draw_detections(image.pixels, found, self.palette, line=line, labels=labels)
        if image.frame is not None and not self.drawing.get('frames'):
            return picture
        lossy = image.item.is_video or Path(image.item.path).suffix.lower() in ('.jpg', '.jpeg', '.jpe')
        suffix = '.jpg' if lossy else '.png'
        written = cv2.imencode(suffix, picture, _ENCODING[suffix])[1]
        write_bytes(self.path / f'{image.name}{suffix}', written.tobytes())
        return None

    def add(self, image: SourceImage, rendered: np.ndarray | None) -> None:
        if rendered is None:
            return
        if image.item != self._item:
            self._video.close()
            self._item, path = image.item, self.path / f'{image.item.name}.mp4'
            height, width = rendered.shape[:2]
            self._write = self._video.enter_context(writing_video(path, image.rate, (width, height)))
        self._write(rendered)


# --- label maps ------------------------------------------------------------------------------------------------------


class LabelMaps(Format):
    """A PNG for each image whose pixels are classes, with a palette; 16 bits without one for more than 256 classes."""

    name = 'label-map'
    tasks = SEGMENTORS
    place = 'label_maps'

    def render(self, image: SourceImage, found: Result) -> None:
        assert isinstance(found, LabelMap)
        if len(self.classes) > 256:
            content = cv2.imencode('.png', found.labels.astype(np.uint16))[1].tobytes()
        else:
            content = palette_png(found.labels, colours_of(self.palette, len(self.classes)))
        write_bytes(self.path / f'{image.name}.png', content)


# --- tables ----------------------------------------------------------------------------------------------------------


def annotations(found: Detections) -> list[dict]:
    """Objects as annotations in COCO's layout, with category ids from 1 and the id of the image still to be set."""
    entries = found.to_coco(0)
    masks = None if found.masks is None else as_masks(found.masks)
    for index, entry in enumerate(entries):
        width, height = entry['bbox'][2:]
        area = width * height if masks is None else int(masks.region(index).mask.sum())
        entry.update(category_id=entry['category_id'] + 1, area=area, iscrowd=0)
    return entries


class Coco(Format):
    """One JSON file in COCO's layout, with a ``score`` in each annotation; masks are compressed RLE.

    ``pycocotools.coco.COCO.loadRes`` reads its ``annotations``. Category ids count from 1, in the order of the
    classes. A frame of a video has the file name of the video, and its number as ``frame_id``.
    """

    name = 'coco'
    tasks = DETECTORS
    place = 'predictions.json'

    def start(self, stack: contextlib.ExitStack) -> None:
        self._file = stack.enter_context(writing_text(self.path))
        self._images = stack.enter_context(_scratch())
        self._number = self._objects = 0
        categories = [dict(id=index, name=name) for index, name in enumerate(self.classes, 1)]
        self._file.write(f'{{"categories": {json.dumps(categories)},\n"annotations": [')
        stack.push(self._finish)

    def render(self, image: SourceImage, found: Result) -> list[dict]:
        assert isinstance(found, Detections)
        return annotations(found)

    def add(self, image: SourceImage, rendered: list[dict]) -> None:
        height, width = image.pixels.shape[:2]
        self._number += 1
        entry = dict(id=self._number, file_name=image.item.file, width=width, height=height)
        if image.frame is not None:
            entry['frame_id'] = image.frame
        self._images.write(f'{"," if self._number > 1 else ""}\n{json.dumps(entry)}')
        for annotation in rendered:
            self._objects += 1
            entry = {**annotation, 'id': self._objects, 'image_id': self._number}
            self._file.write(f'{"," if self._objects > 1 else ""}\n{json.dumps(entry)}')

    def _finish(self, kind: type | None, *_: Any) -> None:
        if kind is None:
            self._file.write('],\n"images": [')
            self._images.seek(0)
            shutil.copyfileobj(self._images, self._file)
            self._file.write(']}\n')


class Csv(Format):
    """One CSV file: a row for each object, for each class that occurs in an image, or for its most probable classes."""

    name = 'csv'
    tasks = (*DETECTORS, *SEGMENTORS, *CLASSIFIERS)
    place = 'predictions.csv'

    def start(self, stack: contextlib.ExitStack) -> None:
        self._rows = csv.writer(stack.enter_context(writing_text(self.path)))
        self._started = False

    def render(self, image: SourceImage, found: Result) -> list[tuple]:
        if isinstance(found, LabelMap):
            labels, counts = np.unique(found.labels, return_counts=True)
            shares = (counts / found.labels.size).round(6).tolist()
            return [('class', 'label', 'pixels', 'share'), *zip(found.names, labels.tolist(), counts.tolist(), shares)]
        if isinstance(found, ClassScores):
            rows = [(rank, name, round(score, 5)) for rank, (name, score) in enumerate(found.top(TOP), 1)]
            return [('rank', 'class', 'score'), *rows]
        numbers = np.column_stack([found.scores, found.boxes]).astype(np.float64).round(5).tolist()
        rows = [
            (name, label, *row) for name, label, row in zip(found.names, found.labels.tolist(), numbers, strict=True)
        ]
        return [('class', 'label', 'score', 'x1', 'y1', 'x2', 'y2'), *rows]

    def add(self, image: SourceImage, rendered: list[tuple]) -> None:
        header, *rows = rendered
        if not self._started:
            self._rows.writerow(('image', 'frame', *header))
            self._started = True
        frame = '' if image.frame is None else image.frame
        self._rows.writerows((image.item.file, frame, *row) for row in rows)


class Yolo(Format):
    """A text file for each image: class, then box or polygon, as shares of width and height; without scores.

    These files can be trained on, or imported into a tool for annotation.
    """

    name = 'yolo'
    tasks = DETECTORS
    place = 'labels'

    def render(self, image: SourceImage, found: Result) -> None:
        assert isinstance(found, Detections)
        size = np.array(image.pixels.shape[1::-1], np.float64)
        lines = []
        for index, label in enumerate(found.labels.tolist()):
            if found.masks is None:
                corners = np.clip(found.boxes[index].reshape(2, 2), 0, size)
                shares = np.concatenate([corners.mean(axis=0), corners[1] - corners[0]]).reshape(2, 2) / size
            else:
                top, left, mask = as_masks(found.masks).region(index)
                shares = (largest_contour(mask) + np.array([left, top]) + 0.5) / size
                if len(shares) < 3:
                    continue
            lines.append(' '.join([str(label), *(f'{value:.6f}' for value in shares.ravel())]))
        write_bytes(self.path / f'{image.name}.txt', ''.join(f'{line}\n' for line in lines).encode())


def largest_contour(mask: np.ndarray) -> np.ndarray:
    """The outline of the largest part of a mask: ``(n, 2)`` x and y, pixels; empty without one."""
    if not mask.any():
        return np.zeros((0, 2), np.int32)
    outlines = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    return max(outlines, key=cv2.contourArea).reshape(-1, 2)


FORMATS: dict[str, type[Format]] = {kind.name: kind for kind in (Drawn, Coco, Csv, LabelMaps, Yolo)}
"""Name to format."""
