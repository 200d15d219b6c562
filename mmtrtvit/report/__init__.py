"""Tables and an interactive page of measured rows."""

import os
from collections.abc import Iterable
from pathlib import Path

from ..atomic import atomic_file
from ..errors import ConfigError
from .page import html_page
from .published import PATH, Published
from .rows import parse_baseline, read_reported
from .tables import markdown_page

__all__ = ['write_report']


def write_report(
    rows: Iterable[str | os.PathLike],
    out: str | os.PathLike,
    baseline: str | None = None,
    root: str | os.PathLike | None = None,
) -> Path:
    """Write a report of measured rows.

    Args:
        rows: Files of rows, as ``tools/benchmark.py`` leaves them.
        out: The file to write: ``.html``, one page that needs no other file and no network, or ``.md``, tables.
        baseline: The rows that the others are compared with: ``FIELD=VALUE``, such as ``'backend=pytorch'``, or a name.
        root: A checkout, whose published accuracy stands beside the latency of its backbones.

    Returns:
        The file.

    Raises:
        DataError: If rows cannot be read.
        ConfigError: If ``out`` has another suffix, no row is such a baseline, or Bokeh is missing.
    """
    out = Path(out)
    if out.suffix not in ('.html', '.md'):
        raise ConfigError(
            f'{out} is neither HTML nor Markdown.', expected='a name that ends in .html or .md', fix='correct --out'
        )
    published = Published.read(root) if root and (Path(root) / PATH).is_file() else None
    found = read_reported(rows, published)
    chosen = parse_baseline(baseline, found) if baseline else None
    text = html_page(found, chosen) if out.suffix == '.html' else markdown_page(found, chosen)
    with atomic_file(out) as temporary:
        temporary.write_text(text, encoding='utf-8')
    return out
