"""The proofs of artefacts, side by side."""

from collections.abc import Mapping, Sequence

from ...zoo.families import FAMILIES
from ...zoo.methods import METHODS
from .text import NO_RUN, markdown

BACKENDS = {
    'onnxruntime': 'ONNX Runtime',
    'openvino': 'OpenVINO',
    'tensorrt': 'TensorRT',
    'tensorrt-rtx': 'TensorRT for RTX',
}

OUTCOME = ('proof', 'the same as PyTorch', 'nodes', 'ms: PyTorch / artefact', 'ratio')
"""What a proof says, as columns."""

PRECISIONS = ('fp32', 'fp16', 'bf16', 'int8')
"""Precisions, in the order of tables."""


def deployment_table(result: Mapping | None) -> str:
    """What the proofs of ``tools/benchmark.py deployment`` say.

    Args:
        result: What ``deployment.json`` holds, or ``None``.
    """
    rows = [row for row in in_order((result or {}).get('rows', [])) if not is_engine(row)]
    if not rows:
        return NO_RUN.format(command='python tools/benchmark.py deployment')
    lines = [[network(row), BACKENDS[row['backend']], row['precision'].upper(), *outcome(row)] for row in rows]
    machine = result['machine'][0]
    note = (
        f'*Measured* on {machine["processor"]} ({machine["torch_threads"]} threads), '
        f'{either(rows, "images")} images each, made to fit into {either(rows, "size")} pixels, '
        'untrained weights. Latency is end to end, one image, interleaved; '
        '(u): unsteady, the inter-quartile range is above 5 % of the median.'
    )
    return '\n\n'.join([markdown(['network', 'backend', 'precision', *OUTCOME], lines), note])


def in_order(rows: Sequence[Mapping]) -> list[Mapping]:
    """Rows as they are read, not as they were made: by family, method, size, backend, precision."""

    def place(row: Mapping) -> tuple:
        family = FAMILIES[row['family']]
        return (
            list(FAMILIES).index(row['family']),
            list(METHODS).index(row['method']),
            list(family.archs).index(row['arch']),
            list(BACKENDS).index(row['backend']),
            PRECISIONS.index(row['precision']),
        )

    return sorted(rows, key=place)


def is_engine(row: Mapping) -> bool:
    """Whether a row is of an engine of TensorRT, which has a table of its own."""
    return row['backend'].startswith('tensorrt')


def network(row: Mapping) -> str:
    """What was converted, such as ``'RetinaNet, TRT-ViT-A'``."""
    return f'{METHODS[row["method"]].title}, {FAMILIES[row["family"]].name(row["arch"])}'


def outcome(row: Mapping) -> list[str]:
    """The cells under :data:`OUTCOME`; the message alone where a conversion ended with one."""
    if 'error' in row:
        return ['', row['error'].splitlines()[0], '', '', '']
    parity, latency = row['parity'], row['latency']
    agreement = f'{parity["same"]} of {parity["detections" if "detections" in parity else "pixels"]}'
    if parity.get('ties'):
        agreement += f', {parity["ties"]} near ties'
    return [
        'PASS' if row['passed'] else 'FAIL',
        agreement,
        f'{row["nodes"]}',
        f'{latency["PyTorch"]:.0f} / {latency["artefact"]:.0f}' if latency else '',
        f'{row["latency_ratio"]:.2f}{"" if row["steady"] else " (u)"}' if row['latency_ratio'] else '',
    ]


def either(rows: Sequence[Mapping], name: str) -> str:
    """The values of a setting in all rows, such as ``'4 or 8'``."""
    values = {row[name] for row in rows}
    return ' or '.join(map(str, [*sorted(values - {None}), *(["the config's own"] if None in values else [])]))
