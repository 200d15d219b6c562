"""Generated parts of documents: written where the markers are, checked without writing."""

import json

import pytest

from mmtrtvit.benchmark import documents
from mmtrtvit.benchmark.documents import update_documents
from mmtrtvit.errors import DataError

PAGE = '# Title\n\n<!-- table: latency -->\nold\n<!-- end table -->\n\ntext\n'


@pytest.fixture
def checkout(tmp_path, root, monkeypatch):
    (tmp_path / 'docs' / 'results').mkdir(parents=True)
    (tmp_path / 'docs' / 'results' / 'published.yaml').write_text((root / 'docs/results/published.yaml').read_text())
    (tmp_path / 'README.md').write_text(PAGE)
    (tmp_path / 'docs' / 'other.md').write_text('nothing generated\n')
    monkeypatch.setattr(documents, 'metafiles', lambda root: {root / 'configs' / 'metafile_x.yml': 'entries\n'})
    return tmp_path


def test_tables_are_written_between_their_markers(checkout):
    readme = checkout / 'README.md'
    assert update_documents(checkout, check=True) == [readme, checkout / 'configs' / 'metafile_x.yml']
    assert readme.read_text() == PAGE
    assert not (checkout / 'configs').exists()

    update_documents(checkout)
    text = readme.read_text()
    assert 'No run is recorded' in text and 'old' not in text
    assert text.startswith('# Title\n\n<!-- table: latency -->\n') and text.endswith('<!-- end table -->\n\ntext\n')
    assert update_documents(checkout, check=True) == []

    readme.write_text(text.replace('No run', 'A run'))
    assert update_documents(checkout, check=True) == [readme]


def test_pictures_belong_to_their_rows(checkout, monkeypatch):
    rows = {'latency': [], 'difference': [], 'complexity': []}
    (checkout / 'README.md').write_text('no table\n')
    path = checkout / 'docs' / 'results' / 'backbones.json'
    path.write_text(json.dumps(rows))
    drawn = []
    pictures = {
        'docs/images/a.png': ('backbones.json', lambda result, path: drawn.append((result, path))),
        'docs/images/b.png': ('training.json', lambda result, path: pytest.fail('there are no such rows')),
    }
    monkeypatch.setattr(documents, 'PICTURES', pictures)
    picture = checkout / 'docs' / 'images' / 'a.png'
    assert picture in update_documents(checkout, check=True)
    assert not drawn
    update_documents(checkout)
    assert drawn == [(rows, picture)]


def test_bad_input(checkout, tmp_path):
    (checkout / 'README.md').write_text(PAGE.replace('latency', 'latencies'))
    with pytest.raises(DataError, match="(?s)'latencies'.*one of latency"):
        update_documents(checkout)
    (checkout / 'docs' / 'results' / 'demo.json').write_text('{')
    with pytest.raises(DataError, match='demo.json is not JSON'):
        update_documents(checkout)
    with pytest.raises(DataError, match='checkout'):
        update_documents(tmp_path / 'elsewhere')
