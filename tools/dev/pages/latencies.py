"""Tables of measured latency: backbones in one run, and artefacts."""

from collections.abc import Callable, Iterable, Mapping

from mmtrtvit.benchmark.candidates.pytorch import MODES
from mmtrtvit.report.published import Notes, Published
from mmtrtvit.runtime.precisions import PRECISIONS
from mmtrtvit.zoo.complexity import backbone_complexity
from mmtrtvit.zoo.families import FAMILIES

from .render import conditions, render
from .titles import RUNTIMES, one_run, reached, runtime_title, with_precision

LIMIT = (
    'Each cell is p50 / p90 in ms and the share of the limit: the rate of one large matrix product in the same '
    'precision and run, in the backend that is the fastest at it.'
)

IMAGENET, BATCH, DETECTOR = [1, 3, 224, 224], [8, 3, 224, 224], [1, 3, 800, 1344]
"""Inputs that tables show."""


def speed_table(result: Mapping, column: Callable[[Mapping], str] = runtime_title, **wanted: object) -> str:
    """``speed.jsonl``: backbones in one run, a column for each runtime."""
    rows = one_run(result['rows'], scope='backbone', **wanted)
    if not rows:
        return '*The recorded run has no such rows.*'
    titles, lines = _side_by_side(rows, column)
    columns = [('backbone', '{backbone}'), *((title, f'{{{title}}}') for title in titles)]
    return render(columns, lines, f'{LIMIT} {conditions(rows)}')


def latency_table(result: Mapping) -> str:
    """TRT-ViT in each runtime."""
    return speed_table(result, family='trtvit', shape=IMAGENET, precision='fp32')


def precision_latency_table(result: Mapping) -> str:
    """TRT-ViT in each precision of the runtimes."""
    return speed_table(
        dict(rows=[row for row in result['rows'] if row['backend'] != 'pytorch']),
        with_precision,
        family='trtvit',
        shape=IMAGENET,
    )


def artefacts_table(result: Mapping) -> str:
    """Engines of artefacts by themselves, and the artefacts as users run them."""
    scopes = ('engine', 'end-to-end')
    rows = one_run([row for row in result['rows'] if row['scope'] in scopes])
    if not rows:
        return '*The recorded run has no such rows.*'
    lines = [
        dict(
            network=row['name'],
            title=f'{RUNTIMES[row["backend"]]} {row["precision"].upper()}',
            scope=row['scope'] if row['mode'] == 'plain' else f'{row["scope"]}, {row["mode"]}',
            ms=reached(row),
            parts=', '.join(f'{name} {value:.1f}' for name, value in (row['parts_ms'] or {}).items()),
        )
        for row in rows
    ]
    columns = [
        ('artefact', '{network}'),
        ('backend', '{title}'),
        ('scope', '{scope}'),
        ('p50 / p90 ms', '{ms}'),
        ('parts, ms', '{parts}'),
    ]
    return render(columns, lines, conditions(rows))


def comparison_table(result: Mapping, published: Published) -> str:
    """The backbones of all families, counted, published and measured; and those of others in the same run."""
    recorded = one_run(result['rows'], scope='backbone', shape=IMAGENET, precision='fp32')
    titles, measured = _side_by_side(recorded, runtime_title)
    by_name, notes, rows = {row['backbone']: row for row in measured}, Notes(published), []
    for name, family in FAMILIES.items():
        for arch in family.archs:
            complexity, figures = backbone_complexity(arch, family=name), published.find(name, arch, 'imagenet')
            row = dict(backbone=family.name(arch), origin=family.origin(arch), params=complexity.params / 1e6)
            row.update(macs=complexity.total_macs / 1e9, top1=notes.cited(figures, '{top1}'))
            row.update(tensorrt=(figures or {}).get('tensorrt_ms', 'none'))
            rows.append({**row, **by_name.pop(row['backbone'], {})})
    counts = {
        row['name']: dict(params=row['params'] / 1e6, macs=row['macs'] / 1e9) for row in recorded if row['params']
    }
    rows += [dict(row, origin="another's code", **counts.get(name, {})) for name, row in by_name.items()]
    columns = [
        ('backbone', '{backbone}'),
        ('widths and depths are', '{origin}'),
        ('params M', '{params:.1f}'),
        ('MACs G', '{macs:.2f}'),
        ('published top-1 %', '{top1}'),
        ('published TensorRT ms', '{tensorrt}'),
        *((title, f'{{{title}}}') for title in titles),
    ]
    return render(
        columns,
        rows,
        'Parameters and MACs of the backbone without a classifier, *measured* by counting at 224 x 224. Published '
        'latency: T4, FP16, batch 8, with the classifier.',
        *notes.lines(),
        f'{LIMIT} {conditions(recorded)}' if recorded else '',
    )


def _side_by_side(rows: Iterable[Mapping], column: Callable[[Mapping], str]) -> tuple[list[str], list[dict]]:
    """Titles of columns, and a row for each network, of medians with their shares of the limit."""
    titles, found = {}, {}
    for row in sorted(rows, key=_place):
        titles[column(row)] = row
        found.setdefault(row['name'], dict(backbone=row['name']))[column(row)] = reached(row)
    return sorted(titles, key=lambda title: _place(titles[title])[2:]), list(found.values())


def _place(row: Mapping) -> tuple[int, ...]:
    """The place of a row in tables: by family and size, backend, mode and precision, as the code lists them.

    Rows are recorded in the order in which they became steady.
    """
    archs = FAMILIES[row['family']].archs if row['family'] else ()
    ordered = (FAMILIES, row['family']), (archs, row['arch']), (RUNTIMES, row['backend']), (MODES, row['mode'])
    return tuple(list(names).index(name) if name in names else len(names) for names, name in ordered) + (
        [*PRECISIONS, 'tf32'].index(row['precision']),
    )
