"""Tables of whole networks: their parts, beside mmdeploy's own export, and before and after changes."""

from collections.abc import Mapping
from pathlib import Path

from .render import conditions, pivot, render
from .titles import OURS, PLAIN, RATIO, median, reached, rounds_ratio, with_precision


def _config_of(row: Mapping) -> str:
    """The config of a measured artefact, without its suffix."""
    return f'`{Path(row["extra"]["config"]).stem}`'


def parts_table(result: Mapping) -> str:
    """``networks.jsonl``: the parts of the engines of whole networks, those of a network in one run."""
    rows = [row for row in result['rows'] if row['status'] == 'OK' and row['scope'] == 'engine' and row['parts_ms']]
    lines = []
    for row in rows:
        whole = sum(row['parts_ms'].values())
        total = dict(network=_config_of(row), title=with_precision(row), ms=reached(row))
        lines.append(dict(total, part='**all**', macs=row['macs'] / 1e9, time='100 %'))
        for name, ms in row['parts_ms'].items():
            macs = row['extra']['parts_macs'][name]
            if ms < 0.005 * whole:
                continue
            known = dict(rate=f'{macs / ms / 1e6:.0f}', macs=macs / 1e9) if macs else {}
            lines.append(dict(known, part=f'`{name}`', ms=f'{ms:.1f}', time=f'{ms / whole:.1%}'))
    columns = [
        ('network', '{network}'),
        ('backend', '{title}'),
        ('part', '{part}'),
        ('ms', '{ms}'),
        ('of the time', '{time}'),
        ('MACs G', '{macs:.1f}'),
        ('GMAC/s', '{rate}'),
    ]
    if not rows:
        return ''
    rates = pivot([dict(row['limit'], run=row['run']) for row in rows], ('of',), 'run')
    fastest = ', '.join(
        f'{of} {max(limit["macs_per_second"] for limit in limits.values()) / 1e9:.0f} GMAC/s'
        for (of,), limits in rates.items()
    )
    where = conditions(rows).replace('in turn, in one run', 'both backends of a network in turn')
    return render(
        columns,
        lines,
        f'{where} The share behind a latency is that of the matrix product in the same run; the fastest of these: '
        f'{fastest}. The times of parts are those of a profile. Parts below 0.5 % are left out.',
    )


def exporters_table(result: Mapping) -> str:
    """``networks.jsonl``: engines of mmdeploy's own export beside those of this package, each pair in one run."""
    rows = [
        dict(
            row, network=_config_of(row), runtime=with_precision(row), export=PLAIN if 'other' in row['extra'] else OURS
        )
        for row in result['rows']
        if row['status'] == 'OK' and row['scope'] == 'engine'
    ]
    by_network = pivot(rows, ('network', 'runtime', 'run'), 'export')
    pairs = {key: found for key, found in by_network.items() if PLAIN in found}
    lines = [
        dict(
            network=network,
            runtime=runtime,
            input='x'.join(map(str, found[PLAIN]['shape'])),
            theirs=median(found[PLAIN]),
            ours=median(found[OURS]),
            ratio=f'{rounds_ratio(found[OURS], found[PLAIN]):.2f}',
        )
        for (network, runtime, _), found in pairs.items()
    ]
    columns = [
        *(('network', '{network}'), ('backend', '{runtime}'), ('input', '{input}')),
        *(('plain mmdeploy, ms', '{theirs}'), ('this package, ms', '{ours}'), ('ratio', '{ratio}')),
    ]
    where = [row for found in pairs.values() for row in found.values()]
    return render(columns, lines, RATIO, conditions(where)) if lines else ''


def network_changes_table(result: Mapping) -> str:
    """``networks.jsonl``: artefacts as users run them, before and after a change (``change`` in ``extra``)."""
    rows = [row for row in result['rows'] if row['status'] == 'OK' and row['scope'] == 'end-to-end']
    lines = []
    for row in rows:
        parts = row['parts_ms']
        outside = 1 - parts['network'] / sum(parts.values())
        about = dict(
            network=_config_of(row), title=with_precision(row), outside=f'{outside:.1%}', change=row['extra']['change']
        )
        lines.append({**about, **{f'{name}_ms': ms for name, ms in parts.items()}, 'ms': reached(row)})
    columns = [
        ('artefact', '{network}'),
        ('backend', '{title}'),
        ('', '{change}'),
        ('whole: p50 / p90 ms', '{ms}'),
        ('decoding', '{decoding_ms:.1f}'),
        ('preprocessing', '{preprocessing_ms:.1f}'),
        ('network', '{network_ms:.1f}'),
        ('postprocessing', '{postprocessing_ms:.1f}'),
        ('outside of the network', '{outside}'),
    ]
    if not rows:
        return ''
    where = conditions(rows).replace(
        'in turn, in one run', 'both backends in turn, before and after in runs of their own'
    )
    return render(columns, lines, where)
