"""What all tables are written with."""

from collections.abc import Mapping

from ...markdown import table as markdown
from ..published import Published

__all__ = ['NO_RUN', 'RECALLED', 'Notes', 'giga', 'markdown', 'millions']

NO_RUN = '*No run is recorded yet: `{command}` makes one.*'
"""What stands in the place of a table whose rows do not exist."""

RECALLED = '(r): recalled, found in no text at hand.'


def millions(number: float) -> str:
    """A number of parameters, M."""
    return f'{number / 1e6:.1f}'


def giga(number: float) -> str:
    """Multiply-accumulates of a backbone, G."""
    return f'{number / 1e9:.2f}'


class Notes:
    """Sources of published figures, numbered in the order in which they are asked for.

    Args:
        published: Where the figures are from.
    """

    def __init__(self, published: Published) -> None:
        self._published = published
        self._numbers: dict[str, int] = {}
        self._recalled = False

    def number(self, figures: Mapping) -> str:
        """The mark of the source of ``figures``, such as ``'[1]'``, or ``'[1] (r)'`` where it is from memory."""
        number = self._numbers.setdefault(figures['source'], len(self._numbers) + 1)
        mark = self._published.mark(figures)
        self._recalled |= bool(mark)
        return f'[{number}]{mark}'

    def lines(self) -> list[str]:
        """One line for each source, and one that explains the mark of recalled figures where there are any."""
        lines = [
            f'[{number}] *Published*: {self._published.sources[name]["text"]}' for name, number in self._numbers.items()
        ]
        return [*lines, RECALLED] if self._recalled else lines
