"""Pictures show the rows that they carry the digest of."""

import copy

import pytest
from PIL import Image

from pages.documents import PICTURES, recorded_rows
from pages.plots import digest_of, drawn_from


@pytest.mark.parametrize('name', PICTURES)
def test_recorded_rows_are_drawn(root, tmp_path, name):
    rows, draw = PICTURES[name]
    result = recorded_rows(root / 'docs' / 'results' / f'{rows}.json')
    assert result, f'no rows are recorded in {rows}'
    draw(result, tmp_path / 'x.png')
    other = copy.deepcopy(result)
    other['another'] = 1
    assert drawn_from(tmp_path / 'x.png') == digest_of(result) != digest_of(other)
    with Image.open(tmp_path / 'x.png') as picture:
        assert len(picture.convert('RGB').getcolors(1 << 20)) > 20
