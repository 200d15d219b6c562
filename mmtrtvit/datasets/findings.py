"""Faults of a data set, and their form as errors and warnings."""

import dataclasses
from collections.abc import Iterable, Sequence

from ..errors import DataError

SEVERITIES = ('error', 'warning', 'note')
"""``error``: training or its figures would be wrong, or the run would crash; ``warning``: perhaps not intended."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        severity: One of :data:`SEVERITIES`.
        message: The fault, with file and item.
        expected: The right form, where the message does not imply it.
        fix: The remedy.
    """

    severity: str
    message: str
    expected: str = ''
    fix: str = ''

    def to_dict(self) -> dict[str, str]:
        """As plain data."""
        return dataclasses.asdict(self)


def first_few(items: Iterable[object], count: int = 5) -> str:
    """The first of some items, separated by commas."""
    listed = list(items)
    return ', '.join(map(str, listed[:count])) + (', ...' if len(listed) > count else '')


def raise_errors(findings: Sequence[Finding]) -> None:
    """Refuse data with an error.

    Raises:
        DataError: With the first error; the message counts the others.
    """
    errors = [finding for finding in findings if finding.severity == 'error']
    if errors:
        first, others = errors[0], len(errors) - 1
        more = f'\n{others} more, which python tools/check_data.py CONFIG lists.' if others else ''
        raise DataError(first.message + more, expected=first.expected, fix=first.fix)
