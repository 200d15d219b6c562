"""Progress on a terminal, or in lines of a log."""

import sys
import time
from typing import TextIO


class Progress:
    """Shows how many images are done.

    A terminal has one line that is rewritten. Anything else, such as a pipe or a log, gets a line now and then, without
    carriage returns.

    Args:
        total: Number of images, if it is known.
        stream: Where it is shown.
    """

    def __init__(self, total: int | None, stream: TextIO | None = None) -> None:
        self._total = total
        self._stream = stream or sys.stderr
        self._rewrites = self._stream.isatty()
        self._every = 0.2 if self._rewrites else 10.0
        self._start = self._shown = time.monotonic()

    def _show(self, done: int, skipped: int, end: str) -> None:
        seconds = max(time.monotonic() - self._start, 1e-9)
        whole = '' if self._total is None else f' of {self._total}'
        text = f'{done + skipped}{whole} images, {done / seconds:.1f} a second'
        if skipped:
            text += f', {skipped} skipped'
        # the line before may have been longer
        self._stream.write(f'\r{text:<70}{end}' if self._rewrites else f'{text}\n')
        self._stream.flush()

    def update(self, done: int, skipped: int) -> None:
        """Show the counts if the last time is long enough ago."""
        now = time.monotonic()
        if now - self._shown >= self._every:
            self._shown = now
            self._show(done, skipped, '')

    def close(self, done: int, skipped: int) -> None:
        """Show the final counts."""
        self._show(done, skipped, '\n')
