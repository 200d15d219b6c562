"""The engines of TensorRT that were built for the proofs, side by side."""

from collections.abc import Mapping

from .deployment import BACKENDS, OUTCOME, either, in_order, is_engine, network, outcome
from .text import NO_RUN, markdown

BUILT = ('build, s', 'engine, MB', 'activations at most, MB', 'layers', 'computing on it')
"""What an engine says of itself, as columns."""

_TYPES = {'fp32': 'float32', 'fp16': 'float16', 'bf16': 'bfloat16', 'int8': 'int8'}
"""What the report of an engine calls a precision."""


def engines_table(result: Mapping | None) -> str:
    """What the rows of ``tools/benchmark.py deployment`` say of engines.

    Args:
        result: What ``deployment.json`` holds, or ``None``.
    """
    rows = [row for row in in_order((result or {}).get('rows', [])) if is_engine(row)]
    if not rows:
        return NO_RUN.format(command='python tools/benchmark.py deployment --backends tensorrt-rtx')
    lines = [[network(row), row['precision'].upper(), *_built(row), *outcome(row)] for row in rows]
    builders = {f'{BACKENDS[row["backend"]]} {row["engine"]["version"]}' for row in rows if 'error' not in row}
    largest = {' x '.join(map(str, row['engine']['profiles']['input'][-1])) for row in rows if 'error' not in row}
    note = (
        f'*Measured* on {result["machine"][0]["processor"]}. Built by {", ".join(sorted(builders))} for inputs of up '
        f'to {" or ".join(sorted(largest))}; activations are those of the largest. Proved on '
        f'{either(rows, "images")} images each, made to fit into {either(rows, "size")} pixels, with untrained '
        'weights. Where no latency stands, there was no GPU: the engine was built and not run, and the proof is of its '
        'graph, in ONNX Runtime with every tensor rounded as the types of the engine say.'
    )
    return '\n\n'.join([markdown(['network', 'precision', *BUILT, *OUTCOME], lines), note])


def _built(row: Mapping) -> list[str]:
    """The cells under :data:`BUILT`."""
    if 'error' in row:
        return [''] * len(BUILT)
    engine = row['engine']
    return [
        f'{sum(engine["seconds"].values()):.0f}',
        f'{row["engine_bytes"] / 1e6:.1f}',
        f'{engine["activation_bytes"] / 1e6:.0f}',
        f'{engine["layers"]}',
        f'{engine["share_of_layers"].get(_TYPES[row["precision"]], 0):.0%}',
    ]
