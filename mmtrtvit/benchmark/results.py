"""The folder that a benchmark leaves: rows as JSON, the tables made from them as a page, and pictures beside them."""

import os
from collections.abc import Mapping, Sequence

from rich.console import Console

from ..atomic import atomic_file
from ..config import make_work_dir
from ..latency import machine
from .rows import read_rows, write_rows


class Results:
    """A folder of results.

    Args:
        out: The folder, made if it is not there.
        name: What was measured: the files are ``<name>.json`` and ``<name>.md``.

    Attributes:
        folder: The folder.
        rows: The file of rows.
        page: The file of tables.

    Raises:
        ConfigError: If the folder cannot be written.
    """

    def __init__(self, out: str | os.PathLike, name: str) -> None:
        self.folder = make_work_dir(out)
        self.rows, self.page = self.folder / f'{name}.json', self.folder / f'{name}.md'

    def write(self, result: dict[str, list[dict]]) -> None:
        """Write named lists of rows, in place of those that are there."""
        write_rows(result, self.rows)

    def add(self, row: Mapping, key: Sequence[str]) -> dict[str, list[dict]]:
        """Write a row beside those of earlier runs, and take the place of one that it agrees with in all of ``key``.

        Returns:
            All ``rows``, and the ``machine`` that made the last one.

        Raises:
            DataError: If the file of rows is not JSON.
        """
        earlier = (read_rows(self.rows) or {}).get('rows', [])
        kept = [other for other in earlier if any(other[name] != row[name] for name in key)]
        result = {'rows': [*kept, row], 'machine': [machine()]}
        self.write(result)
        return result

    def show(self, *tables: str) -> None:
        """Write tables as the page, print them, and say where everything is."""
        text = '\n\n'.join(tables)
        with atomic_file(self.page) as temporary:
            temporary.write_text(f'{text}\n', encoding='utf-8')
        console = Console(highlight=False)
        console.print(text, markup=False, soft_wrap=True)
        console.print(f'Results: {self.folder}', markup=False, soft_wrap=True)
