"""Tables of predicted latency: ``roofline.json``, the rows of tools/dev/validate_roofline.py."""

import math
from collections.abc import Mapping

from mmtrtvit.roofline.devices import DEVICES, WIDTH
from mmtrtvit.zoo.families import FAMILIES

from .render import render

NETWORKS = {'looked-at': 'looked at', 'held-out': 'held out', 'fp16': 'float16', 'fp32': 'float32', 'all': 'all'}
"""Groups of rows that were not calibrated on, as tables write them."""

WORST = 5
"""Networks of each target in the table of the worst."""


def name_of(network: str) -> str:
    """A network as tables write it, with where its widths and depths come from if they are not published."""
    family, _, arch = network.partition('-')
    if family in FAMILIES:
        origin = FAMILIES[family].origin(arch)
        return FAMILIES[family].name(arch) + ('' if origin == 'published' else f' ({origin})')
    return network.removeprefix('paper:')


def title_of(summary: Mapping) -> str:
    """A device and what runs on it."""
    return f'{summary["device"].split(",")[0]}, {summary["compiler"]}'


def errors_table(result: Mapping) -> str:
    """Errors on each device, of the networks that it was not calibrated on."""
    rows = []
    for summary in result['summaries']:
        for use, found in summary['uses'].items():
            first = not any(row['target'] == title_of(summary) for row in rows)
            five = ', '.join(map(name_of, summary['calibrated_on'])) if first else ''
            rows.append(dict(found, target=title_of(summary), use=NETWORKS[use], five=five))
    columns = [
        ('device', '{target}'),
        ('networks', '{use}'),
        ('rows', '{networks}'),
        ('Spearman', '{spearman:.3f}'),
        ('median error', '{median_error:.1%}'),
        ('90th percentile', '{p90_error:.1%}'),
        ('calibrated on', '{five}'),
    ]
    missing = sum(summary['missing'] for summary in result['summaries'] if 'rtx' in summary['target'])
    note = (
        '*Predicted* against *published* latency, and *measured* latency on the CPU. Errors are relative to '
        'the known time. Spearman is of the time of an image.'
    )
    gone = f'{missing} rows of timm are missing, as their networks have no graph or operators that are not predicted.'
    return render(columns, rows, note, gone if missing else '')


def efficiencies_table(result: Mapping) -> str:
    """Efficiencies that calibration found."""
    rows = [dict(summary['efficiency'], target=title_of(summary)) for summary in result['summaries']]
    names = ('conv', 'linear', 'attention', 'depthwise', 'stream', 'irregular')
    columns = [
        ('device', '{target}'),
        *((name, f'{{{name}:.2f}}') for name in names),
        ('overhead us', '{overhead:.1f}'),
    ]
    return render(columns, rows)


def t4_table(result: Mapping) -> str:
    """Every published latency of the T4."""
    rows = [
        dict(row, name=name_of(row['network']), error=row['predicted_ms'] / row['known_ms'] - 1,
             use={'calibration': 'calibration', 'same-network': 'its network calibrates'}.get(row['use'], ''))
        for row in result['rows'] if row['target'] == 't4-tensorrt'
    ]  # fmt: skip
    columns = [
        ('network', '{name}'),
        ('input', '{batch} x {size} x {size}'),
        ('precision', '{precision}'),
        ('published ms', '{known_ms:.2f}'),
        ('predicted ms', '{predicted_ms:.2f}'),
        ('error', '{error:+.0%}'),
        ('used for', '{use}'),
        ('source', '{source}'),
    ]
    return render(columns, rows, 'Sources are those of `docs/results/latency_published.yaml`.')


def paper_table(result: Mapping) -> str:
    """TRT-ViT on a T4 beside what its paper prints."""
    known = {row['network']: row['known_ms'] for row in result['rows']
             if row['target'] == 't4-tensorrt' and row['size'] == 224 and row['batch'] == 8}  # fmt: skip
    times = {row['network']: row['predicted_ms'] for row in result['paper']}
    reference = 'trtvit-c'
    rows = [
        dict(
            name=name_of(network),
            predicted=predicted,
            factor=f'{predicted / times[reference]:.1f}',
            **(
                {'known': known[network], 'printed': f'{known[network] / known[reference]:.1f}'}
                if network in known
                else {}
            ),
        )
        for network, predicted in times.items()
    ]
    columns = [
        ('network', '{name}'),
        ('published ms', '{known:.1f}'),
        ('predicted ms', '{predicted:.1f}'),
        ('published, over TRT-ViT-C', '{printed}'),
        ('predicted, over TRT-ViT-C', '{factor}'),
    ]
    return render(columns, rows, 'T4, TensorRT 8.0, FP16, batch 8 at 224 x 224.')


def worst_table(result: Mapping) -> str:
    """The networks that are predicted worst on each device."""
    titles = {summary['target']: title_of(summary) for summary in result['summaries']}
    rows = []
    for target, title in titles.items():
        kept = [
            row
            for row in result['rows']
            if row['target'] == target and row['use'] not in ('calibration', 'same-network')
        ]
        kept.sort(key=lambda row: -abs(_log_ratio(row)))
        once = {row['network']: row for row in reversed(kept)}  # of several sizes, batches and precisions the worst
        for row in sorted(once.values(), key=lambda row: -abs(_log_ratio(row)))[:WORST]:
            bound = max(row['shares'], key=row['shares'].__getitem__)
            rows.append(
                dict(row, title=title, name=name_of(row['network']), ratio=row['predicted_ms'] / row['known_ms'],
                     bound=f'{bound} {row["shares"][bound]:.0%}')
            )  # fmt: skip
    columns = [
        ('device', '{title}'),
        ('network', '{name}'),
        ('size', '{size}'),
        ('known ms', '{known_ms:.1f}'),
        ('predicted ms', '{predicted_ms:.1f}'),
        ('predicted / known', '{ratio:.2f}'),
        ('predicted to be bound by', '{bound}'),
    ]
    return render(columns, rows)


def _log_ratio(row: Mapping) -> float:
    return math.log(row['predicted_ms'] / row['known_ms'])


def devices_table(precisions: tuple[str, ...] = tuple(name for name in WIDTH if name != 'amp')) -> str:
    """The devices as data."""
    rows = []
    for name, one in DEVICES.items():
        row = dict(name=f'`{name}`', title=one.title, bandwidth=one.bandwidth, cache=one.cache, source=one.source)
        row.update(processors=one.processors, **{precision: f'{value:g}' for precision, value in one.matrix.items()})
        rows.append(row)
    columns = [
        ('`--device`', '{name}'),
        ('', '{title}'),
        *((precision.upper(), f'{{{precision}}}') for precision in precisions),
        ('GB/s', '{bandwidth:g}'),
        ('cache MiB', '{cache:g}'),
        ('processors', '{processors}'),
        ('sources', '{source}'),
    ]
    return render(columns, rows, 'Peaks of matrix units without sparsity, 10^12 operations a second.')
