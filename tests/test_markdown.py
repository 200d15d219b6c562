"""Tables in Markdown: what a reader's parser makes of them."""

import re

import pytest

from mmtrtvit.markdown import table


def cells(line):
    """Cells of a line as GitHub reads it: split where a bar is not escaped."""
    first, *found, last = re.split(r'(?<!\\)\|', line)
    assert (first, last) == ('', '')
    return [cell.strip().replace(r'\|', '|') for cell in found]


@pytest.mark.parametrize('numbers, aligned', [(True, ['---', '---:', '---:']), (False, ['---', '---', '---'])])
def test_cells_and_alignment(numbers, aligned):
    text = table(['network', 'M', ''], [('a', 1, 2.5), ['b', '', None]], numbers=numbers)
    assert [cells(line) for line in text.split('\n')] == [
        ['network', 'M', ''],
        aligned,
        ['a', '1', '2.5'],
        ['b', '', 'None'],
    ]


def test_a_bar_does_not_end_a_cell():
    text = table(['a|b', 'c'], [['x | y', '|z|']])
    assert [cells(line) for line in text.split('\n')] == [['a|b', 'c'], ['---', '---:'], ['x | y', '|z|']]


def test_rows_may_be_made_on_the_way():
    assert table(['a'], (row for row in [[1], [2]])) == '| a |\n| --- |\n| 1 |\n| 2 |'
