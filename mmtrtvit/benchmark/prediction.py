"""A folder of images through ``tools/predict.py``, beside the network alone."""

import os
import resource
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..latency import machine, measure, ratio
from ..prediction import find_items, predict
from ..runtime import load
from ..runtime.preprocess import read_image
from .rows import Results, check_settings

ALONE, WHOLE = 'network', 'predict'
"""Names of the two that are timed in turn."""


def benchmark_prediction(
    folder: str | os.PathLike,
    source: str | os.PathLike,
    *,
    out: str | os.PathLike = 'work_dirs/prediction',
    formats: Sequence[str] = (),
    images: int = 80,
    batch: int = 1,
    threads: int | None = None,
    iterations: int = 5,
) -> dict:
    """Time an artefact on images in memory, and the whole way from their files to pictures and tables.

    Args:
        folder: The artefact's folder.
        source: Images, as ``tools/predict.py`` takes them.
        out: Folder for ``prediction.json``; a row is added to those that are there.
        formats: Formats that are written, as in :func:`~mmtrtvit.prediction.predict`.
        images: Number of images.
        batch: Images that go through the network together.
        threads: CPU threads of the network.
        iterations: Runs of each, in turn.

    Returns:
        The row.

    Raises:
        ConfigError, DataError, DeployError: For input that cannot be used.
    """
    check_settings(images=images, batch=batch, threads=threads, iterations=iterations)
    results = Results(out, 'prediction')
    predictor = load(folder, threads=threads)
    read = [read_image(item.path) for item in find_items(source)[:images] if not item.is_video]

    def alone() -> None:
        for _ in predictor.stream(read, batch_size=batch):
            pass

    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / 'out'

        def whole() -> None:
            predict(predictor, source, place, formats=formats, limit=len(read), batch=batch, overwrite=True, score=0.3)

        timed = measure(
            {ALONE: alone, WHOLE: whole},
            scope='folder',
            warmup_runs=1,
            warmup_seconds=0,
            min_runs=iterations,
            min_seconds=0,
            max_seconds=600,
        )
        objects = predict(predictor, source, place, formats=formats, limit=len(read), overwrite=True).objects
    manifest = predictor.manifest
    row = dict(
        network=Path(manifest.get('source', {}).get('model_config') or manifest['method']).stem,
        task=manifest['task'],
        backend=manifest['backend'],
        precision=manifest['precision'],
        formats=' '.join(formats) or 'default',
        images=len(read),
        objects=objects,
        pixels=statistics.fmean(image.shape[0] * image.shape[1] for image in read),
        batch=batch,
        threads=threads,
        rounds=len(timed[0].values),
        milliseconds={entry.name: entry.median / len(read) for entry in timed},
        ratio=ratio(timed, WHOLE, ALONE),
        steady=all(entry.steady for entry in timed),
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        machine=machine(),
    )
    results.add(row, ('network', 'backend', 'precision', 'formats', 'batch', 'threads', 'images'))
    shown = ', '.join(f'{name} {value:.1f} ms an image' for name, value in row['milliseconds'].items())
    results.show([f'{row["network"]}, {row["formats"]}: {shown}, ratio {row["ratio"]:.3f}'])
    return row
