"""The page of a study: all tables, the plot, and the guidelines held against the rows."""

import os
from collections.abc import Iterable
from pathlib import Path

from ..atomic import atomic_file
from ..benchmark.rows import read_rows
from ..config import make_work_dir
from ..errors import DataError
from ..measurement import read_measurements
from .guidelines import GUIDELINES, runs_of
from .plot import block_figure
from .tables import guideline_table, study_page


def study_guidelines(
    rows: Iterable[str | os.PathLike],
    accuracy: str | os.PathLike | None = None,
    out: str | os.PathLike = 'work_dirs/study',
) -> Path:
    """Print the guidelines held against rows, and write the page of the study with its plot.

    Args:
        rows: Files of rows of blocks and networks.
        accuracy: File of rows of the training.
        out: Folder of ``study.md`` and ``study.png``.

    Returns:
        The page.

    Raises:
        ConfigError: If the folder cannot be written.
        DataError: If a file cannot be read, or none has rows of the study.
    """
    paths = [str(path) for path in rows]
    measured = [row for path in paths for row in read_measurements(path)]
    trained = None if accuracy is None else read_rows(accuracy)
    if accuracy is not None and (trained is None or 'rows' not in trained):
        raise DataError(
            f'There are no rows of the training in {accuracy}.',
            expected='study_accuracy.json of tools/study.py train',
            fix='correct --accuracy, or leave it out',
        )
    blocks = runs_of(measured, 'block')
    if not blocks and not runs_of(measured, 'backbone'):
        raise DataError(
            f'{", ".join(paths)} has no rows of the study.',
            expected='rows of tools/study.py blocks or networks',
            fix='measure them first',
        )
    results = trained['rows'] if trained else []
    folder = make_work_dir(out)
    page = folder / 'study.md'
    text = study_page(measured, results)
    if blocks:
        with atomic_file(folder / 'study.png') as temporary:
            block_figure(blocks[0]).savefig(temporary, dpi=110)
        text += '\n![Densities of the blocks over the stages](study.png)\n'
    with atomic_file(page) as temporary:
        temporary.write_text(text, encoding='utf-8')
    for number, guideline in GUIDELINES.items():
        print(f'{number}. {guideline}')
    print(
        guideline_table(measured, results) or 'The rows have both sides of no claim: measure more blocks and networks.'
    )
    print(f'Page: {page}')
    return page
