"""Tables of recorded rows: latency, training, artefacts. Each takes the content of its file of rows."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from mmtrtvit.report.published import Notes, Published
from mmtrtvit.runtime.backends import BACKENDS
from mmtrtvit.runtime.precisions import PRECISIONS
from mmtrtvit.zoo.complexity import backbone_complexity
from mmtrtvit.zoo.families import FAMILIES
from mmtrtvit.zoo.methods import METHODS

from .render import (
    conditions,
    gain,
    latency,
    milliseconds,
    pivot,
    render,
    unsteady_mark,
    unsteady_note,
    versions,
)

PLAIN = 'plain mmdeploy'
"""The export without this package's rewriters and folding."""

METRICS = {
    'bbox_mAP': 'box AP',
    'bbox_mAP_50': 'box AP50',
    'segm_mAP': 'mask AP',
    'segm_mAP_50': 'mask AP50',
    'mIoU': 'mIoU',
    'aAcc': 'aAcc',
    'top1': 'top-1',
}
"""Suffixes of metric names to their titles."""

UNSTEADY = '(u): unsteady, the inter-quartile range is above 5 % of the median.'


RUNTIMES = {'pytorch': 'PyTorch', **{backend.name: backend.title for backend in BACKENDS.values()}}
"""Backends of measured rows to their titles."""

IMAGENET, BATCH, DETECTOR = [1, 3, 224, 224], [8, 3, 224, 224], [1, 3, 800, 1344]
"""Inputs that tables show."""


def one_run(rows: Iterable[Mapping], **wanted: object) -> list[Mapping]:
    """The rows with these values that were measured in turn: those of the run with the most networks, the last such."""
    runs: dict[str, list[Mapping]] = {}
    for row in rows:
        if row['status'] == 'OK' and all(row[key] == value for key, value in wanted.items()):
            runs.setdefault(row['run'], []).append(row)
    return max(reversed(runs.values()), key=len, default=[])


def _reached(row: Mapping) -> str:
    """Median and 90th percentile, and the share of the limit, such as ``'25.0 / 27.9, 93 %'``."""
    share = f', {row["limit"]["share"] * 100:.0f} %' if row['limit'] else ''
    return f'{row["p50_ms"]:.1f} / {row["p90_ms"]:.1f}{share}{unsteady_mark(row["steady"])}'


def _runtime(row: Mapping) -> str:
    mode = '' if row['mode'] in ('plain', 'eager') else f' {row["mode"]}'
    return f'{RUNTIMES[row["backend"]]}{mode}'


def _with_precision(row: Mapping) -> str:
    return f'{_runtime(row)} {row["precision"].upper()}'


def _side_by_side(rows: Iterable[Mapping], column: Callable[[Mapping], str]) -> tuple[list[str], list[dict]]:
    """Titles of columns, and a row for each network, of medians with their shares of the limit."""
    titles, found = {}, {}
    for row in rows:
        titles[column(row)] = None
        found.setdefault(row['name'], dict(backbone=row['name']))[column(row)] = _reached(row)
    return list(titles), list(found.values())


LIMIT = (
    'Each cell is p50 / p90 in ms and the share of the limit: the rate of one large matrix product in the same '
    'precision and run, in the backend that is the fastest at it.'
)


def speed_table(result: Mapping, column: Callable[[Mapping], str] = _runtime, **wanted: object) -> str:
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
        _with_precision,
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
            ms=_reached(row),
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


def _config_of(row: Mapping) -> str:
    """The config of a measured artefact, without its suffix."""
    return f'`{Path(row["extra"]["config"]).stem}`'


def parts_table(result: Mapping) -> str:
    """``networks.jsonl``: the parts of the engines of whole networks, those of a network in one run."""
    rows = [row for row in result['rows'] if row['status'] == 'OK' and row['scope'] == 'engine' and row['parts_ms']]
    lines = []
    for row in rows:
        whole = sum(row['parts_ms'].values())
        total = dict(network=_config_of(row), title=_with_precision(row), ms=_reached(row))
        lines.append(dict(total, part='**all**', macs=row['macs'] / 1e9, time='100 %'))
        for name, ms in row['parts_ms'].items():
            macs = row['extra']['parts_macs'][name]
            if ms < 0.005 * whole:
                continue
            reached = dict(rate=f'{macs / ms / 1e6:.0f}', macs=macs / 1e9) if macs else {}
            lines.append(dict(reached, part=f'`{name}`', ms=f'{ms:.1f}', time=f'{ms / whole:.1%}'))
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


def network_changes_table(result: Mapping) -> str:
    """``networks.jsonl``: artefacts as users run them, before and after a change (``change`` in ``extra``)."""
    rows = [row for row in result['rows'] if row['status'] == 'OK' and row['scope'] == 'end-to-end']
    lines = []
    for row in rows:
        parts = row['parts_ms']
        outside = 1 - parts['network'] / sum(parts.values())
        about = dict(
            network=_config_of(row), title=_with_precision(row), outside=f'{outside:.1%}', change=row['extra']['change']
        )
        lines.append({**about, **{f'{name}_ms': ms for name, ms in parts.items()}, 'ms': _reached(row)})
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


def comparison_table(result: Mapping, published: Published) -> str:
    """The backbones of all families, counted, published and measured; and those of others in the same run."""
    recorded = one_run(result['rows'], scope='backbone', shape=IMAGENET, precision='fp32')
    titles, measured = _side_by_side(recorded, _runtime)
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


def demo_table(summary: Mapping) -> str:
    """``demo.json``: the summary of ``make demo``."""
    rows = [
        dict(summary[name], title=BACKENDS[name].title if name in BACKENDS else 'PyTorch')
        for name in ('pytorch', 'onnxruntime')
    ]
    for row in rows:
        row['unsteady'] = unsteady_mark(row['latency_ms']['steady'])
    columns = [
        ('', '{title}'),
        *((title, f'{{{name}:.3f}}') for name, title in METRICS.items() if name in rows[0]),
        ('latency: p50 / p90 ms', '{latency_ms[median]:.1f} / {latency_ms[p90]:.1f}{unsteady}'),
    ]
    parity, env, first = summary['parity'], summary['env'], rows[0]['latency_ms']
    largest = ', '.join(f'{name} {parity[name]["max"]:.1e}' for name in ('boxes', 'scores', 'labels', 'masks'))
    lines = [
        f'*Measured* in one run of {summary["minutes"]:.1f} minutes on {env["processor"]} '
        f'({env["torch_threads"]} threads), Python {env["python"]}, {env["torch"]}.',
        f'Parity on {parity["images"]} images: {parity["same"]} of {parity["detections"]} detections the same, '
        f'{parity.get("ties", 0)} ties, {parity["extra"]} extra: {"PASS" if parity["passed"] else "FAIL"}; '
        f'largest differences: {largest}.',
        f'Latency {first["scope"]}; image {first["image"]}, {first["precision"]}, {first["runs"]} rounds; '
        f'PyTorch / ONNX Runtime = {summary["latency_ratio"]:.2f}.',
        *([UNSTEADY] if any(row['unsteady'] for row in rows) else []),
    ]
    return render(columns, rows, '\n'.join(lines))


def training_table(result: Mapping) -> str:
    """``training.json``: time and memory of one iteration of each network, a column for each variant."""

    def cost(row: Mapping) -> str:
        timed, added = latency(row), (row['memory']['peak'] - row['memory']['built']) / 2**30
        return f'{timed.median / 1e3:.2f}{unsteady_mark(timed.steady)} / {added:.2f}'

    recorded = result['training']
    rows = [
        {
            'method': METHODS[method].title,
            'backbone': FAMILIES[family].name(arch),
            **{name: cost(row) for name, row in found.items()},
        }
        for (method, family, arch), found in pivot(recorded, ('method', 'family', 'arch'), 'name').items()
    ]
    variants = dict.fromkeys(row['name'] for row in recorded)
    columns = [
        ('method', '{method}'),
        ('backbone', '{backbone}'),
        *((f'{name}: s / GiB', f'{{{name}}}') for name in variants),
    ]
    first, machine = recorded[0], recorded[0]['machine']
    where, amp, memory = {
        'cpu': (machine['processor'], 'bfloat16', 'peak resident memory of a process of its own'),
        'cuda': (machine['gpu'], 'float16', 'peak that PyTorch allocated on the GPU'),
    }[first['device']]
    note = (
        f'*Measured*: median seconds / GiB of one training iteration of {first["batch"]} images, input '
        f'{first["shape"]}, {first["runs"]} iterations of each after one for warming up, the variants of a network in '
        f'turn; {where} ({machine["torch_threads"]} threads); AMP is {amp}. Memory is the {memory}, less the amount '
        'when the network was built: gradients, optimiser state and activations, without the weights. '
        f'{versions(first)}.{unsteady_note(recorded)}'
    )
    return render(columns, rows, note)


def training_beside_table(result: Mapping) -> str:
    """``training_beside.json``: iterations of networks that were measured in turn, by their multiply-accumulates."""
    rows = [
        dict(
            row,
            seconds=row['median'] / 1e3,
            memory=(row['memory']['peak'] - row['memory']['built']) / 2**30,
            network=Path(row['config']).stem,
            teramacs=row['macs'] / 1e12,
            unsteady=unsteady_mark(row['steady']),
            each=row['median'] / 1e3 / (row['macs'] / 1e12),
        )
        for row in result['training']
    ]
    columns = [
        ('in turn with', '`{network}`'),
        ('measured', '{name}'),
        ('s', '{seconds:.2f}{unsteady}'),
        ('GiB', '{memory:.2f}'),
        ('MACs T', '{teramacs:.3f}'),
        ('s for 10¹² MACs', '{each:.2f}'),
    ]
    first = rows[0]
    note = (
        f'*Measured*: medians of {first["runs"]} iterations of {first["batch"]} images, input {first["shape"]}, '
        f'all in turn, on {first["machine"]["processor"]} ({first["machine"]["torch_threads"]} threads); '
        f'{versions(first)}. Multiply-accumulates are those of the forward and the backward pass.{unsteady_note(rows)}'
    )
    return render(columns, rows, note)


def runs_table(result: Mapping) -> str:
    """``runs.json``: training runs."""

    def reached(row: Mapping) -> str:
        by_ending = {name.split('/')[-1]: _percent(name, value) for name, value in row['metrics'].items()}
        return ', '.join(f'{title} {by_ending[name]:.1f}' for name, title in METRICS.items() if name in by_ending)

    rows = [dict(row, minutes=row['seconds'] / 60, reached=reached(row)) for row in result['rows']]
    columns = [
        ('config', '`{config}`'),
        ('iterations', '{iterations}'),
        ('images seen', '{images}'),
        ('minutes', '{minutes:.0f}'),
        *([('threads', '{threads}')] if all(row.get('threads') for row in rows) else []),
        ('validation split', '{reached}'),
    ]
    note = (
        f'*Measured* on {result["machine"][0]["processor"]}. Metrics of the last evaluation, percent; minutes of '
        'training without evaluation, on a machine that did other work too.'
    )
    return render(columns, rows, note)


def pretraining_table(result: Mapping) -> str:
    """``pretraining.json``: a classifier, and a detector with and without its backbone, at every evaluation."""
    steps = sorted({point['step'] for row in result['rows'] for point in row['curve']})
    rows = []
    for row in result['rows']:
        ending = next(end for end in ('top1', 'bbox_mAP') for name in row['curve'][0] if name.endswith(end))
        curve = {
            point['step']: _percent(name, value)
            for point in row['curve']
            for name, value in point.items()
            if name.endswith(ending)
        }
        found = {f'after_{step}': f'{value:.1f}' for step, value in curve.items()}
        guess = f' (guessing: {row["guess"]:.1f})' if 'guess' in row else ''
        rows.append(dict(found, title=row['title'], metric=f'{METRICS[ending]}{guess}', minutes=row['seconds'] / 60))
    columns = [
        ('run', '{title}'),
        ('percent', '{metric}'),
        *((f'epoch {step}', f'{{after_{step}}}') for step in steps),
        ('minutes', '{minutes:.0f}'),
    ]
    note = (
        f'*Measured* on {result["machine"][0]["processor"]}, one run each; minutes of training without evaluation, on '
        'a machine that did other work too.'
    )
    return render(columns, rows, note)


def _percent(name: str, value: float) -> float:
    """A metric in percent: COCO's go from 0 to 1, mmseg's are percent."""
    return 100 * value if 'mAP' in name else value


# --- artefacts --------------------------------------------------------------------------------------------------------


def _artefacts(recorded: Iterable[Mapping]) -> list[dict]:
    """Rows of artefacts with titles, by network, backend and precision in the order in which the code lists these."""
    orders = {'family': list(FAMILIES), 'method': list(METHODS), 'backend': list(BACKENDS)}
    orders.update(runtime=list(RUNTIMES.values()), export=[PLAIN, 'native', 'portable'], precision=list(PRECISIONS))

    def place(row: Mapping) -> list:
        archs = [FAMILIES[row['family']].archs.index(row['arch'])] if 'family' in row else []
        order = [orders[key].index(row[key]) for key in ('family', 'method') if key in row] + archs
        order += [orders[key].index(row[key]) for key in ('backend', 'runtime', 'precision', 'export') if key in row]
        return [row.get('config', ''), *order]

    def titles(row: Mapping) -> dict:
        if 'config' in row:
            return dict(network=row['config'], title=BACKENDS[row['backend']].title, upper=row['precision'].upper())
        name = f'{METHODS[row["method"]].title}, {FAMILIES[row["family"]].name(row["arch"])}'
        return dict(network=name, upper=row['precision'].upper())

    return [dict(row, **titles(row)) for row in sorted(recorded, key=place)]


def precisions_table(result: Mapping) -> str:
    """``precisions.json``: trained networks in every precision of each backend."""

    def fields(row: Mapping) -> dict:
        if 'error' in row:
            return dict(agreement=row['error'].splitlines()[0], accuracy='')
        parity, accuracy = row['parity'], []
        for name, pair in row['metrics'].items():
            title = next((METRICS[end] for end in ('bbox_mAP', 'segm_mAP', 'mIoU') if name.endswith(end)), None)
            if title:
                ours, theirs = (_percent(name, pair[which]) for which in ('pytorch', 'artefact'))
                accuracy.append(f'{title} {ours:.1f}, {theirs:.1f}')
        ties = f', {parity["ties"]} ties' if parity.get('ties') else ''
        if 'usable' in parity:
            ties += f'; {parity["usable_same"]} of {parity["usable"]} above {parity["usable_score"]}'
        found = dict(
            accuracy='; '.join(accuracy),
            megabytes=row['engine_bytes'] / 1e6,
            verdict=row.get('verdict') or ('PASS' if row['passed'] else 'FAIL'),
            agreement=f'{parity["same"]} of {parity.get("detections", parity.get("pixels"))}{ties}',
        )
        if row['latency']:
            found['ms'] = f'{row["latency"]["PyTorch"]:.0f} / {row["latency"]["artefact"]:.0f}'
            found['ratio'] = f'{row["latency_ratio"]:.2f}{unsteady_mark(row["steady"])}'
        return found

    rows = [dict(row, **fields(row)) for row in _artefacts(result['rows'])]
    columns = [
        ('network', '{network}'),
        ('backend', '{title}'),
        ('precision', '{upper}'),
        ('accuracy: PyTorch, artefact', '{accuracy}'),
        ('engine, MB', '{megabytes:.1f}'),
        ('proof', '{verdict}'),
        ('the same as PyTorch', '{agreement}'),
    ]
    if any('ms' in row for row in rows):
        columns += [('ms: PyTorch / artefact', '{ms}'), ('ratio', '{ratio}')]
    machine, images = result['machine'][0], ' or '.join(map(str, sorted({row['images'] for row in rows})))
    note = (
        f'*Measured* on {machine["processor"]} ({machine["torch_threads"]} threads), {images} images of the test split '
        'each.'
    )
    if any(row.get('latency') for row in rows):
        note += f' Latency is end to end, one image, interleaved; {UNSTEADY}'
    if any('cpu' not in BACKENDS[row['backend']].devices for row in rows):
        note += (
            ' Where an engine of TensorRT has no latency, it was built and not run: its graph was, in ONNX Runtime '
            'with every tensor rounded as the types of the engine say.'
        )
    return render(columns, rows, note)


def counts_table(result: Mapping) -> str:
    """``cells_counts.json``: error of counts by class, of the guide on blood cells."""
    rows = [dict(row, network=row['config']) for row in result['rows']]
    columns = [
        ('network', '{network}'),
        ('artefact', '{artefact}'),
        *((f'{name}: found / annotated', f'{{{name}}}') for name in result['classes']),
    ]
    for row in rows:
        for name in result['classes']:
            found = row['counts'][name]
            row[name] = f'{found["found"]} / {found["annotated"]}, mean error {found["mean_error"]:.2f}'
    note = f'*Measured* on {result["images"]} images; a cell counts from a score of {result["score"]}.'
    return render(columns, rows, note)


def engines_table(result: Mapping) -> str:
    """``deployment.json``: the engines of TensorRT in it, as they were built."""
    rows = [
        dict(
            row,
            seconds=sum(row['engine']['seconds'].values()),
            megabytes=row['engine_bytes'] / 1e6,
            activations=row['engine']['activation_bytes'] / 1e6,
            share=row['engine']['share_of_layers'].get(PRECISIONS[row['precision']].dtype, 0),
        )
        for row in _artefacts(result['rows'])
        if row.get('engine')
    ]
    columns = [
        ('network', '{network}'),
        ('precision', '{upper}'),
        ('build, s', '{seconds:.0f}'),
        ('engine, MB', '{megabytes:.1f}'),
        ('activations at most, MB', '{activations:.0f}'),
        ('layers', '{engine[layers]}'),
        ('computing on it', '{share:.0%}'),
    ]
    builders = sorted({f'{BACKENDS[row["backend"]].title} {row["engine"]["version"]}' for row in rows})
    largest = sorted({' x '.join(map(str, row['engine']['profiles']['input'][-1])) for row in rows})
    note = (
        f'*Measured* on {result["machine"][0]["processor"]}. Built by {", ".join(builders)} for inputs of up to '
        f'{" or ".join(largest)}; activations are those of the largest. *Computing on it*: share of the layers that '
        'compute on the type of the precision.'
    )
    return render(columns, rows, note)


def exports_table(result: Mapping) -> str:
    """``exports.json``: mmdeploy's own export beside this package's, in two runtimes."""
    ran = [row for row in result['rows'] if 'values' in row]
    together = pivot(ran, ('method', 'runtime'), 'export')

    def fields(row: Mapping) -> dict:
        if 'error' in row:
            return dict(traced=row['error'])
        found = {name: _share(parity) for name, parity in row['parity'].items() if parity}
        plain = together[row['method'], row['runtime']].get(PLAIN)
        if plain and row['export'] != PLAIN:
            found['gain'] = gain(plain, row)
        return dict(found, ms=milliseconds(row))

    # a field of None, such as the folded nodes of an export that folds nothing, leaves its cell empty
    known = ({key: value for key, value in row.items() if value is not None} for row in result['rows'])
    rows = [dict(row, **fields(row)) for row in _artefacts(known)]
    columns = [
        ('network', '{network}'),
        *((name, f'{{{name}}}') for name in ('export', 'runtime', 'opset', 'nodes', 'folded')),
        ('the same as PyTorch: traced image', '{traced}'),
        ('other images', '{others}'),
        ('ms: p50 / p90', '{ms}'),
        ('plain / this', '{gain}'),
    ]
    first, machine = ran[0], ran[0]['machine']
    shapes = dict.fromkeys(f'{row["shape"]} ({METHODS[row["method"]].title})' for row in rows)
    note = (
        f'*Measured*, the exports of a network interleaved in one run: scope {first["scope"]}, {first["precision"]}, '
        f'{" or ".join(map(str, sorted({row["runs"] for row in ran})))} rounds on {machine["processor"]} '
        f'({machine["torch_threads"]} threads, load average {max(row["load_average"] for row in ran)} or less before '
        f'they began), untrained weights, {first["images"]} images compared, input {", ".join(shapes)}; '
        f'{versions(first)}.{unsteady_note(ran)}'
    )
    return render(columns, rows, note)


def _share(parity: Mapping) -> str:
    """Agreement in words, such as ``'98 of 100, 2 extra'``, or as a share of the pixels."""
    if 'pixels' in parity:
        # rounded down: 100 % is all of them
        return f'{int(parity["agreement"] * 1e5) / 1e3:.3f} % of pixels'
    counted = ((parity['ties'], 'ties'), (parity['extra'], 'extra'))
    return ', '.join(
        [f'{parity["same"]} of {parity["detections"]}', *(f'{count} {word}' for count, word in counted if count)]
    )


# --- prediction and service -------------------------------------------------------------------------------------------


def prediction_table(result: Mapping) -> str:
    """``prediction.json``: a folder of images, the network alone and with everything around it."""
    rows, where = [], result['machine'][0]
    for row in result['rows']:
        (few, less), (number, more) = row['peak_bytes'].items()
        rows.append(
            dict(
                row,
                title=f'{row["network"]}, {BACKENDS[row["backend"]].title} {row["precision"].upper()}',
                megapixels=row['pixels'] / 1e6,
                streams=row.get('streams', 1),
                alone=f'{row["milliseconds"]["network"]:.1f}' if 'ratio' in row else '',
                whole=f'{row["milliseconds"]["predict"]:.1f}' if 'ratio' in row else '',
                relative=f'{row["ratio"]:.3f}{unsteady_mark(row["steady"])}' if 'ratio' in row else '',
                memory=f'{less / 2**20:.0f} ({few} images), {more / 2**20:.0f} ({number} images)',
            )
        )
    columns = [
        ('network', '{title}'),
        ('formats', '{formats}'),
        ('images', '{images}'),
        ('megapixels each', '{megapixels:.2f}'),
        ('threads', '{threads}'),
        ('streams', '{streams}'),
        ('network alone, ms an image', '{alone}'),
        ('whole run, ms an image', '{whole}'),
        ('ratio', '{relative}'),
        ('peak memory, MiB', '{memory}'),
    ]
    return render(
        columns,
        rows,
        f'*Measured* on {where["processor"]} ({where["cores"]} cores), which did other work too; both in turn. '
        'The network alone gets images that are in memory; a run '
        'also reads, draws, encodes and writes. The ratio is the median over the rounds. Peak memory is that of a '
        'process of its own.',
        *([UNSTEADY] if any('(u)' in row['relative'] for row in rows) else []),
    )


def service_table(result: Mapping) -> str:
    """``service.json``: the example web service under load."""
    rows = [
        dict(
            row,
            title=f'{row["network"]}, {BACKENDS[row["backend"]].title} {row["precision"].upper()}',
            before=row['memory_before'] / 2**20,
            after=row['memory_after'] / 2**20,
        )
        for row in result['rows']
    ]
    columns = [
        ('network', '{title}'),
        ('clients', '{clients}'),
        ('requests', '{requests}'),
        ('wrong answers', '{wrong}'),
        ('requests a second', '{a_second:.1f}'),
        ('p50 / p99, ms', '{p50_ms:.0f} / {p99_ms:.0f}'),
        ('memory before / after, MiB', '{before:.0f} / {after:.0f}'),
    ]
    first = result['rows'][0]
    return render(
        columns,
        rows,
        f'*Measured* on {first["machine"]["processor"]} ({first["machine"]["cores"]} cores), clients and service on '
        'one machine, which did other work too. Memory before: after a quarter as many requests to warm up. Every '
        'answer was compared with that of the runtime; one upload in 21 is cut off and has to be refused.',
    )
