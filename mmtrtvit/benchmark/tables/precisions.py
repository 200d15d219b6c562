"""Trained networks in every precision of every backend, side by side."""

from collections.abc import Mapping

from .deployment import BACKENDS, PRECISIONS, either, is_engine, outcome
from .runs import TITLES, percent
from .text import NO_RUN, markdown

METRICS = ('bbox_mAP', 'segm_mAP', 'mIoU')
"""Metrics that are shown: how they end."""

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
    for row in sorted(rows, key=_place):
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


def _place(row: Mapping) -> tuple:
    return row['config'], list(BACKENDS).index(row['backend']), PRECISIONS.index(row['precision'])


def _accuracy(row: Mapping) -> str:
    """The metrics of PyTorch and of the artefact, percent."""
    found = row.get('metrics', {}).items()
    return '; '.join(
        f'{TITLES[ending]} {percent(name, pair["pytorch"]):.1f}, {percent(name, pair["artefact"]):.1f}'
        for name, pair in found
        for ending in METRICS
        if name.endswith(ending)
    )
