"""A folder of images through ``tools/predict.py``, beside the network alone."""

import multiprocessing
import os
import resource
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..latency import measure, ratio
from ..machine import machine
from ..prediction import find_items, predict
from ..runtime import Predictor, load
from ..runtime.preprocess import read_image
from .rows import Results, check_settings

ALONE, WHOLE = 'network', 'predict'
"""Names of the two that are timed in turn."""


def _peak(folder: str, source: str, options: Mapping) -> int:
    """Peak resident memory of this process, bytes, after a run."""
    with tempfile.TemporaryDirectory() as scratch:
        predict(load(folder, threads=1), source, Path(scratch) / 'out', **options)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak_memory(folder: str | os.PathLike, source: str | os.PathLike, images: int, **options: Any) -> int:
    """Peak resident memory of a run in a process of its own, bytes.

    Args:
        folder, source: As in :func:`benchmark_prediction`.
        images: Number of images.
        options: Further options of :func:`~mmtrtvit.prediction.predict`.
    """
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        return pool.apply(_peak, (os.fspath(folder), os.fspath(source), {**options, 'limit': images}))


def _times(
    predictor: Predictor,
    images: Sequence[np.ndarray],
    source: str | os.PathLike,
    formats: Sequence[str],
    batch: int,
    iterations: int,
) -> dict:
    def alone() -> None:
        for _ in predictor.stream(images, batch_size=batch):
            pass

    with tempfile.TemporaryDirectory() as scratch:

        def whole() -> None:
            out = Path(scratch) / 'out'
            predict(predictor, source, out, formats=formats, limit=len(images), batch=batch, overwrite=True)

        timed = measure(
            {ALONE: alone, WHOLE: whole},
            scope='folder',
            warmup_runs=1,
            warmup_seconds=0,
            min_runs=iterations,
            min_seconds=0,
            max_seconds=600,
            until_steady=False,
        )
    return dict(
        rounds=len(timed[0].values),
        milliseconds={entry.name: entry.median / len(images) for entry in timed},
        ratio=ratio(timed, WHOLE, ALONE),
        steady=all(entry.steady for entry in timed),
    )


def benchmark_prediction(
    folder: str | os.PathLike,
    source: str | os.PathLike,
    *,
    out: str | os.PathLike = 'work_dirs/prediction',
    formats: Sequence[str] = (),
    images: int = 80,
    batch: int = 1,
    threads: int | None = None,
    streams: int | None = None,
    iterations: int = 5,
    memory_images: int | None = None,
    timed: bool = True,
) -> dict:
    """Time an artefact on images in memory, and the whole way from their files to pictures and tables.

    Peak memory is taken in processes of their own, for a tenth of a number of images and for all of them.

    Args:
        folder: The artefact's folder.
        source: Images, as ``tools/predict.py`` takes them.
        out: Folder for ``prediction.json``; a row is added to those that are there.
        formats: Formats that are written, as in :func:`~mmtrtvit.prediction.predict`.
        images: Number of images.
        batch: Images that go through the network together.
        threads: CPU threads of the network.
        streams: Images that the network works on at the same time.
        iterations: Runs of each, in turn.
        memory_images: Number of images for the peak memory; by default ``images``.
        timed: Whether to time anything.

    Returns:
        The row.

    Raises:
        ConfigError, DataError, DeployError: For input that cannot be used.
    """
    check_settings(images=images, batch=batch, threads=threads, streams=streams, iterations=iterations)
    results = Results(out, 'prediction')
    predictor = load(folder, threads=threads, streams=streams)
    read = [read_image(item.path) for item in find_items(source)[:images] if not item.is_video]
    latency = _times(predictor, read, source, formats, batch, iterations) if timed else {}
    most, manifest = memory_images or len(read), predictor.manifest
    numbers = max(most // 10, 1), most
    peaks = {number: peak_memory(folder, source, number, formats=formats, batch=batch) for number in numbers}
    row = dict(
        network=Path(manifest.get('source', {}).get('model_config') or manifest['method']).stem,
        task=manifest['task'],
        backend=manifest['backend'],
        precision=manifest['precision'],
        formats=' '.join(formats) or 'default',
        images=len(read),
        pixels=statistics.fmean(image.shape[0] * image.shape[1] for image in read),
        batch=batch,
        threads=threads,
        streams=streams or 1,
        **latency,
        peak_bytes=peaks,
        machine=machine(),
    )
    results.add(row, ('network', 'backend', 'precision', 'formats', 'batch', 'threads', 'streams', 'images'))
    shown = ', '.join(f'{name} {value:.1f} ms an image' for name, value in latency.get('milliseconds', {}).items())
    results.show([f'{row["network"]}, {row["formats"]}: {shown or "memory only"}'])
    return row
