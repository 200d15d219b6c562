"""Measured rows: read, written as JSON, and the folder that a benchmark leaves."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from ..atomic import atomic_file
from ..config import make_work_dir
from ..errors import ConfigError, DataError
from ..machine import machine

COUNTS = ('size', 'batch', 'images', 'iterations', 'threads', 'streams')
"""Settings that have to be at least one."""


def check_settings(**settings: float | None) -> None:
    """Make sure that sizes and numbers are positive.

    Args:
        settings: Named as the options are; only those of :data:`COUNTS` are looked at. ``None`` is always right.

    Raises:
        ConfigError: If one is not; the message names the option.
    """
    for name in COUNTS:
        value = settings.get(name)
        if value is not None and value < 1:
            raise ConfigError(
                f'--{name} {value} is too small.', expected='a whole number of at least 1', fix=f'correct --{name}'
            )


def write_rows(result: Mapping[str, Sequence[Mapping]], path: str | os.PathLike) -> None:
    """Write named lists of rows as JSON, one row per line."""
    lists = [
        f' {json.dumps(name)}: [\n' + ',\n'.join(f'  {json.dumps(row)}' for row in rows) + '\n ]'
        for name, rows in result.items()
    ]
    with atomic_file(path) as temporary:
        temporary.write_text('{\n' + ',\n'.join(lists) + '\n}\n')


def read_rows(path: str | os.PathLike) -> dict | None:
    """Read a file of measured rows.

    Returns:
        Its content, or ``None`` if the file does not exist.

    Raises:
        DataError: If it is not JSON.
    """
    path = Path(path)
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise DataError(
            f'{path} is not JSON: {error}',
            expected='a file that tools/benchmark.py or tools/demo.py wrote',
            fix='copy it again from the folder of the run',
        ) from error


class Results:
    """The file of rows that a benchmark leaves.

    Args:
        out: Its folder, made if it is not there.
        name: Name of the measurement: the file is ``<name>.json``.

    Attributes:
        path: The file.

    Raises:
        ConfigError: If the folder cannot be written.
    """

    def __init__(self, out: str | os.PathLike, name: str) -> None:
        self.path = make_work_dir(out) / f'{name}.json'

    def write(self, result: Mapping[str, Sequence[Mapping]]) -> None:
        """Write named lists of rows, replacing those in the file."""
        write_rows(result, self.path)

    def add(self, row: Mapping, key: Sequence[str]) -> dict[str, list[dict]]:
        """Add a row to those of earlier runs. It replaces an earlier one with the same values of ``key``.

        Returns:
            All ``rows``, and the ``machine`` that made the last one.

        Raises:
            DataError: If the file of rows is not JSON.
        """
        earlier = (read_rows(self.path) or {}).get('rows', [])
        kept = [other for other in earlier if any(other[name] != row[name] for name in key)]
        result = {'rows': [*kept, row], 'machine': [machine()]}
        self.write(result)
        return result

    def show(self, lines: Iterable[str]) -> None:
        """Print a line for each row, and say where the rows are and how a page is made of them."""
        console = Console(highlight=False)
        for line in (
            *lines,
            f'Rows: {self.path}',
            f'A page of tables: python tools/dev/update_pages.py --rows {self.path}',
        ):
            console.print(line, markup=False, soft_wrap=True)
