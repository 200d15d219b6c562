"""Tables of training: the demo, the cost of an iteration, finished runs."""

from collections.abc import Mapping
from pathlib import Path

from mmtrtvit.runtime.backends import BACKENDS
from mmtrtvit.zoo.families import FAMILIES
from mmtrtvit.zoo.methods import METHODS

from .render import latency, pivot, render, unsteady_mark, unsteady_note, versions
from .titles import METRICS, UNSTEADY, in_percent

_MINUTES = 'minutes of training without evaluation, on a machine that did other work too.'


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

    def fields(row: Mapping) -> dict:
        timed, teramacs = latency(row), row['macs'] / 1e12
        return dict(
            seconds=timed.median / 1e3,
            unsteady=unsteady_mark(timed.steady),
            memory=(row['memory']['peak'] - row['memory']['built']) / 2**30,
            network=Path(row['config']).stem,
            teramacs=teramacs,
            each=timed.median / 1e3 / teramacs,
        )

    rows = [dict(row, **fields(row)) for row in result['training']]
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
        by_ending = {name.split('/')[-1]: in_percent(name, value) for name, value in row['metrics'].items()}
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
    note = f'*Measured* on {result["machine"][0]["processor"]}. Metrics of the last evaluation, percent; {_MINUTES}'
    return render(columns, rows, note)


def pretraining_table(result: Mapping) -> str:
    """``pretraining.json``: a classifier, and a detector with and without its backbone, at every evaluation."""
    steps = sorted({point['step'] for row in result['rows'] for point in row['curve']})
    rows = []
    for row in result['rows']:
        ending = next(end for end in ('top1', 'bbox_mAP') for name in row['curve'][0] if name.endswith(end))
        curve = {
            point['step']: in_percent(name, value)
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
    note = f'*Measured* on {result["machine"][0]["processor"]}, one run each; {_MINUTES}'
    return render(columns, rows, note)
