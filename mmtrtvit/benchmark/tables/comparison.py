"""All families side by side: what they count to, what is published of them, and what was measured."""

from collections.abc import Mapping

from ...latency import ratio
from ...zoo.complexity import backbone_complexity
from ...zoo.families import FAMILIES
from ..published import Published
from ..rows import COMPARED, by_network
from .text import NO_RUN, Notes, giga, markdown, millions

COMMAND = 'python tools/benchmark.py comparison'
"""What makes the rows."""

TABLE = 'imagenet'
"""The published table whose figures are compared."""

_UNSTEADY = (
    ' (u): unsteady, the inter-quartile range is above 5 % of the median (up to {worst:.0%}): trust the ratio, not the '
    'figure.'
)


def with_published(result: Mapping, published: Published) -> dict:
    """Rows of a run with the published top-1 accuracy of the sizes in it, for the plot.

    Args:
        result: What ``comparison.json`` holds.
        published: What the literature says.
    """
    found = []
    for row in result['complexity']:
        figures = published.find(row['family'], row['arch'], TABLE) or {}
        if 'top1' in figures:
            found.append(dict(family=row['family'], arch=row['arch'], kind='published', top1=figures['top1']))
    return {**result, 'published': found}


def comparison_table(published: Published, result: Mapping | None, picture: str | None = None) -> str:
    """Every size of every family: parameters, multiply-accumulates, published accuracy and latency, measured latency.

    Args:
        published: What the literature says.
        result: What ``comparison.json`` holds, or ``None``: then nothing measured is shown.
        picture: Path of the plot as seen from the page.
    """
    latencies = by_network(result['latency']) if result else {}
    notes, rows = Notes(published), []
    for name, family in FAMILIES.items():
        for arch in family.archs:
            counted = backbone_complexity(arch, family=name)
            figures = published.find(name, arch, TABLE)
            row = [
                family.name(arch),
                family.origin(arch),
                millions(counted.params),
                giga(counted.total_macs),
                f'{figures["top1"]} {notes.number(figures)}' if figures else 'none',
                (figures or {}).get('tensorrt_ms', 'none'),
            ]
            rows.append([*row, *(_measured(latencies, name, arch) if result else ())])
    header = ['backbone', 'widths and depths are', 'params M', 'MACs G', 'published top-1 %', 'published TensorRT ms']
    if result:
        header += [*(f'{runtime}: p50 / p90 ms' for runtime in COMPARED), ' / '.join(COMPARED)]
    lines = [
        'Parameters and MACs of the backbone without a classifier, *measured* by counting at 224 x 224. Published '
        'latency: T4, FP16, batch 8, with the classifier.',
        *notes.lines(),
        _conditions(result, latencies) if result else NO_RUN.format(command=COMMAND),
        *([f'![Latency of all families against MACs and published accuracy]({picture})'] if result and picture else ()),
    ]
    return '\n\n'.join([markdown(header, rows), *lines])


def _measured(latencies: Mapping, family: str, arch: str) -> list[str]:
    """The measured cells of a row; empty where a run left a network out."""
    pair = [latencies.get((family, arch, runtime)) for runtime in COMPARED]
    if None in pair:
        return [''] * (len(COMPARED) + 1)
    cells = [f'{row.median:.1f} / {row.quantile(0.9):.1f}{"" if row.steady else " (u)"}' for row in pair]
    return [*cells, f'{ratio(pair, of=pair[0].name, to=pair[1].name):.2f}']


def _conditions(result: Mapping, latencies: Mapping) -> str:
    """What the measured figures were measured on, and how far the runtimes are from PyTorch."""
    first = result['latency'][0]
    largest = max(row['relative'] for row in result['difference'])
    unsteady = [row.spread for row in latencies.values() if not row.steady]
    return (
        f'Latency is *measured*, all in one interleaved run: scope {first["scope"]}, input {first["shape"]}, '
        f'{first["precision"]}, {first["runs"]} rounds on {first["machine"]["processor"]} '
        f'({first["machine"]["torch_threads"]} threads, load average {first["load_average"]} before it began); '
        + ', '.join(f'{name} {version}' for name, version in first['versions'].items())
        + f'. Largest difference from PyTorch over the largest value: {largest:.1e}.'
        + (_UNSTEADY.format(worst=max(unsteady)) if unsteady else '')
    )
