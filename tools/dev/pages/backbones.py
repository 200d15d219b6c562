"""Tables on the speed of the backbones: where their time goes, beside timm's, and before and after changes."""

import itertools
from collections.abc import Iterable, Mapping

from .render import conditions, pivot, render, unsteady_mark
from .titles import RATIO, median, one_run, rounds_ratio, runtime_title

PEERS = {
    ('nextvit', 's'): 'nextvit_small',
    ('nextvit', 'b'): 'nextvit_base',
    ('nextvit', 'l'): 'nextvit_large',
    ('efficientformer', 'l1'): 'efficientformer_l1',
    ('efficientformer', 'l3'): 'efficientformer_l3',
    ('efficientformer', 'l7'): 'efficientformer_l7',
}
"""Family and size to the same network in timm."""

KINDS = {
    'products': (
        *('Convolution', 'FullyConnected', 'MatMul', 'Gemm', 'Conv', 'FusedConv', 'FusedMatMul', 'FusedGemm'),
        'GroupConvolution',
    ),
    'norms': ('MVN', 'LayerNormalization', 'InstanceNormalization', 'SkipLayerNormalization'),
    'copies': (
        *('Reorder', 'Transpose', 'Split', 'VariadicSplit', 'Concat', 'Concatenation', 'Reshape', 'Pad', 'Slice'),
        *('StridedSlice', 'ReorderInput', 'ReorderOutput', 'Gather'),
    ),
}
"""Groups of operators, as backends name them. OpenVINO joins the two products of attention with its softmax."""

OTHERS = 'all others'


def _input(row: Mapping) -> str:
    return f'{row["shape"][2]}x{row["shape"][3]}'


def _run(row: Mapping) -> tuple[list[int], str]:
    """The run of a row; runs of the smallest input come first."""
    return row['shape'], row['run']


def _by_input(rows: Iterable[Mapping]) -> list[list[Mapping]]:
    """The rows of the largest run of each input, the smallest input first."""
    rows = [row for row in rows if row['status'] == 'OK' and row['scope'] == 'backbone']
    shapes = sorted({tuple(row['shape']) for row in rows})
    return [one_run(rows, shape=list(shape)) for shape in shapes]


def _stages(parts: Mapping[str, float]) -> dict[str, float]:
    """Parts such as ``stage 1.0`` added up to their stage, in order."""
    found: dict[str, float] = {}
    for part, value in parts.items():
        stage = part.split('.')[0]
        found[stage] = found.get(stage, 0) + value
    return found


def _grouped(operators: Mapping[str, float]) -> dict[str, float]:
    """Time of each group of :data:`KINDS`, and of all other operators."""
    of = {operator: group for group, names in KINDS.items() for operator in names}
    found = dict.fromkeys((*KINDS, OTHERS), 0.0)
    for operator, ms in operators.items():
        found[of.get(operator, OTHERS)] += ms
    return found


def blocks_table(result: Mapping) -> str:
    """``backbones.jsonl``: time of each stage with its share of the limit, and of each group of operators."""

    def line(row: Mapping) -> dict[str, str]:
        rate, macs = row['limit']['macs_per_second'], _stages(row['extra']['parts_macs'])
        cells = dict(name=row['name'], size=_input(row), runtime=runtime_title(row))  # OpenVINO has a part `input`
        cells['whole'] = f'{row["p50_ms"]:.1f}, {row["limit"]["share"]:.0%}{unsteady_mark(row["steady"])}'
        for stage, ms in _stages(row['parts_ms']).items():
            cells[stage] = f'{ms:.1f}' + (f', {macs[stage] / ms / rate * 1e3:.0%}' if macs.get(stage) else '')
        cells.update((group, f'{ms:.1f}') for group, ms in _grouped(row['extra']['operators_ms']).items())
        return cells

    rows = [
        row
        for rows in _by_input(result['rows'])
        for row in rows
        if row['origin'] == 'ours' and row['limit'] and row['parts_ms'] and 'operators_ms' in row['extra']
    ]
    if not rows:
        return ''
    columns = [
        *(('backbone', '{name}'), ('input', '{size}'), ('backend', '{runtime}'), ('whole', '{whole}')),
        *((part, f'{{{part}}}') for part in ('stem', 'stage 1', 'stage 2', 'stage 3', 'stage 4', 'outputs')),
        *((group, f'{{{group}}}') for group in (*KINDS, OTHERS)),
    ]
    note = (
        'Milliseconds, and the share of the limit: the rate of one large matrix product in the same run, in the faster '
        'backend. '
        'Stages and groups of operators are of profiled runs beside those of the whole.'
    )
    return render(columns, map(line, rows), note, conditions(rows))


def peers_table(result: Mapping) -> str:
    """``backbones.jsonl``: backbones beside the same networks of timm in the same run."""
    measured = [row for row in result['rows'] if row['status'] == 'OK' and row['scope'] == 'backbone']
    runs = [list(rows) for _, rows in itertools.groupby(sorted(measured, key=_run), _run)]
    lines = []
    for rows in runs:
        theirs = {(row['source'], runtime_title(row)): row for row in rows if row['origin'] == 'timm'}
        for row in rows:
            peer = theirs.get((PEERS.get((row['family'], row['arch'])), runtime_title(row)))
            if peer:
                lines.append(
                    dict(
                        name=row['name'],
                        input=_input(row),
                        runtime=runtime_title(row),
                        threads=row['threads'],
                        ours=median(row),
                        theirs=median(peer),
                        ratio=f'{rounds_ratio(row, peer):.2f}',
                    )
                )
    columns = [
        *(('backbone', '{name}'), ('input', '{input}'), ('backend', '{runtime}'), ('threads', '{threads}')),
        *(('ours, ms', '{ours}'), ("timm's, ms", '{theirs}'), ('ratio', '{ratio}')),
    ]
    rows = [row for rows in runs for row in rows]
    return render(columns, lines, RATIO, conditions(rows)) if lines else ''


def changes_table(result: Mapping) -> str:
    """``changes.jsonl``: the same network before and after a change, in the same run."""
    measured = [
        dict(row, **row['extra'], input=_input(row), runtime=runtime_title(row))
        for row in result['rows']
        if row['status'] == 'OK' and 'change' in row['extra']
    ]
    keys = ('change', 'name', 'input', 'runtime', 'run')
    lines = [
        dict(
            zip(keys, key, strict=True),
            before=median(forms['before']),
            after=median(forms['after']),
            ratio=f'{rounds_ratio(forms["after"], forms["before"]):.3f}',
        )
        for key, forms in pivot(measured, keys, 'form').items()
        if forms.keys() == {'before', 'after'}
    ]
    columns = [
        *(('change', '{change}'), ('backbone', '{name}'), ('input', '{input}'), ('backend', '{runtime}')),
        *(('before, ms', '{before}'), ('after, ms', '{after}'), ('ratio', '{ratio}')),
    ]
    if not lines:
        return ''
    where = conditions(measured).replace('in turn, in one run', 'before and after in turn')
    return render(columns, lines, RATIO, where)
