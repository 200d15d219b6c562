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


def side_by_side(found: Mapping[str, Mapping], runtimes: Sequence[str]) -> dict[str, str]:
    """The fields of :func:`runtime_columns`: the latency in each of two runtimes, and their ratio as ``gain``."""
    if not set(runtimes) <= found.keys():
        return {}
    return {
        **{name: milliseconds(found[name]) for name in runtimes},
        'gain': gain(*(found[name] for name in runtimes)),
    }


def runtime_columns(runtimes: Sequence[str]) -> Columns:
    """Columns of two runtimes."""
    return [*((f'{name}: p50 / p90 ms', f'{{{name}}}') for name in runtimes), (' / '.join(runtimes), '{gain}')]


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
    """The conditions of an interleaved run."""
    first, machine = rows[0], rows[0]['machine']
    return (
        f'scope {first["scope"]}, input {first["shape"]}, {first["precision"]}, {first["runs"]} rounds on '
        f'{machine["processor"]} ({machine["torch_threads"]} threads, load average {first["load_average"]} before it '
        f'began); {versions(first)}.{unsteady_note(rows)}'
    )


def versions(row: Mapping) -> str:
    """The versions of a row, such as ``'torch 2.13.0, onnx 1.23.2'``."""
    return ', '.join(f'{name} {version}' for name, version in row['versions'].items())
