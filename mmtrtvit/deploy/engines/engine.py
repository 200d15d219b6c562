"""An engine: what a backend runs, and a session to prove it by."""

import dataclasses
from pathlib import Path

from ...runtime.backends import Session


@dataclasses.dataclass(frozen=True)
class Engine:
    """The file that a backend runs.

    Attributes:
        file: Its name in the artefact's folder.
        session: What the proof is made with.
        subject: What the session runs, in words.
        runs_here: Whether the session is the engine itself, so that its latency can be measured.
        summary: One line about it.
        bytes: Size of the file, or of the file with the weights beside it.
        page: A part of the report page, where the backend gives one.
        report: The same as data.
    """

    file: str
    session: Session
    subject: str
    runs_here: bool
    summary: str
    bytes: int
    page: str | None = None
    report: dict | None = None


def megabytes(path: Path) -> str:
    """The size of a file, for people."""
    return f'{path.stat().st_size / 1e6:.1f} MB'
