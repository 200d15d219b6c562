"""The results of finished training runs, read from their work dirs."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from ..config import datasets_of, prefixes_of
from ..datasets.class_folders import count_images
from ..datasets.preflight import has_class_folders
from ..engine.runner import threads_of
from ..errors import DataError
from ..machine import machine
from .rows import Results

KEPT = ('bbox_mAP', 'bbox_mAP_50', 'segm_mAP', 'segm_mAP_50', 'mIoU', 'aAcc', 'mAcc', 'top1', 'top5')
"""Metrics that a row keeps."""


def read_run(work_dir: str | os.PathLike) -> dict:
    """The result of a training run.

    Args:
        work_dir: The work dir of ``tools/train.py``, and perhaps of ``tools/test.py`` afterwards: the config, and a
            folder for each start.

    Returns:
        ``config``, ``iterations``, ``images`` (seen, of one process), ``seconds`` of training without evaluation, the
        ``metrics`` of the last evaluation, as the data set gives them, and the ``curve``: those of every evaluation of
        the training with its ``step``, which counts epochs or iterations as the config does. Of a classifier on folders
        of images also ``guess``, the percentage of the most frequent class. ``threads`` of the CPU are those of the
        last start's log; ``None`` if it does not name them, as logs of mmengine's own tools.

    Raises:
        DataError: If it is not a work dir, or nothing was evaluated.
    """
    work_dir = Path(work_dir)
    configs = sorted(work_dir.glob('*.py'))
    # a start logs training and evaluation to scalars.json, tools/test.py writes a file of its own
    logs = [
        text
        for start in sorted(work_dir.glob('*/'))
        for text in (_scalars(start), *(log.read_text() for log in start.glob('*.json')))
    ]
    rows = [json.loads(line) for text in logs for line in text.splitlines()]
    # evaluations have no learning rate
    trained = [row for row in rows if 'lr' in row]
    evaluated = [row for row in rows if any(name.endswith(KEPT) for name in row)]
    if len(configs) != 1 or not trained or not evaluated:
        raise DataError(
            f'{work_dir} holds no run that was trained and evaluated: {len(configs)} configs, {len(trained)} rows of '
            f'training, {len(evaluated)} evaluations.',
            expected='the work dir of a finished tools/train.py',
            fix='let the training finish, or name another folder',
        )
    seconds, before = 0.0, 0
    for row in trained:
        # a run that was resumed begins where it was interrupted, or a little before
        seconds += row['time'] * max(row['step'] - before, 0)
        before = max(before, row['step'])
    config = Config.fromfile(configs[0])

    def metrics(row: dict) -> dict[str, float]:
        return {name: value for name, value in row.items() if name.endswith(KEPT)}

    texts = [log.read_text() for log in sorted(work_dir.glob('*/*.log')) if '"lr"' in _scalars(log.parent)]
    return dict(
        config=configs[0].stem,
        iterations=before,
        images=before * config.train_dataloader.batch_size,
        seconds=seconds,
        threads=threads_of(texts[-1]) if texts else None,
        metrics=metrics(evaluated[-1]),
        curve=[dict(step=row['step'], **metrics(row)) for row in evaluated if 'step' in row],
        **_guess(config),
    )


def _scalars(start: Path) -> str:
    """The figures of a start: a line of JSON for each logged iteration and evaluation."""
    path = start / 'vis_data' / 'scalars.json'
    return path.read_text() if path.is_file() else ''


def _guess(config: Config) -> dict[str, float]:
    """The accuracy of a classifier that always names the most frequent class, percent; empty for other networks."""
    dataset = next(datasets_of((config.get('val_dataloader') or {}).get('dataset') or {}))
    if not dataset or not has_class_folders(dataset):
        return {}
    counts = count_images(Path(dataset.get('data_root') or '', prefixes_of(dataset).get('img_path', ''))).values()
    return dict(guess=100 * max(counts) / sum(counts))


def benchmark_runs(work_dirs: Sequence[str | os.PathLike], out: str = 'work_dirs/runs') -> dict:
    """Put finished training runs side by side.

    Args:
        work_dirs: Work dirs of ``tools/train.py``.
        out: Folder for ``runs.json``.

    Returns:
        The content of ``runs.json``: ``rows``, and the ``machine`` that reads them.

    Raises:
        DataError: If one of them is not the work dir of a finished run.
    """
    # the threads of this process say nothing about the runs
    here = {name: value for name, value in machine().items() if name != 'torch_threads'}
    result = {'rows': [read_run(work_dir) for work_dir in work_dirs], 'machine': [here]}
    results = Results(out, 'runs')
    results.write(result)
    results.show(
        f'{row["config"]}: {row["iterations"]} iterations, {row["seconds"] / 60:.0f} minutes, '
        + ', '.join(f'{name} {value:.3f}' for name, value in row['metrics'].items())
        for row in result['rows']
    )
    return result
