"""This machine's CPU as a device, measured by a micro-benchmark of about two seconds."""

import functools
import math
import re
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ..processor import processor
from .devices import CPU_TILES, Device

_SIDE = 1024
"""Rows and columns of the matrices that are multiplied."""

_LARGE, _SMALL = 256, 1
"""MiB that are copied to measure memory and cache."""

_CACHES = Path('/sys/devices/system/cpu/cpu0/cache')
_USUAL_CACHE = 16.0
"""MiB, where the system does not tell."""


def _best(work: Callable[[], object], seconds: float = 0.4) -> float:
    """Least time of a run, seconds."""
    best, end = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < end or best == math.inf:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def _cache_size() -> float:
    """Last level of cache, MiB."""
    found = [_USUAL_CACHE / 1e6]
    for path in _CACHES.glob('index*/size'):
        told = re.fullmatch(r'(\d+)([KM])', path.read_text().strip())
        if told:
            found.append(int(told[1]) / (1 if told[2] == 'M' else 1024))
    return max(found) if len(found) > 1 else _USUAL_CACHE


def _bandwidth(mebibytes: int) -> float:
    """Bytes that a copy reads and writes in a second, 10^9."""
    source = torch.ones(mebibytes << 18)
    target = torch.empty_like(source)
    return 2 * (mebibytes << 20) / _best(lambda: target.copy_(source)) / 1e9


def _peak(dtype: torch.dtype) -> float:
    """Operations of a matrix product in a second, 10^12."""
    one, two = torch.ones(_SIDE, _SIDE, dtype=dtype), torch.ones(_SIDE, _SIDE, dtype=dtype)
    out = torch.empty(_SIDE, _SIDE, dtype=dtype)
    return 2 * _SIDE**3 / _best(lambda: torch.mm(one, two, out=out)) / 1e12


@functools.cache
def measure_cpu() -> Device:
    """Peak, memory and cache of this CPU, with as many threads as PyTorch takes.

    A second call in the same process gives the first one's figures.
    """
    threads, about = torch.get_num_threads(), processor()
    matrix = dict(fp32=_peak(torch.float32))
    if {'avx512_bf16', 'amx_bf16', 'bf16'} & set(about['features']):
        matrix['bf16'] = _peak(torch.bfloat16)
    return Device(
        title=f'{about["name"]}, {threads} threads',
        matrix=matrix,
        vector=matrix,
        bandwidth=_bandwidth(_LARGE),
        cache=_cache_size(),
        cache_bandwidth=_bandwidth(_SMALL),
        processors=threads,
        source='measured by a matrix product and copies',
        tiles=CPU_TILES,
    )
