"""Tables of artefacts: their accuracy in every precision, their engines and their exports."""

from collections.abc import Iterable, Mapping

from mmtrtvit.runtime.backends import BACKENDS
from mmtrtvit.runtime.precisions import PRECISIONS
from mmtrtvit.zoo.families import FAMILIES
from mmtrtvit.zoo.methods import METHODS

from .render import gain, milliseconds, pivot, render, unsteady_mark, unsteady_note, versions
from .titles import METRICS, PLAIN, RUNTIMES, UNSTEADY, in_percent


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
                ours, theirs = (in_percent(name, pair[which]) for which in ('pytorch', 'artefact'))
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
