"""The report beside an engine: as data for machines, and as a page for people."""

import math
from collections.abc import Mapping
from typing import Any

from ...markdown import table

REPORT, PAGE = 'deploy_report.json', 'deploy_report.md'


def finite(value: Any) -> Any:
    """Plain data that JSON can represent: None in place of infinity and NaN."""
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f'{value:.3g}'


def _parity(parity: Mapping) -> str:
    if 'pixels' in parity:
        rows = [
            ['images', parity['images']],
            ['pixels of the same class', f'{parity["same"]} of {parity["pixels"]} ({parity["agreement"]:.4%})'],
        ]
        if parity['not_finite']:
            rows.append(['logits that are infinite or not a number', parity['not_finite']])
        text = table(['label maps', ''], rows)
        if parity.get('logits'):
            text += '\n\n' + _differences({'logits': parity['logits']})
        return text
    if 'detections' not in parity:
        rows = [
            ['images', parity['images']],
            ['the same class and scores', parity['same']],
            ['the same scores, with two classes nearly equal', parity['ties']],
        ]
        if parity['not_finite']:
            rows.append(['scores that are infinite or not a number', parity['not_finite']])
        return table(['class scores', ''], rows) + '\n\n' + _differences({'scores': parity['scores']})
    rows = [
        ['images', parity['images']],
        ['detections of PyTorch', parity['detections']],
        ['the same in the artefact', parity['same']],
        [
            f'the same above a score of {parity["usable_score"]}',
            f'{parity["usable_same"]} of {parity["usable"]}',
        ],
        ['ties, which rounding errors decide in PyTorch, too', parity['ties']],
        ['extra in the artefact', parity['extra']],
    ]
    found = {name: parity[name] for name in ('boxes', 'scores', 'labels', 'masks') if parity.get(name)}
    return table(['detections', ''], rows) + '\n\n' + _differences(found)


def _interval(metric: Mapping) -> str:
    low, high = metric['loss_interval'] or (None, None)
    return '' if low is None else f'{low:+.4f} to {high:+.4f}'


def _processor(processor: Mapping) -> str:
    features = ', '.join(processor['features'])
    return processor['name'] + (f' ({features})' if features else '')


def _differences(found: Mapping[str, Mapping]) -> str:
    names = list(dict.fromkeys(key for difference in found.values() for key in difference))
    rows = [
        [output, *('' if difference[name] is None else _number(difference[name]) for name in names)]
        for output, difference in found.items()
    ]
    return table(['difference', *(name.replace('_', ' ') for name in names)], rows)


def _precision(precision: Mapping) -> list[str]:
    """The section on a precision conversion and the search, if there was one; otherwise empty."""
    lines = []
    found = precision.get('tensors')
    if found:
        rows = [
            [
                tensor['layer'],
                tensor['operator'],
                tensor['dtype'],
                *(_number(tensor[name]) for name in ('largest', 'max_error', 'mean_relative', 'snr_db')),
            ]
            for tensor in found['tensors']
            if tensor['comparable']
        ]
        header = ['layer', 'operator', 'type', 'largest', 'max error', 'mean relative', 'SNR dB']
        lines += [
            '## Tensors in another precision',
            f'The worst of {found["of"]}, over {found["feeds"]} images. {found["method"]}',
            table(header, rows),
        ]
    search = precision.get('search')
    if search:
        verdict = 'meets' if search['met'] else 'does NOT meet'
        lines += [
            '## Layers kept in FP32 by the search',
            f'The error of the outputs, {_number(search["error"])}, {verdict} the tolerance of '
            f'{_number(search["tolerance"])} after {search["evaluations"]} evaluations.',
            table(
                ['layers', 'reason'], [[block['block'], block['reason']] for block in search['added']] or [['none', '']]
            ),
        ]
    return lines


def _exported(report: Mapping) -> str:
    artefact = report['artefact']
    source = artefact['source']
    rows = [
        ['model config', source['model_config']],
        ['checkpoint', f'{source["checkpoint"]} ({source["checkpoint_sha256"][:12]})'],
        ['backend, flavour, precision', ', '.join(artefact[key] for key in ('backend', 'flavour', 'precision'))],
        ['precision of the graph', report['precision']['summary']],
        ['input', ', '.join('x'.join(map(str, tensor['shape'])) for tensor in artefact['inputs'].values())],
        ['nodes before and after folding', f'{report["graph"]["nodes_before"]} / {report["graph"]["nodes"]}'],
    ]
    if report.get('engine_bytes'):
        rows.append(['size of the engine', f'{report["engine_bytes"] / 1e6:.1f} MB'])
    return table(['', ''], rows)


def _accuracy(metrics: Mapping[str, Mapping] | None) -> list[str]:
    if not metrics:
        return ['## Accuracy', 'Not measured: compared on one image, or nothing is annotated at the data root.']
    rows = [
        [
            name,
            f'{pair["pytorch"]:.4f}',
            f'{pair["artefact"]:.4f}',
            f'{pair["pytorch"] - pair["artefact"]:+.4f}',
            _interval(pair),
        ]
        for name, pair in metrics.items()
    ]
    header = ['metric', 'PyTorch', 'artefact', 'loss', 'interval of the loss']
    return ['## Accuracy on the same images', table(header, rows)]


def _latency(proof: Mapping) -> list[str]:
    measured = proof['latency']
    if not measured:
        return ['Not measured: it was not asked for, or this machine cannot run the engine.']
    rows = [
        [row['name'], f'{row["median"]:.1f}', f'{row["p90"]:.1f}', f'{row["p99"]:.1f}', row['runs']] for row in measured
    ]
    first = measured[0]
    return [
        table(['', 'p50 ms', 'p90 ms', 'p99 ms', 'rounds'], rows),
        f'Scope: {first["scope"]}; image {first["image"]}, both on {first["device"]}, {first["threads"]} threads; '
        f'PyTorch / artefact = {proof["latency_ratio"]:.2f}.'
        + ('' if all(row['steady'] for row in measured) else ' Unsteady: trust the ratio, not the figure.'),
    ]


def to_markdown(report: Mapping, engine_page: str | None = None) -> str:
    """The report as a page.

    Args:
        report: Content of ``deploy_report.json``.
        engine_page: Section on the engine from the backend, as Markdown.
    """
    proof, artefact = report['proof'], report['artefact']
    lines = [
        f'# {artefact["method"]}, {artefact["backend"]}, {artefact["precision"]}: {proof["verdict"]}',
        *(f'- {reason}' for reason in (*proof['failures'], *proof['doubts'])),
        f'All figures here are *measured*, on {proof["subject"]}, with {proof["threads"]} threads on '
        f'{_processor(artefact["processor"])}.',
        '## What was exported',
        _exported(report),
        '## Agreement with PyTorch',
        _parity(proof['parity']),
    ]
    if proof['exact'] is not None:
        lines.append(
            'The selection of boxes in plain arithmetic was certain to be the greedy one in '
            f'{proof["exact"]:.1%} of the images.'
        )
    lines += [*_accuracy(proof['metrics']), '## Latency', *_latency(proof), *_precision(report['precision'])]
    if engine_page:
        lines += ['## The engine', engine_page]
    lines += [
        '## Operators',
        ', '.join(f'`{name}` {count}' for name, count in artefact['operators'].items()),
        '## Versions',
        ', '.join(f'{name} {version}' for name, version in report['versions'].items()),
    ]
    return '\n\n'.join(lines) + '\n'
