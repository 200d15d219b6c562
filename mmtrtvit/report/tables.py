"""Tables of measured rows in Markdown."""

from collections.abc import Mapping, Sequence

from ..markdown import table
from ..runtime.backends import BACKENDS
from .rows import GROWTH, SUBJECT, growth, ran, ratios, summary

_TOGETHER = ('scope', 'input', 'threads', 'device_name')
"""Settings that the rows of a table share."""

_COLUMN = ('backend', 'mode', 'precision')
"""Settings that have columns."""

TITLES = {'pytorch': 'PyTorch', **{name: backend.title for name, backend in BACKENDS.items()}}
"""Names of backends in titles."""


def markdown_page(rows: Sequence[Mapping], baseline: tuple[str, str] | None = None) -> str:
    """All tables of a report: latency, growth, failures, and the conditions.

    Args:
        rows: Rows of :func:`~mmtrtvit.report.rows.read_reported`.
        baseline: Field and value that the latencies are compared with.
    """
    parts = ['# Measured latency', *latency_tables(rows, baseline)]
    if grown := growth_table(rows):
        parts += ['## Growth of cost', grown]
    if parts_ := parts_table(rows):
        parts += ['## Parts', parts_]
    if failed := failed_table(rows):
        parts += ['## Failed', failed]
    return '\n\n'.join([*parts, '## Conditions', *summary(rows)]) + '\n'


def latency_tables(rows: Sequence[Mapping], baseline: tuple[str, str] | None = None) -> list[str]:
    """A title and a table for each scope, input and machine: a line for each network, columns for each backend.

    Args:
        rows: Rows of :func:`~mmtrtvit.report.rows.read_reported`.
        baseline: Field and value that the latencies are compared with, in columns of their own.
    """
    compared = ratios(rows, *baseline) if baseline else [None] * len(rows)
    groups: dict[tuple, list[tuple[Mapping, float | None]]] = {}
    for row, times in zip(rows, compared, strict=True):
        groups.setdefault(tuple(row[key] for key in _TOGETHER), []).append((row, times))
    found = []
    for (scope, size, threads, device), group in groups.items():
        where = [scope, size, f'{threads} threads' if threads else None, device]
        found.append(f'**{", ".join(filter(None, where))}**')
        found.append(_latency_table(group, baseline))
    return found


def _latency_table(group: Sequence[tuple[Mapping, float | None]], baseline: tuple[str, str] | None) -> str:
    cases = list(dict.fromkeys(tuple(row[key] for key in _COLUMN) for row, _ in group))
    networks: dict[tuple, dict[tuple, tuple[Mapping, float | None]]] = {}
    for row, times in group:
        case = tuple(row[key] for key in _COLUMN)
        networks.setdefault(tuple(row[key] for key in SUBJECT), {})[case] = row, times
    first = [next(iter(by_case.values()))[0] for by_case in networks.values()]
    known = [key for key in ('params_m', 'macs_g', 'accuracy') if any(row[key] is not None for row in first)]
    titles = {'params_m': 'params M', 'macs_g': 'MACs G', 'accuracy': 'published top-1 %'}
    header, shared = ['network', *(titles[key] for key in known)], any(row['share'] is not None for row, _ in group)
    for case in cases:
        title = case_title(case)
        header += [f'{title}: p50 / p90 ms', *(['of the limit'] if shared else [])]
        header += [f'over {baseline[1]}'] if baseline else []
    cells = []
    for row, by_case in zip(first, networks.values(), strict=True):
        line = [row['network'], *(_number(row[key]) for key in known)]
        for case in cases:
            here, times = by_case.get(case, (None, None))
            share = here['share'] if here else None
            line += [_milliseconds(here), *(['' if share is None else f'{share:.0f} %'] if shared else [])]
            line += ['' if times is None else f'{times:.2f}'] if baseline else []
        cells.append(line)
    return table(header, cells)


def case_title(case: Sequence[str]) -> str:
    """A backend, its mode and its precision in words, such as ``'PyTorch compiled fp32'``."""
    backend, mode, precision = case
    return ' '.join(filter(None, (TITLES.get(backend, backend), mode if mode != 'plain' else None, precision)))


def _number(value: float | None) -> str:
    return '' if value is None else f'{value:.2f}' if value < 10 else f'{value:.1f}'


def _milliseconds(row: Mapping | None) -> str:
    if row is None:
        return ''
    if row['status'] == 'FAILED':
        return 'FAILED'
    return f'{row["p50_ms"]:.1f} / {row["p90_ms"]:.1f}{"" if row["flag"] == "OK" else " (u)"}'


def growth_table(rows: Sequence[Mapping]) -> str:
    """The exponents of latency and memory along batch, resolution and size; empty if nothing was varied."""
    cells = [
        [
            series.title,
            case_title([series.rows[0][key] for key in _COLUMN]),
            GROWTH[along],
            f'{min(series.values("p50_ms")[0]):g} to {max(series.values("p50_ms")[0]):g}',
            *('' if power is None else f'{power:.2f}' for power in map(series.exponent, ('p50_ms', 'memory_mib'))),
        ]
        for along in GROWTH
        for series in growth(rows, along)
    ]
    header = ['network', 'backend', 'along', 'range', 'exponent of latency', 'exponent of memory']
    return table(header, cells) if cells else ''


def parts_table(rows: Sequence[Mapping]) -> str:
    """The parts of each row that has some; empty without."""
    cells = [
        [
            row['network'],
            f'{row["scope"]}, {row["input"]}',
            case_title([row[key] for key in _COLUMN]),
            f'{row["p50_ms"]:.1f}',
            ', '.join(f'{name} {value:.1f}' for name, value in row['parts_ms'].items()),
        ]
        for row in ran(rows)
        if row['parts_ms']
    ]
    return table(['network', 'scope', 'backend', 'p50 ms', 'parts, ms'], cells) if cells else ''


def failed_table(rows: Sequence[Mapping]) -> str:
    """The rows that failed, and why; empty without."""
    cells = [
        [
            row['network'],
            f'{row["scope"]}, {row["input"]}',
            case_title([row[key] for key in _COLUMN]),
            ' '.join(row['reason'].split()),
        ]
        for row in rows
        if row['status'] == 'FAILED'
    ]
    return table(['network', 'scope', 'backend', 'reason'], cells, numbers=False) if cells else ''
