"""Latency of one or more functions, measured in turn."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

STEADY_SPREAD = 0.05
"""Largest spread of steady runs: their inter-quartile range over their median, and that of the medians of windows."""

WINDOWS = 3
"""Consecutive steady windows that a figure needs."""

WINDOW_SECONDS = 2.0
"""Time after which a window of slow runs is long enough, seconds."""

FEWEST_RUNS = 4
"""Runs of a window, however slow they are."""

REST = 0.1
"""Share of one core that the process may still use when a run begins."""

LOOK_SECONDS = 0.005
"""Time to look at the process for."""

REST_SECONDS = 0.5
"""The longest wait for rest."""

SHORT_MS = 200.0
"""A run below this time, milliseconds, is repeated after a rest, and the repetition counts."""


class Milliseconds(float):
    """Returned by a subject that times itself, such as one with CUDA events; otherwise the clock on the wall counts."""


@dataclasses.dataclass
class Latency:
    """One measured subject.

    Attributes:
        name: The network or function that was timed.
        scope: The part that the time covers, such as ``'backbone'`` or ``'network'``.
        values: Every run after the warm-up, milliseconds.
        settings: Shape, batch, precision, threads and whatever else the figure depends on.
        start: Place of the first value that counts; those before it were not steady yet.
        settled: False if the runs did not become steady before the limit of time.
        warmup_runs: Runs of the warm-up.
        warmup_seconds: Time of the warm-up.
        failure: Why the subject could not be run; empty if it could.
    """

    name: str
    scope: str
    values: list[float]
    settings: dict
    start: int = 0
    settled: bool = True
    warmup_runs: int = 0
    warmup_seconds: float = 0.0
    failure: str = ''

    @property
    def counted(self) -> list[float]:
        """The values that count, milliseconds."""
        return self.values[self.start :]

    def quantile(self, share: float) -> float:
        """The value, milliseconds, that ``share`` (0 to 1) of the runs do not exceed; interpolated."""
        return _quantile(self.counted, share)

    @property
    def median(self) -> float:
        """The median, milliseconds."""
        return statistics.median(self.counted)

    @property
    def spread(self) -> float:
        """Inter-quartile range over the median."""
        return _spread(self.counted)

    @property
    def steady(self) -> bool:
        """True if the runs are alike enough for the figure to be quoted by itself."""
        return self.settled and self.spread <= STEADY_SPREAD

    def to_dict(self) -> dict:
        """As plain data: figures in milliseconds, and the raw values behind them."""
        return dict(
            name=self.name,
            kind='measured',
            scope=self.scope,
            unit='ms',
            runs=len(self.counted),
            mean=statistics.fmean(self.counted),
            median=self.median,
            p90=self.quantile(0.9),
            p99=self.quantile(0.99),
            spread=self.spread,
            steady=self.steady,
            values=self.values,
            **self.settings,
        )


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def _spread(values: Sequence[float]) -> float:
    return (_quantile(values, 0.75) - _quantile(values, 0.25)) / statistics.median(values)


class _Windows:
    """Cuts the runs of a subject into windows, and finds the last unbroken row of steady ones.

    Args:
        min_runs: Runs that a figure needs; a window is a third of them.
        run_ms: About the time of a run, milliseconds. A window of slow runs ends after :data:`WINDOW_SECONDS`, but not
            before :data:`FEWEST_RUNS`.

    Attributes:
        runs: Runs of a window.
        needed: Steady runs that a figure needs.
        medians: The median of each steady window of the row.
    """

    def __init__(self, min_runs: int, run_ms: float = 0.0) -> None:
        usual = max(min_runs // WINDOWS, 1)
        long_enough = math.ceil(WINDOW_SECONDS * 1e3 / run_ms) if run_ms else usual
        self.runs = min(usual, max(FEWEST_RUNS, long_enough))
        self.needed = max(min_runs, 1) if self.runs == usual else WINDOWS * self.runs
        self.medians: list[float] = []

    def look(self, values: Sequence[float]) -> None:
        """Look at the last window, if it is complete."""
        if len(values) % self.runs:
            return
        window = values[-self.runs :]
        if _spread(window) > STEADY_SPREAD:
            self.medians = []
            return
        self.medians.append(statistics.median(window))
        if max(self.medians) > (1 + STEADY_SPREAD) * min(self.medians):
            self.medians = self.medians[-1:]  # the machine has changed: a new row begins here

    @property
    def steady_runs(self) -> int:
        """Runs of the row."""
        return len(self.medians) * self.runs if len(self.medians) >= WINDOWS else 0


def reason_of(error: Exception) -> str:
    """The kind of an error, and the first line that it says."""
    return f'{type(error).__name__}: {(str(error).strip() or "it says nothing").splitlines()[0]}'


def come_to_rest() -> None:
    """Wait until the threads that other subjects started are asleep.

    The threads of ONNX Runtime and of OpenMP go on spinning for a while after a run, in case the next one comes soon.
    They take the cores from the subject that comes next, which may then need twice its time.
    """
    end = time.perf_counter() + REST_SECONDS
    while time.perf_counter() < end:
        began, used = time.perf_counter(), time.process_time()
        time.sleep(LOOK_SECONDS)
        if time.process_time() - used <= REST * (time.perf_counter() - began):
            return


def measure(
    subjects: Mapping[str, Callable[[], object]],
    *,
    scope: str,
    settings: Mapping | None = None,
    warmup_runs: int = 3,
    warmup_seconds: float = 1.0,
    min_runs: int = 30,
    min_seconds: float = 3.0,
    max_seconds: float = 120.0,
    until_steady: bool = True,
    done: Callable[[Latency], None] | None = None,
    ran: Callable[[], object] = lambda: None,
) -> list[Latency]:
    """Time functions in turn, A B A B ..., so that a drift of the machine affects all of them alike.

    The runs of each are cut into windows. A window is steady if its inter-quartile range is at most
    :data:`STEADY_SPREAD` of its median. A figure is that of the last unbroken row of at least :data:`WINDOWS` steady
    windows whose medians lie within the same share. A subject whose figure is complete steps out; the others go on.

    Before each run, the process comes to rest (:func:`come_to_rest`), unless one subject is left. A short run is then
    repeated, and the repetition counts, as threads that have slept are slow to begin.

    On a GPU every run waits for the device before the clock is read.

    Args:
        subjects: Name to a function without arguments that does the work once.
        scope: The part that the time covers.
        settings: Whatever else the figures depend on.
        warmup_runs: Minimum number of uncounted runs of each.
        warmup_seconds: Minimum time of the uncounted runs of each.
        min_runs: Minimum number of counted runs of each; a window is a third of it. Of slow runs fewer are enough: a
            window ends after :data:`WINDOW_SECONDS`, but not before :data:`FEWEST_RUNS`.
        min_seconds: Minimum time of the counted runs of each.
        max_seconds: End after this time, but never before three rounds. What has not become steady is flagged.
        until_steady: False to end after ``min_runs`` and ``min_seconds``, steady or not.
        done: Called with each subject as soon as it is finished. With it, a subject that raises an exception is
            finished as well, with :attr:`Latency.failure`, and the others go on.
        ran: Called after each run, to show progress.

    Returns:
        One entry for each subject, in their order.

    Raises:
        KeyboardInterrupt: After ``done`` was called with what was measured so far.
    """
    synchronize = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None

    def once(work: Callable[[], object]) -> float:
        synchronize()
        start = time.perf_counter()
        answer = work()
        synchronize()
        wall = (time.perf_counter() - start) * 1e3
        ran()
        return float(answer) if isinstance(answer, Milliseconds) else wall

    rows = {name: Latency(name, scope, [], dict(settings or {})) for name in subjects}
    windows = {name: _Windows(min_runs) for name in subjects}
    running = dict(subjects)

    def finish(name: str, **found: Any) -> None:
        del running[name]
        rows[name] = dataclasses.replace(rows[name], **found)
        if done:
            done(rows[name])

    def attempt(name: str) -> float | None:
        try:
            return once(running[name])
        except Exception as error:
            if not done:
                raise
            finish(name, failure=reason_of(error))
            return None

    def is_complete(name: str) -> bool:
        runs = windows[name].steady_runs if until_steady else len(rows[name].values)
        counted = rows[name].values[-runs:]
        needed = windows[name].needed if until_steady else max(min_runs, 1)
        enough = runs >= needed and sum(counted) >= min_seconds * 1e3
        return enough and not (until_steady and _spread(counted) > STEADY_SPREAD)

    try:
        for name in subjects:
            spent, runs = 0.0, 0
            while runs < warmup_runs or spent < warmup_seconds * 1e3:
                begun = time.perf_counter()
                if attempt(name) is None:
                    break
                spent += (time.perf_counter() - begun) * 1e3
                runs += 1
            rows[name] = dataclasses.replace(rows[name], warmup_runs=runs, warmup_seconds=spent / 1e3)
            windows[name] = _Windows(min_runs, spent / runs if runs else 0.0)
        start, rounds = time.perf_counter(), 0
        while running:
            for name in list(running):
                if len(running) > 1:
                    come_to_rest()
                value = attempt(name)
                if value is not None and len(running) > 1 and value < SHORT_MS:
                    value = attempt(name)
                if value is None:
                    continue
                values = rows[name].values
                values.append(value)
                windows[name].look(values)
                if is_complete(name):
                    finish(name, start=len(values) - windows[name].steady_runs if until_steady else 0)
            rounds += 1
            if rounds >= WINDOWS and time.perf_counter() - start > max_seconds:
                break
    finally:
        # the limit was reached, or the user pressed Ctrl-C
        for name in list(running):
            if len(rows[name].values) >= WINDOWS:
                finish(name, settled=False)
    return list(rows.values())


def ratio(rows: Sequence[Latency], of: str, to: str) -> float:
    """Median over the rounds of one subject's time over another's, from the same interleaved measurement.

    Rounds that count for both are taken, or all that both took part in if there are none.
    """
    by_name = {row.name: row for row in rows}
    a, b = by_name[of], by_name[to]
    start, stop = max(a.start, b.start), min(len(a.values), len(b.values))
    start = start if start < stop else 0
    return statistics.median(x / y for x, y in zip(a.values[start:stop], b.values[start:stop], strict=True))
