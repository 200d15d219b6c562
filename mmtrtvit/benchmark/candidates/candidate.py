"""A candidate of a measurement, and the folder where candidates are exported and converted."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...runtime.backends import BACKENDS

PYTORCH = 'pytorch'

REPEATS = 10
"""Runs of what is measured beside the latency: copies and decoding."""


class Workshop:
    """A folder where networks are exported and converted, once for each form.

    Args:
        folder: The folder.
        threads: CPU threads of every backend.
        device: Preferred device, ``'cpu'`` or ``'cuda'``; a backend without it uses its own default.
    """

    def __init__(self, folder: Path, threads: int, device: str) -> None:
        self._folder, self._files, self._names = folder, {}, itertools.count()
        self.threads, self.device = threads, device

    def file(self, key: tuple, name: str, make: Callable[[Path], object]) -> Path:
        """The file for this key, made by ``make(path)`` when it is asked for first."""
        if key not in self._files:
            path = self._folder / str(next(self._names)) / name
            path.parent.mkdir()
            make(path)
            self._files[key] = path
        return self._files[key]

    def device_of(self, backend: str) -> str:
        """The device that a backend runs on."""
        if backend == PYTORCH:
            return self.device
        devices = BACKENDS[backend].devices
        return self.device if self.device in devices else devices[0]


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A candidate that is ready to run.

    Attributes:
        run: Does the work once.
        facts: Fields of its row that only the loaded network can tell.
        finish: Fields that are known after the runs.
    """

    run: Callable[[], object]
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    finish: Callable[[], Mapping[str, Any]] = dict


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Something to measure.

    Attributes:
        facts: Fields of its row.
        load: Loads it. Only the memory that this and the first runs take counts.
        prepare: Exports and converts it before.
    """

    facts: Mapping[str, Any]
    load: Callable[[Workshop], Loaded]
    prepare: Callable[[Workshop], object] = lambda workshop: None

    @property
    def label(self) -> str:
        """Its name in one line."""
        facts = self.facts
        mode = '' if facts.get('mode', 'plain') == 'plain' else f' {facts["mode"]}'
        shape = 'x'.join(map(str, facts['shape'])) if facts.get('shape') else ''
        return f'{facts["name"]}, {facts["scope"]}, {facts["backend"]}{mode}, {facts["precision"]} {shape}'.rstrip()
