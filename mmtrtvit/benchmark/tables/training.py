"""The table of what a training iteration costs."""

from collections.abc import Mapping

from ...latency import Latency
from ...zoo.families import FAMILIES
from ...zoo.methods import METHODS
from .text import NO_RUN, markdown

AMP_TYPES = {'cpu': 'bfloat16', 'cuda': 'float16'}
MEMORY = {
    'cpu': 'resident memory of a process of its own, its most less what it was when the network was built',
    'cuda': 'memory that PyTorch allocated on the GPU, its most less what it was when the network was built',
}
"""What is called memory, by device."""


def training_table(result: Mapping | None, picture: str | None = None) -> str:
    """Time and memory of one training iteration, for each network, plain, with checkpointing and in mixed precision.

    Args:
        result: What ``training.json`` holds, or ``None``.
        picture: Path of its picture, relative to the document.
    """
    if result is None:
        return NO_RUN.format(command='make bench-training')
    networks: dict[tuple, dict[str, Mapping]] = {}
    for row in result['training']:
        networks.setdefault((row['method'], row['family'], row['arch']), {})[row['name']] = row
    variants = list(dict.fromkeys(row['name'] for row in result['training']))
    rows, unsteady = [], 0.0
    for (method, family, arch), measured in networks.items():
        cells = []
        for name in variants:
            row = measured[name]
            timed = Latency(name, row['scope'], row['values'], {})
            added = (row['memory']['peak'] - row['memory']['built']) / 2**30
            cells.append(f'{timed.median / 1e3:.2f}{"" if timed.steady else " (u)"} / {added:.2f}')
            unsteady = max(unsteady, 0.0 if timed.steady else timed.spread)
        rows.append([METHODS[method].title, FAMILIES[family].name(arch), *cells])
    first = result['training'][0]
    note = (
        f'*Measured*: median seconds / GiB of one training iteration of {first["batch"]} images, input '
        f'{first["shape"]}, {first["runs"]} iterations of each after one that is not counted, the variants of a '
        f'network in turn; {first["machine"]["gpu"] if first["device"] == "cuda" else first["machine"]["processor"]} '
        f'({first["machine"]["torch_threads"]} threads); AMP is {AMP_TYPES[first["device"]]}. '
        f'Memory is {MEMORY[first["device"]]}: gradients, optimiser state and activations, without the weights. '
        + ', '.join(f'{name} {version}' for name, version in first['versions'].items())
        + '.'
    )
    if unsteady:
        note += f' (u): unsteady, the inter-quartile range is above 5 % of the median (up to {unsteady:.0%}).'
    header = ['method', 'backbone', *(f'{name}: s / GiB' for name in variants)]
    shown = [f'![Seconds and added memory of one training iteration]({picture})'] if picture else []
    return '\n\n'.join([markdown(header, rows), note, *shown])
