"""The one renderer of tables, and the fields that several tables share.

A column is a title and the format of a cell, such as ``('MACs G', '{macs:.2f}')``; a row maps names to values.
"""

from collections.abc import Iterable, Mapping, Sequence

from mmtrtvit.latency import Latency, ratio
from mmtrtvit.markdown import table

Columns = Sequence[tuple[str, str]]


def render(columns: Columns, rows: Iterable[Mapping], *notes: str) -> str:
    """A table in Markdown with paragraphs below it; a cell stays empty where its row lacks the value."""

    def cell(text: str, row: Mapping) -> str:
        try:
            return text.format_map(row)
        except KeyError:
            return ''

    cells = [[cell(text, row) for _, text in columns] for row in rows]
    return '\n\n'.join([table([title for title, _ in columns], cells), *filter(None, notes)])


def pivot(rows: Iterable[Mapping], keys: Sequence[str], name: str) -> dict[tuple, dict[str, Mapping]]:
    """Rows that share the values of ``keys`` as one: value of ``name`` to row, in the order of their first row."""
    found: dict[tuple, dict[str, Mapping]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), {})[row[name]] = row
    return found


def latency(row: Mapping) -> Latency:
    """A recorded row as :class:`~mmtrtvit.latency.Latency` again."""
    return Latency(row['name'], row['scope'], row['values'], {})


def milliseconds(row: Mapping) -> str:
    """Median and 90th percentile, such as ``'25.0 / 27.9'``, marked where the row is unsteady."""
    timed = latency(row)
    return f'{timed.median:.1f} / {timed.quantile(0.9):.1f}{unsteady_mark(timed.steady)}'


def gain(slow: Mapping, fast: Mapping) -> str:
    """Time of the first row over that of the second: the median over the rounds that they share."""
    return f'{ratio([latency(slow), latency(fast)], of=slow["name"], to=fast["name"]):.2f}'


def unsteady_mark(steady: bool) -> str:
    """The mark behind a figure that should not be quoted by itself."""
    return '' if steady else ' (u)'


def unsteady_note(rows: Iterable[Mapping]) -> str:
    """The sentence that explains the mark, with the widest spread of the rows; empty where all are steady."""
    spreads = [timed.spread for timed in map(latency, rows) if not timed.steady]
    if not spreads:
        return ''
    return (
        f' (u): unsteady, the inter-quartile range is above 5 % of the median (up to {max(spreads):.0%}): trust the '
        'ratio, not the figure.'
    )


def conditions(rows: Sequence[Mapping]) -> str:
    """The conditions of a run, from its measured rows."""
    first = rows[0]
    shapes = {'x'.join(map(str, row['shape'])) for row in rows if row['shape']}
    shape = f'input {", ".join(sorted(shapes))}, ' if shapes else ''
    scopes = ' and '.join(dict.fromkeys(row['scope'] for row in rows))
    load, busy = first['conditions']['load_average'], first['conditions']['busy']
    threads = f'{first["threads"]} threads, ' if first['threads'] else ''
    text = (
        f'*Measured* in turn, in one run: scope {scopes}, {shape}at least {min(row["runs"] for row in rows)} runs of '
        f'each on {first["device_name"]} ({threads}load average {load} before it began); {versions(first)}.'
    )
    if busy:
        text += f' The machine was busy: {busy}.'
    spreads = [row['variation'] for row in rows if not row['steady']]
    if spreads:
        text += (
            f' (u): did not become steady (variation up to {max(spreads):.0%}): trust ratios within the run, not the '
            'figure.'
        )
    return text


def versions(row: Mapping) -> str:
    """The versions of a row, such as ``'torch 2.13.0, onnx 1.23.2'``."""
    return ', '.join(f'{name} {version}' for name, version in row['versions'].items())
