"""A folder of images through ``tools/predict.py``, beside the network alone."""

import functools
import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..latency import measure, ratio
from ..machine import machine, quiet_conditions
from ..prediction import find_items, predict
from ..runtime import Predictor, load
from ..runtime.preprocess import read_image
from .memory import memory
from .rows import Results, check_settings

ALONE, WHOLE = 'network', 'predict'
"""Names of the two that are timed in turn."""


def _peak(folder: str, source: str, loading: Mapping, options: Mapping) -> int:
    """Peak resident memory of this process, bytes, after a run."""
    with tempfile.TemporaryDirectory() as scratch:
        predict(load(folder, **loading), source, Path(scratch) / 'out', **options)
    return memory('cpu')[1]


def peak_memory(
    folder: str | os.PathLike, source: str | os.PathLike, images: int, loading: Mapping = {}, **options: Any
) -> int:
    """Peak resident memory of a run in a process of its own, bytes.

    Args:
        folder, source: As in :func:`benchmark_prediction`.
        images: Number of images.
        loading: Options of :func:`~mmtrtvit.runtime.load`.
        options: Further options of :func:`~mmtrtvit.prediction.predict`.
    """
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        return pool.apply(_peak, (os.fspath(folder), os.fspath(source), loading, {**options, 'limit': images}))


def _times(
    predictors: Mapping[int, Predictor],
    images: Sequence[np.ndarray],
    source: str | os.PathLike,
    formats: Sequence[str],
    batch: int,
    iterations: int,
) -> dict[int, dict]:
    """Fields of the row of each predictor; all are timed in turn, and compared with the first."""

    def alone(predictor: Predictor) -> None:
        for _ in predictor.stream(images, batch_size=batch):
            pass

    with tempfile.TemporaryDirectory() as scratch:

        def whole(predictor: Predictor) -> None:
            out = Path(scratch) / 'out'
            predict(predictor, source, out, formats=formats, limit=len(images), batch=batch, overwrite=True)

        timed = measure(
            {
                f'{name} {streams}': functools.partial(work, predictor)
                for streams, predictor in predictors.items()
                for name, work in ((ALONE, alone), (WHOLE, whole))
            },
            scope='folder',
            warmup_runs=1,
            warmup_seconds=0,
            min_runs=iterations,
            min_seconds=0,
            max_seconds=600,
            until_steady=False,
        )
    by_name = {entry.name: entry for entry in timed}
    first = next(iter(predictors))
    return {
        streams: dict(
            rounds=len(by_name[f'{ALONE} {streams}'].values),
            milliseconds={name: by_name[f'{name} {streams}'].median / len(images) for name in (ALONE, WHOLE)},
            ratio=ratio(timed, f'{WHOLE} {streams}', f'{ALONE} {streams}'),
            gain={name: ratio(timed, f'{name} {first}', f'{name} {streams}') for name in (ALONE, WHOLE)},
            steady=all(by_name[f'{name} {streams}'].steady for name in (ALONE, WHOLE)),
        )
        for streams in predictors
    }


def benchmark_prediction(
    folder: str | os.PathLike,
    source: str | os.PathLike,
    *,
    out: str | os.PathLike = 'work_dirs/prediction',
    formats: Sequence[str] = (),
    images: int = 80,
    batch: int = 1,
    threads: int | None = None,
    streams: Sequence[int] = (1,),
    iterations: int = 5,
    memory_images: int | None = None,
    timed: bool = True,
) -> list[dict]:
    """Time an artefact on images in memory, and the whole way from their files to pictures and tables.

    Peak memory is taken in processes of their own, for a tenth of a number of images and for all of them.

    Args:
        folder: The artefact's folder.
        source: Images, as ``tools/predict.py`` takes them.
        out: Folder for ``prediction.json``; rows are added to those that are there.
        formats: Formats that are written, as in :func:`~mmtrtvit.prediction.predict`.
        images: Number of images.
        batch: Images that go through the network together.
        threads: CPU threads of the network.
        streams: Images that the network works on at the same time; each number has a row, and all are timed in turn.
        iterations: Runs of each, in turn.
        memory_images: Number of images for the peak memory; by default ``images``.
        timed: Whether to time anything.

    Returns:
        The rows.

    Raises:
        ConfigError, DataError, DeployError: For input that cannot be used.
    """
    check_settings(images=images, batch=batch, threads=threads, streams=min(streams), iterations=iterations)
    results, conditions = Results(out, 'prediction'), quiet_conditions(busy_ok=True)
    loading = {number: dict(threads=threads, streams=number if number > 1 else None) for number in streams}
    predictors = {number: load(folder, **options) for number, options in loading.items()}
    read = [read_image(item.path) for item in find_items(source)[:images] if not item.is_video]
    latency = _times(predictors, read, source, formats, batch, iterations) if timed else {}
    most, manifest = memory_images or len(read), predictors[streams[0]].manifest
    sizes = max(most // 10, 1), most
    rows = [
        dict(
            network=Path(manifest.get('source', {}).get('model_config') or manifest['method']).stem,
            task=manifest['task'],
            backend=manifest['backend'],
            precision=manifest['precision'],
            formats=' '.join(formats) or 'default',
            images=len(read),
            pixels=statistics.fmean(image.shape[0] * image.shape[1] for image in read),
            batch=batch,
            threads=threads,
            streams=number,
            **latency.get(number, {}),
            peak_bytes={
                size: peak_memory(folder, source, size, options, formats=formats, batch=batch) for size in sizes
            },
            machine=machine(),
            conditions=conditions,
        )
        for number, options in loading.items()
    ]
    for row in rows:
        results.add(row, ('network', 'backend', 'precision', 'formats', 'batch', 'threads', 'streams', 'images'))
    results.show(map(_line, rows))
    return rows


def _line(row: Mapping) -> str:
    """A row as one line of text."""
    shown = [f'{name} {value:.1f} ms an image' for name, value in row.get('milliseconds', {}).items()]
    return f'{row["network"]}, {row["formats"]}, streams {row["streams"]}: {", ".join(shown) or "memory only"}'
