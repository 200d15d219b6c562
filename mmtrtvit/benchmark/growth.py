"""How latency and memory grow with batch, resolution, and the size of the network."""

import os
from collections.abc import Sequence

from .candidates import Candidate
from .sources import our_backbones
from .speed import candidates_of, check_backends, make_sweep

BATCHES = (1, 2, 4, 8, 16)
RESOLUTIONS = (224, 320, 448, 640, 896, 1344)


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
    """Measure how the cost of a family grows; a report of the rows fits an exponent to each series.

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
    return sweep(growth_groups(family, backends, sweep.device))
