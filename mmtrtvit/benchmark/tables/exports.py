"""The plain export of mmdeploy against this package's, side by side."""

from collections.abc import Mapping, Sequence

from ...latency import Latency, ratio
from ...zoo.families import FAMILIES
from ...zoo.methods import METHODS
from ..rows import COMPARED
from .deployment import network
from .text import NO_RUN, markdown

PLAIN = 'plain mmdeploy'
"""What rows call the export without this package's rewriters and folding; the others are called by their flavour."""

EXPORTS = (PLAIN, 'native', 'portable')

HEAD = (
    *('network', 'export', 'runtime', 'opset', 'nodes', 'folded'),
    *('the same as PyTorch: traced image', 'other images', 'ms: p50 / p90', 'plain / this'),
)

_NEEDED = (
    '*Plain* is mmdeploy {mmdeploy} with its own rewriters, and unfolded, as it folds nothing itself. On PyTorch '
    '{torch} it runs only if `torch.onnx.export` is told `dynamo=False` and, for RoIAlign, `_cast_Long` is given back, '
    'which PyTorch removed.'
)
_UNSTEADY = (
    ' (u): unsteady, the inter-quartile range is above 5 % of the median (up to {worst:.0%}): trust the ratio, not the '
    'figure.'
)


def exports_table(result: Mapping | None) -> str:
    """Nodes, agreement with PyTorch and latency of each export in each runtime.

    Args:
        result: What ``exports.json`` holds, or ``None``.
    """
    if result is None:
        return NO_RUN.format(command='python tools/benchmark.py exports')
    rows = sorted(result['rows'], key=_place)
    timed = {
        (network(row), row['runtime'], row['export']): Latency(row['export'], row['scope'], row['values'], {})
        for row in rows
        if 'values' in row
    }
    lines = [
        [
            *(network(row), row['export'], row['runtime']),
            *('' if row[name] is None else row[name] for name in ('opset', 'nodes', 'folded')),
            *(_outcome(row, timed) if 'values' in row else (row['error'], '', '', '')),
        ]
        for row in rows
    ]
    notes = [_NEEDED.format(**rows[0]['versions']) + _refused(rows), _conditions(rows, timed)]
    return '\n\n'.join([markdown(HEAD, lines), *notes])


def _place(row: Mapping) -> tuple:
    family = FAMILIES[row['family']]
    return (
        list(FAMILIES).index(row['family']),
        list(METHODS).index(row['method']),
        list(family.archs).index(row['arch']),
        COMPARED.index(row['runtime']),
        EXPORTS.index(row['export']),
    )


def _outcome(row: Mapping, timed: Mapping) -> list[str]:
    """The measured cells of a row that ran."""
    name, runtime, export = network(row), row['runtime'], row['export']
    this, plain = timed[name, runtime, export], timed.get((name, runtime, PLAIN))
    compared = plain is not None and export != PLAIN
    return [
        *map(_agreement, (row['parity']['traced'], row['parity']['others'])),
        f'{this.median:.1f} / {this.quantile(0.9):.1f}{"" if this.steady else " (u)"}',
        f'{ratio([plain, this], of=PLAIN, to=export):.2f}' if compared else '',
    ]


def _agreement(parity: Mapping | None) -> str:
    """How much is the same, such as ``'98 of 100, 2 extra'``, or a share of the pixels."""
    if parity is None:
        return ''
    if 'pixels' in parity:
        # rounded down: 100 % is all of them
        return f'{int(parity["agreement"] * 1e5) / 1e3:.3f} % of pixels'
    said = [f'{parity["same"]} of {parity["detections"]}']
    said += [f'{parity[name]} {word}' for name, word in (('ties', 'near ties'), ('extra', 'extra')) if parity[name]]
    return ', '.join(said)


def _refused(rows: Sequence[Mapping]) -> str:
    """Which opsets the plain export did not work with, and why."""
    said = {
        f'opset {opset} ({why.split(". ")[0]})' for row in rows for opset, why in (row.get('refused') or {}).items()
    }
    return f' It does not export these networks with {"; ".join(sorted(said))}.' if said else ''


def _conditions(rows: Sequence[Mapping], timed: Mapping) -> str:
    """What the figures were measured on."""
    ran = [row for row in rows if 'values' in row]
    first, rounds = ran[0], sorted({row['runs'] for row in ran})
    load = max(row['load_average'] for row in ran)
    shapes = dict.fromkeys(f'{row["shape"]} ({METHODS[row["method"]].title})' for row in rows)
    unsteady = [row.spread for row in timed.values() if not row.steady]
    return (
        f'*Measured*, the exports of a network interleaved in one run: scope {first["scope"]}, {first["precision"]}, '
        f'{" or ".join(map(str, rounds))} rounds on {first["machine"]["processor"]} '
        f'({first["machine"]["torch_threads"]} threads, load average {load} or less before they began), untrained '
        f'weights, {first["images"]} images compared, input {", ".join(shapes)}; '
        + ', '.join(f'{name} {version}' for name, version in first['versions'].items())
        + '.'
        + (_UNSTEADY.format(worst=max(unsteady)) if unsteady else '')
    )
