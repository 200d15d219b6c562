"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[object]], numbers: bool = True) -> str:
    r"""A table, without a line break at its end.

    Args:
        header: Titles of the columns.
        rows: Cells, as ``str`` gives them; ``|`` in one is written ``\|``.
        numbers: Align all columns but the first to the right; otherwise none is aligned.
    """
    others = '---:' if numbers else '---'
    lines = [_line(header), _line(['---', *[others] * (len(header) - 1)]), *map(_line, rows)]
    return '\n'.join(lines)


def _line(cells: Iterable[object]) -> str:
    return '| ' + ' | '.join(str(cell).replace('|', r'\|') for cell in cells) + ' |'
