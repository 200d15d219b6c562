"""Predictions for a folder, a list, a video or a camera, with decoding and drawing beside the network."""

import collections
import contextlib
import dataclasses
import functools
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..atomic import atomic_file
from ..errors import ConfigError, DataError, DeployError
from ..runtime.postprocess import Detections
from .ahead import done, run_ahead
from .formats import CLASSIFIERS, DETECTORS, FORMATS, SEGMENTORS, Format, Result
from .progress import Progress
from .sources import Item, Skipped, SourceImage, count_frames, find_items, open_video, reading_tasks

SCORE = 0.3
"""Score above which an object counts."""

SUMMARY = 'summary.json'
"""Written last: its presence says that a run came to its end."""

NAMED = 20
"""Number of skipped images in the memory; all others are counted."""


class Predicts(Protocol):
    """A network as this module uses it: :class:`~mmtrtvit.runtime.Predictor`, or one of PyTorch."""

    manifest: Mapping

    def stream(self, images: Iterable[np.ndarray], *, batch_size: int, tile: int | None) -> Iterator[Any]:
        """Results for images, in order."""


@dataclasses.dataclass
class Summary:
    """The outcome of a run.

    Attributes:
        images: Images and frames that have a result.
        objects: Objects found in them; None without a detector.
        skipped: Number of images and frames without a result.
        reasons: Title and reason of the first of those.
        written: Files and folders written.
        stopped: Whether a camera or stream was stopped by Ctrl-C.
    """

    images: int = 0
    objects: int | None = None
    skipped: int = 0
    reasons: list[Skipped] = dataclasses.field(default_factory=list)
    written: list[Path] = dataclasses.field(default_factory=list)
    stopped: bool = False

    def skip(self, skipped: Skipped) -> None:
        """Count an image without a result."""
        self.skipped += skipped.number
        if len(self.reasons) < NAMED:
            self.reasons.append(skipped)

    def report(self) -> str:
        """Counts, files and reasons in a few lines."""
        objects = '' if self.objects is None else f', {self.objects} objects'
        lines = [f'{self.images} images{objects}: {", ".join(map(str, self.written))}']
        if self.skipped:
            lines.append(f'{self.skipped} skipped:')
            lines += [f'  {entry.title}: {entry.reason}' for entry in self.reasons]
            if others := self.skipped - sum(entry.number for entry in self.reasons):
                lines.append(f'  and {others} more')
        return '\n'.join(lines)


# --- checks ----------------------------------------------------------------------------------------------------------


def _check_numbers(score: float, **counts: int | None) -> None:
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ConfigError(f'--{name} {value} is too small.', expected='a number from 1 on', fix=f'correct --{name}')
    if not 0 <= score < 1:
        raise ConfigError(f'--score {score:g} is out of range.', expected='0 or more, below 1', fix='correct --score')


def choose_formats(names: Sequence[str], task: str) -> list[type[Format]]:
    """Formats for the results of a task.

    Args:
        names: Names of formats; none for drawn pictures with COCO JSON, with label maps, or with a table of classes.
        task: The task of the network.

    Raises:
        ConfigError: If a format is unknown or cannot hold results of this task.
    """
    possible = [name for name, kind in FORMATS.items() if task in kind.tasks]
    table = 'coco' if task in DETECTORS else 'csv' if task in CLASSIFIERS else 'label-map'
    names = list(dict.fromkeys(names)) or ['drawn', table]
    for name in names:
        if name not in possible:
            raise ConfigError(
                f'The results of a network for {task} cannot be written as {name}.',
                expected=f'one or more of {", ".join(possible)}',
                fix='correct --format',
            )
    return [FORMATS[name] for name in names]


def _class_numbers(names: Sequence[str], known: Sequence[str]) -> list[int] | None:
    unknown = [name for name in names if name not in known]
    if unknown:
        listed = ', '.join(known[:20]) + (f' and {len(known) - 20} more' if len(known) > 20 else '')
        raise ConfigError(
            f'The network has no class {", ".join(unknown)}.', expected=f'some of {listed}', fix='correct --classes'
        )
    return [number for number, name in enumerate(known) if name in names] if names else None


def prepare_out(out: Path, overwrite: bool) -> None:
    """Make sure that a folder can take the results.

    Args:
        out: The folder; it is made later.
        overwrite: Whether the results of an earlier run are removed. Other files stay.

    Raises:
        ConfigError: If there is something in it and ``overwrite`` is not set, or if it is a file.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigError(f'{out} is a file.', expected='a folder for the results', fix='correct --out')
    if any(out.iterdir()) and not overwrite:
        raise ConfigError(
            f'The folder {out} is not empty.',
            expected='a new or an empty folder, so that results of different runs do not mix',
            fix='choose another --out, or remove the results of the earlier run with --overwrite',
        )
    for place in (SUMMARY, *(kind.place for kind in FORMATS.values())):
        path = out / place
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


# --- the work --------------------------------------------------------------------------------------------------------


def _results(
    predictor: Predicts, images: Iterator[SourceImage | Skipped], options: Mapping
) -> Iterator[tuple[SourceImage, Any] | Skipped]:
    """The result of each image. An image that the network does not take is skipped, and only that one."""
    waiting: collections.deque[SourceImage] = collections.deque()
    unread: collections.deque[Skipped] = collections.deque()

    def pixels() -> Iterator[np.ndarray]:
        for image in images:
            if isinstance(image, Skipped):
                unread.append(image)
            else:
                waiting.append(image)
                yield image.pixels

    finished = False
    while not finished:
        try:
            for found in predictor.stream(pixels(), **options):
                yield waiting.popleft(), found
                while unread:
                    yield unread.popleft()
            finished = True
        except (DataError, DeployError):
            # one image of the batch; its neighbours have not got their results either
            while waiting:
                image = waiting.popleft()
                try:
                    found = next(iter(predictor.stream([image.pixels], **options)))
                except (DataError, DeployError) as error:
                    yield Skipped(image.title, str(error).splitlines()[0])
                else:
                    yield image, found
        yield from unread
        unread.clear()


def _kept(found: Result, score: float, classes: list[int] | None) -> Result:
    if not isinstance(found, Detections):
        return found
    found = found.above(score)
    if classes is None:
        return found
    kept = np.isin(found.labels, classes)
    masks = None if found.masks is None else found.masks[kept]
    return Detections(found.boxes[kept], found.scores[kept], found.labels[kept], masks, found.classes)


def _render(
    image: SourceImage, found: Result, formats: Sequence[Format], score: float, classes: list[int] | None
) -> tuple[SourceImage, int, list[Any]]:
    found = _kept(found, score, classes)
    count = len(found) if isinstance(found, Detections) else 0
    return image, count, [kind.render(image, found) for kind in formats]


def _rendering_tasks(
    predictor: Predicts, reading: Iterator[Callable], settings: Mapping, render: Callable, workers: int
) -> Iterator[Callable[[], Any]]:
    """Run the network on one image after the other, and yield a function that draws and encodes each result."""
    ahead = workers + settings['batch_size']
    with contextlib.closing(run_ahead(reading, workers, ahead)) as images:
        for result in _results(predictor, images, settings):
            yield done(result) if isinstance(result, Skipped) else functools.partial(render, *result)


def predict(
    predictor: Predicts,
    source: str | os.PathLike,
    out: str | os.PathLike,
    *,
    formats: Sequence[str] = (),
    score: float = SCORE,
    classes: Sequence[str] = (),
    batch: int = 1,
    tile: int | None = None,
    stride: int = 1,
    limit: int | None = None,
    recursive: bool = False,
    overwrite: bool = False,
    line: int | None = None,
    labels: bool = True,
    frames: bool = False,
    workers: int | None = None,
    progress: bool = False,
) -> Summary:
    """Predict on all images of a source, and write the results.

    Images are read, and results drawn and written, in threads beside the network. The memory does not grow with the
    number of images. Files appear whole or not at all; :data:`SUMMARY` comes last.

    Args:
        predictor: A loaded artefact, :func:`mmtrtvit.runtime.load`, or
            :class:`~mmtrtvit.apis.prediction.PytorchPredictor`.
        source: See :func:`~mmtrtvit.prediction.sources.find_items`.
        out: Folder for the results, new or empty.
        formats: Names from :data:`~mmtrtvit.prediction.formats.FORMATS`; by default drawn pictures, and COCO JSON,
            label maps or a CSV file of classes.
        score: Objects with a higher score count.
        classes: Names of the classes whose objects count; none for all.
        batch: Images that go through the network together, if they need the same input size.
        tile: Side of the square tiles that large images are cut into, pixels; None for whole images.
        stride: Take every ``stride``-th frame of videos.
        limit: Number of images and frames after which to end.
        recursive: Whether to look into the folders of a folder as well.
        overwrite: Whether to remove the results of an earlier run from ``out``.
        line: Width of the lines of boxes, pixels; by default it follows the size of the image.
        labels: Whether to write names and scores beside boxes.
        frames: Whether to draw videos as numbered pictures.
        workers: Threads that read, and threads that draw and write; by default half of the cores, at most 8.
        progress: Whether to show the progress on standard error.

    Returns:
        Counts and reasons. An image that cannot be read is skipped.

    Raises:
        ConfigError: For options that cannot be used.
        DataError: If the source has no image, or none of its images can be used.
    """
    out = Path(out)
    _check_numbers(score, batch=batch, stride=stride, limit=limit, tile=tile, line=line, workers=workers)
    manifest = predictor.manifest
    kinds = choose_formats(formats, manifest['task'])
    if classes and manifest['task'] not in DETECTORS:
        held = 'A label map holds all classes' if manifest['task'] in SEGMENTORS else 'A classifier scores all classes'
        raise ConfigError(f'{held}.', expected='--classes with a detector', fix='leave it out')
    numbers = _class_numbers(classes, manifest['classes'])
    items = find_items(source, recursive=recursive, out=out)
    if len(items) == 1 and items[0].is_video:
        open_video(items[0]).release()  # the message of a source that cannot be used at all
    prepare_out(out, overwrite)
    workers = workers or min(max((os.cpu_count() or 2) // 2, 1), 8)
    settings = dict(batch_size=batch, tile=tile)
    drawing = dict(line=line, labels=labels, frames=frames)

    summary = Summary(objects=0 if manifest['task'] in DETECTORS else None)
    is_new = not out.exists()
    try:
        with contextlib.ExitStack() as stack:
            out.mkdir(parents=True, exist_ok=True)
            writers = [stack.enter_context(kind(out, manifest, drawing)) for kind in kinds]
            render = functools.partial(_render, formats=writers, score=score, classes=numbers)
            reading = itertools.islice(reading_tasks(items, stride), limit)
            tasks = _rendering_tasks(predictor, reading, settings, render, workers)
            results = stack.enter_context(contextlib.closing(run_ahead(tasks, workers, workers + 1)))
            shown = Progress(_total(items, stride, limit)) if progress else None
            try:
                _collect(results, writers, summary, shown)
            except KeyboardInterrupt:
                if not any(item.is_live for item in items):
                    raise
                summary.stopped = True  # a camera has no other end
            if shown:
                shown.close(summary.images, summary.skipped)
            if not summary.images:
                first = ''.join(f' {entry.title}: {entry.reason}' for entry in summary.reasons[:1])
                raise DataError(
                    f'None of the {summary.skipped} images can be used.{first}',
                    fix='give other images, or correct them',
                )
            results.close()
        summary.written = [out / kind.place for kind in kinds if (out / kind.place).exists()]
        _write_summary(out, source, manifest, summary)
    except OSError as error:
        # the only files that are not images: everything that reads images raises DataError
        raise ConfigError(
            f'{out} cannot be written: {error.strerror}.', fix='make room, or choose another folder with --out'
        ) from error
    finally:
        if is_new and not summary.images:
            shutil.rmtree(out, ignore_errors=True)
    return summary


def _collect(results: Iterator[Any], writers: Sequence[Format], summary: Summary, shown: Progress | None) -> None:
    for result in results:
        if isinstance(result, Skipped):
            summary.skip(result)
        else:
            image, count, rendered = result
            for writer, content in zip(writers, rendered, strict=True):
                writer.add(image, content)
            summary.images += 1
            if summary.objects is not None:
                summary.objects += count
        if shown:
            shown.update(summary.images, summary.skipped)


def _total(items: Sequence[Item], stride: int, limit: int | None) -> int | None:
    counts = [count_frames(item) if item.is_video else stride for item in items]
    if None in counts:
        return limit
    total = sum(-(-count // stride) for count in counts if count is not None)
    return min(total, limit) if limit else total


def _write_summary(out: Path, source: str | os.PathLike, manifest: Mapping, summary: Summary) -> None:
    content = dict(
        source=os.fspath(source),
        network={key: manifest.get(key) for key in ('method', 'task', 'backend', 'precision')},
        images=summary.images,
        objects=summary.objects,
        skipped=summary.skipped,
        reasons=[dataclasses.asdict(entry) for entry in summary.reasons],
        stopped=summary.stopped,
    )
    with atomic_file(out / SUMMARY) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
