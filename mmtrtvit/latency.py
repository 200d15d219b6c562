"""Latency of one or more functions, measured in turn."""

import dataclasses
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

STEADY_SPREAD = 0.05
"""A row whose inter-quartile range is above this share of its median is flagged as unsteady."""


@dataclasses.dataclass
class Latency:
    """One measured row.

    Attributes:
        name: The network or function that was timed.
        scope: The part that the time covers, such as ``'backbone'`` or ``'network'``.
        values: Every run after the warm-up, milliseconds.
        settings: Shape, batch, precision, threads and whatever else the figure depends on.
    """

    name: str
    scope: str
    values: list[float]
    settings: dict

    def quantile(self, share: float) -> float:
        """The value, milliseconds, that ``share`` (0 to 1) of the runs do not exceed; interpolated."""
        ordered = sorted(self.values)
        place = share * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (place - low) * (ordered[high] - ordered[low])

    @property
    def median(self) -> float:
        """The median, milliseconds."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Inter-quartile range over the median."""
        return (self.quantile(0.75) - self.quantile(0.25)) / self.median

    @property
    def steady(self) -> bool:
        """True if :attr:`spread` is small enough for the figure to be quoted by itself."""
        return self.spread <= STEADY_SPREAD

    def to_dict(self) -> dict:
        """As plain data: figures in milliseconds, and the raw values behind them."""
        return dict(
            name=self.name,
            kind='measured',
            scope=self.scope,
            unit='ms',
            runs=len(self.values),
            mean=statistics.fmean(self.values),
            median=self.median,
            p90=self.quantile(0.9),
            p99=self.quantile(0.99),
            spread=self.spread,
            steady=self.steady,
            values=self.values,
            **self.settings,
        )


def measure(
    subjects: Mapping[str, Callable[[], object]],
    *,
    scope: str,
    settings: Mapping | None = None,
    warmup_runs: int = 3,
    warmup_seconds: float = 1.0,
    min_runs: int = 20,
    min_seconds: float = 3.0,
    max_seconds: float = 120.0,
) -> list[Latency]:
    """Time functions in turn, A B A B ..., so that a drift of the machine affects all of them alike.

    On a GPU every run waits for the device before the clock is read.

    Args:
        subjects: Name to a function without arguments that does the work once.
        scope: The part that the time covers.
        settings: Whatever else the figures depend on.
        warmup_runs: Minimum number of uncounted runs of each.
        warmup_seconds: Minimum time of the uncounted runs of each.
        min_runs: Minimum number of counted rounds.
        min_seconds: Minimum time of the counted runs of each.
        max_seconds: Stop after this time, but never before three rounds.

    Returns:
        One row for each subject, in their order.
    """
    synchronize = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None

    def once(work: Callable[[], object]) -> float:
        synchronize()
        start = time.perf_counter()
        work()
        synchronize()
        return (time.perf_counter() - start) * 1e3

    for work in subjects.values():
        spent, runs = 0.0, 0
        while runs < warmup_runs or spent < warmup_seconds * 1e3:
            spent += once(work)
            runs += 1
    values: dict[str, list[float]] = {name: [] for name in subjects}
    start = time.perf_counter()
    while True:
        rounds = len(next(iter(values.values())))
        enough = rounds >= min_runs and all(sum(runs) >= min_seconds * 1e3 for runs in values.values())
        if enough or (rounds >= 3 and time.perf_counter() - start > max_seconds):
            break
        for name, work in subjects.items():
            values[name].append(once(work))
    rows = [Latency(name, scope, runs, dict(settings or {})) for name, runs in values.items()]
    return rows


def ratio(rows: Sequence[Latency], of: str, to: str) -> float:
    """Median over the rounds of one subject's time over another's, from the same interleaved measurement."""
    by_name = {row.name: row.values for row in rows}
    return statistics.median(a / b for a, b in zip(by_name[of], by_name[to], strict=True))


INSTRUCTIONS = (
    *('avx2', 'avx_vnni', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_int8', 'amx_bf16'),
    *('asimddp', 'i8mm', 'bf16'),
)
"""Instructions of x86 and ARM that matter to networks. INT8 arithmetic saturates on x86 without VNNI."""


def processor() -> dict:
    """The CPU: its ``name``, and those of :data:`INSTRUCTIONS` that it has as ``features`` (only known on Linux)."""
    told: dict[str, str] = {}
    try:
        with open('/proc/cpuinfo') as file:
            for key, _, value in (line.partition(':') for line in file):
                told.setdefault(key.strip().lower(), value.strip())
    except OSError:
        pass
    flags = (told.get('flags') or told.get('features') or '').split()
    name = told.get('model name') or platform.processor() or platform.machine()
    return dict(name=name, features=[feature for feature in INSTRUCTIONS if feature in flags])


def machine() -> dict:
    """The machine that the figures were measured on."""
    return dict(
        processor=processor()['name'],
        cores=os.cpu_count(),
        torch_threads=torch.get_num_threads(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        system=platform.platform(terse=True),
    )
