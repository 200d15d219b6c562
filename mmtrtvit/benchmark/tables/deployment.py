"""The proofs of artefacts, side by side."""

from collections.abc import Mapping, Sequence

from ..families import FAMILIES
from ..methods import METHODS
from .text import NO_RUN, markdown

BACKENDS = {
    'onnxruntime': 'ONNX Runtime',
    'openvino': 'OpenVINO',
    'tensorrt': 'TensorRT',
    'tensorrt-rtx': 'TensorRT for RTX',
}


def deployment_table(result: Mapping | None) -> str:
    """What the proofs of ``tools/benchmark.py deployment`` say.

    Args:
        result: What ``deployment.json`` holds, or ``None``.
    """
    if result is None:
        return NO_RUN.format(command='python tools/benchmark.py deployment')
    rows = []
    for row in result['rows']:
        name = f'{METHODS[row["method"]].title}, {FAMILIES[row["family"]].name(row["arch"])}'
        first = [name, BACKENDS[row['backend']], row['precision'].upper()]
        if 'error' in row:
            rows.append([*first, '', row['error'].splitlines()[0], '', '', ''])
            continue
        parity, latency = row['parity'], row['latency']
        total = parity['detections'] if 'detections' in parity else parity['pixels']
        agreement = f'{parity["same"]} of {total}'
        if parity.get('ties'):
            agreement += f', {parity["ties"]} near ties'
        rows.append(
            [
                *first,
                'PASS' if row['passed'] else 'FAIL',
                agreement,
                f'{row["nodes"]}',
                f'{latency["PyTorch"]:.0f} / {latency["artefact"]:.0f}' if latency else '',
                f'{row["latency_ratio"]:.2f}{"" if row["steady"] else " (u)"}' if row['latency_ratio'] else '',
            ]
        )
    machine = result['machine'][0]
    head = [
        'network',
        'backend',
        'precision',
        'proof',
        'the same as PyTorch',
        'nodes',
        'ms: PyTorch / artefact',
        'ratio',
    ]
    note = (
        f'*Measured* on {machine["processor"]} ({machine["torch_threads"]} threads), '
        f'{_either(result["rows"], "images")} images each, made to fit into {_either(result["rows"], "size")} pixels, '
        'untrained weights. Latency is end to end, one image, interleaved; '
        '(u): unsteady, the inter-quartile range is above 5 % of the median.'
    )
    return '\n\n'.join([markdown(head, rows), note])


def _either(rows: Sequence[Mapping], name: str) -> str:
    """The values of a setting in all rows, such as ``'4 or 8'``."""
    return ' or '.join(map(str, sorted({row[name] or "the config's own" for row in rows}, key=str)))
