"""An engine: the file that a backend runs, and a session for its proof."""

import dataclasses
from pathlib import Path

from ...runtime.backends import Session


@dataclasses.dataclass(frozen=True)
class Engine:
    """The file that a backend runs.

    Attributes:
        file: Name in the folder of the artefact.
        session: The session that the proof runs.
        subject: Description of what the session runs.
        runs_here: Whether the session runs the engine itself, so that its latency can be measured.
        summary: Summary in one line.
        bytes: Size of the file, including a separate file with the weights.
        page: Section of the report page, if the backend provides one.
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
    """The size of a file in readable form."""
    return f'{path.stat().st_size / 1e6:.1f} MB'
