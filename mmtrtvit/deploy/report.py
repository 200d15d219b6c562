"""The report that stands beside an engine: as data for machines, and as a page for people."""

from collections.abc import Mapping, Sequence

REPORT, PAGE = 'deploy_report.json', 'deploy_report.md'


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [header, ['---', *['---:'] * (len(header) - 1)], *rows]
    return '\n'.join(f'| {" | ".join(map(str, line))} |' for line in lines)


def _number(value: float) -> str:
    return f'{value:.3g}'


def _parity(parity: Mapping) -> str:
    if 'pixels' in parity:
        rows = [
            ['images', parity['images']],
            ['pixels of the same class', f'{parity["same"]} of {parity["pixels"]} ({parity["agreement"]:.4%})'],
        ]
        text = _table(['label maps', ''], rows)
        if parity.get('logits'):
            text += '\n\n' + _differences({'logits': parity['logits']})
        return text
    rows = [
        ['images', parity['images']],
        ['detections of PyTorch', parity['detections']],
        ['the same in the artefact', parity['same']],
        ['near ties that fell the other way', parity['ties']],
        ['extra in the artefact', parity['extra']],
    ]
    found = {name: parity[name] for name in ('boxes', 'scores', 'labels', 'masks') if parity.get(name)}
    return _table(['detections', ''], rows) + '\n\n' + _differences(found)


def _differences(found: Mapping[str, Mapping]) -> str:
    names = list(dict.fromkeys(key for difference in found.values() for key in difference))
    rows = [
        [output, *(_number(difference[name]) if name in difference else '' for name in names)]
        for output, difference in found.items()
    ]
    return _table(['difference', *(name.replace('_', ' ') for name in names)], rows)


def to_markdown(report: Mapping) -> str:
    """The report as a page.

    Args:
        report: What ``deploy_report.json`` holds.
    """
    proof, artefact = report['proof'], report['artefact']
    verdict = 'PASS' if proof['passed'] else 'FAIL'
    lines = [
        f'# {artefact["method"]}, {artefact["backend"]}, {artefact["precision"]}: {verdict}',
        *(f'- {failure}' for failure in proof['failures']),
        f'All figures here are *measured*, on {proof["subject"]}.',
        '## What was exported',
        _table(
            ['', ''],
            [
                ['model config', artefact['source']['model_config']],
                ['checkpoint', f'{artefact["source"]["checkpoint"]} ({artefact["source"]["checkpoint_sha256"][:12]})'],
                [
                    'backend, flavour, precision',
                    f'{artefact["backend"]}, {artefact["flavour"]}, {artefact["precision"]}',
                ],
                ['input', ', '.join('x'.join(map(str, tensor['shape'])) for tensor in artefact['inputs'].values())],
                ['nodes before and after folding', f'{report["graph"]["nodes_before"]} / {report["graph"]["nodes"]}'],
                *(
                    [['size of the engine', f'{report["engine_bytes"] / 1e6:.1f} MB']]
                    if report.get('engine_bytes')
                    else []
                ),
            ],
        ),
        '## Agreement with PyTorch',
        _parity(proof['parity']),
    ]
    if proof['exact'] is not None:
        lines.append(
            'The selection of boxes in plain arithmetic was certain to be the greedy one in '
            f'{proof["exact"]:.1%} of the images.'
        )
    if proof['metrics']:
        rows = [
            [name, f'{pair["pytorch"]:.4f}', f'{pair["artefact"]:.4f}', f'{pair["artefact"] - pair["pytorch"]:+.4f}']
            for name, pair in proof['metrics'].items()
        ]
        lines += ['## Accuracy on the same images', _table(['metric', 'PyTorch', 'artefact', 'difference'], rows)]
    else:
        lines += ['## Accuracy', 'Not measured: there is no annotated data at the data root of the config.']
    lines.append('## Latency')
    if proof['latency']:
        rows = [
            [row['name'], f'{row["median"]:.1f}', f'{row["p90"]:.1f}', f'{row["p99"]:.1f}', row['runs']]
            for row in proof['latency']
        ]
        first = proof['latency'][0]
        lines += [
            _table(['', 'p50 ms', 'p90 ms', 'p99 ms', 'rounds'], rows),
            f'Scope: {first["scope"]}; image {first["image"]}, {first["threads"]} threads; '
            f'PyTorch / artefact = {proof["latency_ratio"]:.2f}.'
            + ('' if all(row['steady'] for row in proof['latency']) else ' Unsteady: trust the ratio, not the figure.'),
        ]
    else:
        lines.append('Not measured: this machine cannot run the engine.')
    search = report['precision'].get('search')
    if search:
        lines += [
            '## Layers kept in FP32 by the search',
            _table(
                ['layers', 'reason'], [[block['block'], block['reason']] for block in search['added']] or [['none', '']]
            ),
        ]
    if report.get('engine'):
        lines += ['## The engine', report['engine']]
    lines += [
        '## Operators',
        ', '.join(f'`{name}` {count}' for name, count in artefact['operators'].items()),
        '## Versions',
        ', '.join(f'{name} {version}' for name, version in report['versions'].items()),
    ]
    return '\n\n'.join(lines) + '\n'
