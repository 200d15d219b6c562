"""Trained networks in every precision of every backend, side by side."""

from collections.abc import Mapping

from .deployment import BACKENDS, either, is_engine, outcome
from .text import NO_RUN, markdown

METRICS = {'bbox_mAP': ('box AP', 1.0), 'segm_mAP': ('mask AP', 1.0), 'mIoU': ('mIoU', 100.0)}
"""Metrics that are shown: how a row's metric ends, what it is called, and what it is of a perfect network."""

HEAD = (
    'network',
    'backend',
    'precision',
    'accuracy: PyTorch, artefact',
    'engine, MB',
    'proof',
    'the same as PyTorch',
    'ms: PyTorch / artefact',
    'ratio',
)


def precisions_table(result: Mapping | None) -> str:
    """What the rows of ``tools/benchmark.py precisions`` say.

    Args:
        result: What ``precisions.json`` holds, or ``None``.
    """
    rows = (result or {}).get('rows', [])
    if not rows:
        return NO_RUN.format(command='python tools/benchmark.py precisions CONFIG CHECKPOINT')
    lines = []
    for row in sorted(rows, key=lambda row: (row['config'], list(BACKENDS).index(row['backend']))):
        verdict, agreement, _, latency, ratio = outcome(row)
        lines.append(
            [
                row['config'],
                BACKENDS[row['backend']],
                row['precision'].upper(),
                _accuracy(row),
                f'{row["engine_bytes"] / 1e6:.1f}' if 'engine_bytes' in row else '',
                verdict,
                agreement,
                latency,
                ratio,
            ]
        )
    machine = result['machine'][0]
    note = (
        f'*Measured* on {machine["processor"]} ({machine["torch_threads"]} threads), {either(rows, "images")} images '
        'of the test split each. Latency is end to end, one image, interleaved; (u): unsteady, the inter-quartile '
        'range is above 5 % of the median.'
    )
    if any(is_engine(row) for row in rows):
        note += (
            ' Where an engine of TensorRT has no latency, it was built and not run: its graph was, in ONNX Runtime '
            'with every tensor rounded as the types of the engine say.'
        )
    return '\n\n'.join([markdown(HEAD, lines), note])


def _accuracy(row: Mapping) -> str:
    """The metrics of PyTorch and of the artefact, percent."""
    shown = []
    for name, found in row.get('metrics', {}).items():
        for ending, (title, perfect) in METRICS.items():
            if name.endswith(ending):
                ours, theirs = (100 * found[which] / perfect for which in ('pytorch', 'artefact'))
                shown.append(f'{title} {ours:.1f}, {theirs:.1f}')
    return '; '.join(shown)
