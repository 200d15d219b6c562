"""Measuring candidates in turn: one row for each, appended to a file as soon as it is known."""

import contextlib
import datetime
import importlib
import logging
import math
import os
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console
from tqdm import tqdm

from ..errors import ConfigError
from ..latency import Latency, measure, reason_of
from ..machine import machine, quiet_conditions
from ..measurement import append_row, measurement_row
from ..runtime.backends import BACKENDS
from .candidates import PYTORCH, Candidate, Workshop
from .limit import limit_candidate
from .memory import forget_peak, memory, release

_USUAL = 3 * 224 * 224
"""Values of the input of a candidate whose shape is known only when it is loaded."""

_console = Console(highlight=False)


@contextlib.contextmanager
def use_threads(number: int | None) -> Iterator[int]:
    """Change PyTorch's number of threads inside a ``with`` block; the number that is used."""
    before = torch.get_num_threads()
    try:
        if number is not None:
            torch.set_num_threads(number)
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def _versions(candidates: Iterable[Candidate]) -> dict[str, str]:
    modules = {'torch', 'mmtrtvit'}
    modules |= {BACKENDS[c.facts['backend']].module for c in candidates if c.facts['backend'] != PYTORCH}
    modules |= {'timm' for c in candidates if c.facts.get('origin') == 'timm'}
    found = {}
    for name in sorted(modules):
        with contextlib.suppress(ImportError):  # its candidates fail, and say why
            found[name] = importlib.import_module(name).__version__.split('-')[0]
    return found


def _limits(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The matrix product for each backend and precision."""
    kinds = {(facts['backend'], *_arithmetic(facts)) for facts in (candidate.facts for candidate in candidates)}
    return list({limit.label: limit for limit in (limit_candidate(*kind) for kind in sorted(kinds))}.values())


class Sweep:
    """A run: candidates that are measured in turn on one machine, and the file of their rows.

    Args:
        path: The file that rows are appended to.
        threads: CPU threads of every backend; by default as many as PyTorch takes.
        device: Preferred device, ``'cpu'`` or ``'cuda'``; by default a GPU if there is one.
        busy_ok: Measure on a busy machine too; the rows say so.
        max_seconds: End of the whole run. What is not steady by then is flagged.
        options: Further arguments of :func:`~mmtrtvit.latency.measure`, such as ``min_runs``.

    Attributes:
        rows: The rows so far.

    Raises:
        ConfigError: If the machine is busy, or the device is not there.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        threads: int | None = None,
        device: str | None = None,
        busy_ok: bool = False,
        max_seconds: float = 1000.0,
        **options: float,
    ) -> None:
        there = ('cpu', 'cuda') if torch.cuda.is_available() else ('cpu',)
        self.device = device or there[-1]
        if self.device not in there:
            raise ConfigError(
                f'--device {self.device} is not here.', expected=f'one of {", ".join(there)}', fix='correct --device'
            )
        self.path, self.threads = Path(path), threads
        self._options, self._end = options, time.monotonic() + max_seconds
        self._conditions = quiet_conditions(busy_ok)
        self._machine = machine()
        self.rows: list[dict] = []

    def __call__(self, groups: Sequence[Sequence[Candidate]]) -> list[dict]:
        """Measure groups of candidates one after the other; those of a group in turn.

        Args:
            groups: Candidates to measure. Each group gets its share of the time, by the number and the inputs of its
                candidates.

        Returns:
            All rows, those of failed candidates included.

        Raises:
            KeyboardInterrupt: After the rows of what was measured were written.
        """
        with warnings.catch_warnings(), use_threads(self.threads) as threads:
            warnings.simplefilter('ignore')  # of tracers and compilers
            logging.getLogger('torch').setLevel(logging.ERROR)
            for number, group in enumerate(groups):
                self._run = f'{datetime.datetime.now(datetime.timezone.utc):%Y%m%dT%H%M%S}-{os.getpid()}-{number}'
                with tempfile.TemporaryDirectory(prefix='mmtrtvit-benchmark-') as folder:
                    share = _weight(group) / max(sum(map(_weight, groups[number:])), 1)
                    end = time.monotonic() + share * (self._end - time.monotonic())
                    self._measure(group, Workshop(Path(folder), threads, self.device), end)
        _console.print(f'{len(self.rows)} rows: {self.path}', soft_wrap=True)
        return self.rows

    def _measure(self, group: Sequence[Candidate], workshop: Workshop, end: float) -> None:
        candidates = {_unique(number, group): candidate for number, candidate in enumerate(group)}
        limits = {candidate.label: candidate for candidate in _limits(group)}
        everything = {**limits, **candidates}
        facts = {label: dict(candidate.facts) for label, candidate in everything.items()}
        versions, loaded = _versions(everything.values()), {}
        rates: dict[tuple, dict] = {}
        awaited = list(limits)
        waiting: list[Latency] = []

        def load(label: str, candidate: Candidate) -> None:
            candidate.prepare(workshop)
            backend, device = candidate.facts['backend'], candidate.facts['device']
            release(device)
            before, _ = memory(device, backend)
            network = candidate.load(workshop)
            forget_peak(device)
            for _ in range(2):
                network.run()
            peak = max(memory(device, backend)[1] - before, 0)
            facts[label].update(network.facts, peak_memory_bytes=peak)
            loaded[label] = network

        def write(latency: Latency) -> None:
            label = latency.name
            found, on_gpu = facts[label], facts[label]['device'] == 'cuda'
            if latency.values:
                found.update(loaded[label].finish())
                rate = (found.get('macs') or 0) / latency.median * 1e3
                best = rates.get(_arithmetic(found))
                if label in limits:
                    if best is None or rate > best['macs_per_second']:
                        rates[_arithmetic(found)] = dict(
                            of=f'{found["name"]}, {found["backend"]}', macs_per_second=rate
                        )
                elif rate and best:
                    found['limit'] = dict(best, share=rate / best['macs_per_second'])
            row = measurement_row(
                latency,
                **found,
                run=self._run,
                device_name=self._machine['gpu' if on_gpu else 'processor'],
                threads=None if on_gpu else workshop.threads,
                machine={**self._machine, 'torch_threads': workshop.threads},
                conditions=self._conditions,
                versions=versions,
            )
            append_row(row, self.path)
            self.rows.append(row)
            bar.update()
            bar.write(_line(row, label))

        def done(latency: Latency) -> None:
            """Write a row; one with figures not before those of its limits."""
            if latency.name in limits:
                write(latency)
                awaited.remove(latency.name)
            elif not latency.values:
                write(latency)
            else:
                waiting.append(latency)
            for entry in list(waiting):
                if _arithmetic(facts[entry.name]) not in [_arithmetic(facts[name]) for name in awaited]:
                    waiting.remove(entry)
                    write(entry)

        with tqdm(total=len(everything), unit='candidate', mininterval=1, disable=None, leave=False) as bar:
            for label, candidate in everything.items():
                bar.set_description(f'load {label}')
                try:
                    load(label, candidate)
                except Exception as error:
                    done(Latency(label, candidate.facts['scope'], [], {}, failure=reason_of(error)))
            bar.set_description('measure in turn')
            measure(
                {label: network.run for label, network in loaded.items()},
                scope='',
                max_seconds=max(end - time.monotonic(), 1.0),
                done=done,
                **self._options,
            )


def _weight(group: Sequence[Candidate]) -> float:
    """How much time a group needs, compared with others.

    Each candidate counts as the square root of its values, and as much as a small one for its loading.
    """
    return sum(_USUAL**0.5 + math.prod(candidate.facts.get('shape') or [_USUAL]) ** 0.5 for candidate in group)


def _arithmetic(facts: Mapping) -> tuple[str, str]:
    """The limit of a candidate is the best rate of all backends in the same precision on the same device."""
    return facts['precision'], facts['device']


def _unique(number: int, group: Sequence[Candidate]) -> str:
    """The label of a candidate, with its place if another one before it has the same."""
    label = group[number].label
    return f'{label} #{number + 1}' if label in [other.label for other in group[:number]] else label


def _line(row: dict, label: str) -> str:
    """A row as one line of text."""
    if row['status'] == 'FAILED':
        return f'{label}: FAILED, {row["reason"]}'
    said = f'{label}: {row["p50_ms"]:.2f} ms (p90 {row["p90_ms"]:.2f}, {row["runs"]} runs)'
    if row['scope'] == 'gemm':
        said += f', {row["macs"] / row["p50_ms"] / 1e6:.1f} GMAC/s'
    if row['limit']:
        said += f', {row["limit"]["share"]:.0%} of the limit'
    return said if row['steady'] else f'{said}, not steady: variation {row["variation"]:.0%}'
