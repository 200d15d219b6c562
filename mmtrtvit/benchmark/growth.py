"""How latency and memory grow with batch, resolution, and the size of the network: exponents of a power law."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from rich.console import Console

from .candidates import Candidate
from .sources import our_backbones
from .speed import candidates_of, check_backends, make_sweep

BATCHES = (1, 2, 4, 8, 16)
RESOLUTIONS = (224, 320, 448, 640, 896, 1344)


@dataclasses.dataclass(frozen=True)
class Growth:
    """One fit: ``cost = factor * size ** exponent``, by least squares of the logarithms.

    Attributes:
        of: The network and the backend.
        along: What grows: ``batch``, ``pixels`` or ``macs`` (of the sizes of a family).
        cost: ``p50_ms`` or ``peak_memory_bytes``.
        exponent: 1 means that cost grows in proportion; less, that there is a fixed share.
        points: Size and cost of each row.
        residual: Largest share by which a point is off the fit.
    """

    of: str
    along: str
    cost: str
    exponent: float
    points: tuple[tuple[float, float], ...]
    residual: float


def fit(points: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Exponent of a power law through points, and the largest share by which a point is off."""
    x, y = np.log(np.array(sorted(points), float)).T
    exponent, shift = np.polyfit(x, y, 1)
    return float(exponent), float(np.abs(np.expm1(y - exponent * x - shift)).max())


def _pixels(row: Mapping) -> int:
    return row['shape'][2] * row['shape'][3]


_ALONG: dict[str, tuple[Callable[[Mapping], float], Callable[[Mapping], tuple]]] = {
    'batch': (lambda row: row['batch'], lambda row: (row['name'], _pixels(row))),
    'pixels': (_pixels, lambda row: (row['name'], row['batch'])),
    'macs': (lambda row: row['macs'], lambda row: (row['family'], row['batch'], _pixels(row))),
}
"""What grows: its value in a row, and what stays the same."""


def growth_of(rows: Iterable[Mapping]) -> list[Growth]:
    """Fit the growth of every network and backend in rows of backbones, along each quantity with three points or more.

    Args:
        rows: Rows of measurements. Of several rows of the same kind, the last one counts.
    """
    rows = [row for row in rows if row['status'] == 'OK' and row['scope'] == 'backbone' and row['origin'] == 'ours']
    found = []
    for along, (value, same) in _ALONG.items():
        series: dict[tuple, dict[float, Mapping]] = {}
        for row in rows:
            key = (*same(row), row['backend'], row['mode'], row['precision'], row['device_name'], row['threads'])
            series.setdefault(key, {})[value(row)] = row
        for by_value in series.values():
            if len(by_value) < 3:
                continue
            first = next(iter(by_value.values()))
            name = first['family'] if along == 'macs' else first['name']
            fixed = {
                'batch': f'{first["shape"][2]} x {first["shape"][3]}',
                'pixels': f'batch {first["batch"]}',
                'macs': f'batch {first["batch"]}, {first["shape"][2]} x {first["shape"][3]}',
            }[along]
            for cost in ('p50_ms', 'peak_memory_bytes'):
                points = tuple((size, row[cost]) for size, row in sorted(by_value.items()) if row[cost])
                if len(points) >= 3:
                    exponent, residual = fit(points)
                    of = f'{name}, {first["backend"]}, {first["precision"]}, {fixed}'
                    found.append(Growth(of, along, cost, exponent, points, residual))
    return found


def growth_groups(family: str, backends: Sequence[str], device: str) -> list[list[Candidate]]:
    """Groups of candidates: the first size of a family at growing batches and resolutions, and all of its sizes.

    Args:
        family: A name in :data:`~mmtrtvit.zoo.families.FAMILIES`.
        backends: Backends.
        device: Preferred device.
    """
    sizes = our_backbones([family], None)

    def group(sources, shapes) -> list[Candidate]:
        return [
            candidate
            for source in sources
            for shape in shapes
            for candidate in candidates_of(source, shape, backends, ('eager',), ('fp32',), device)
        ]

    return [
        group(sizes[:1], [(batch, 3, 224, 224) for batch in BATCHES]),
        group(sizes[:1], [(1, 3, side, side) for side in RESOLUTIONS]),
        group(sizes, [(1, 3, 224, 224)]),
    ]


def benchmark_growth(
    family: str = 'trtvit',
    backends: Sequence[str] = ('openvino',),
    out: str | os.PathLike = 'work_dirs/benchmark',
    **settings,
) -> list[dict]:
    """Measure how the cost of a family grows, and print the exponents.

    Args:
        family: A name in :data:`~mmtrtvit.zoo.families.FAMILIES`.
        backends: Backends to measure in.
        out: Folder of ``rows.jsonl``.
        settings: Arguments of :class:`~mmtrtvit.benchmark.sweep.Sweep`.

    Returns:
        The rows.

    Raises:
        ConfigError: If a name is unknown, a number is not positive, or the machine is busy.
    """
    check_backends(backends)
    our_backbones([family], None)
    sweep = make_sweep(out, **settings)
    rows = sweep(growth_groups(family, backends, sweep.device))
    for growth in growth_of(rows):
        cost = {'p50_ms': 'latency', 'peak_memory_bytes': 'memory'}[growth.cost]
        Console(highlight=False).print(
            f'{growth.of}: {cost} grows with {growth.along} to the power of {growth.exponent:.2f} '
            f'({len(growth.points)} points, off by {growth.residual:.0%} at most)',
            soft_wrap=True,
        )
    return rows
