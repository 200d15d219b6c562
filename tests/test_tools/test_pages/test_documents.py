"""Generated parts of documents: written where the markers are, checked without writing."""

import json

import pytest

from mmtrtvit.errors import DataError
from mmtrtvit.latency import Latency
from mmtrtvit.measurement import append_row, measurement_row
from pages import documents
from pages.documents import page_of_rows, update_documents
from pages.plots import drawn_from

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
    rows = {'rows': []}
    (checkout / 'README.md').write_text('no table\n')
    path = checkout / 'docs' / 'results' / 'demo.json'
    path.write_text(json.dumps(rows))
    drawn = []
    pictures = {
        'a.png': ('demo', lambda result, path: drawn.append((result, path))),
        'b.png': ('training', lambda result, path: pytest.fail('there are no such rows')),
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


@pytest.fixture
def speed(tmp_path):
    """A file of one measured row."""
    facts = dict(family='trtvit', arch='a', backend='openvino', precision='fp32', device='cpu', run='run', threads=2)
    facts.update(device_name='A Processor', shape=[1, 3, 224, 224], macs=2_000_000_000, versions={})
    row = measurement_row(
        Latency('TRT-ViT-A', 'backbone', [5.0] * 9, {}), **facts, conditions=dict(load_average=0.1, busy='')
    )
    append_row(row, tmp_path / 'own' / 'rows.jsonl')
    return tmp_path / 'own' / 'rows.jsonl'


def test_measured_rows_become_a_table(checkout, speed):
    (checkout / 'README.md').write_text('no table\n')
    page = checkout / 'docs' / 'comparison.md'
    page.write_text('<!-- table: comparison -->\n<!-- end table -->\n')
    update_documents(checkout)
    assert 'No run is recorded yet: `make bench`' in page.read_text()
    (checkout / 'docs' / 'results' / 'speed.jsonl').write_text(speed.read_text())
    assert update_documents(checkout, check=True) == [page]
    update_documents(checkout)
    assert '| 5.0 / 5.0 |' in page.read_text()


def test_a_page_and_its_picture_follow_the_rows(checkout, root):
    (checkout / 'README.md').write_text('no table\n')
    page = checkout / 'docs' / 'results_speed.md'
    page.write_text('<!-- table: training -->\n<!-- end table -->\n')
    update_documents(checkout)
    picture = checkout / 'docs' / 'images' / 'training.png'
    assert '.png' not in page.read_text() and not picture.exists()
    (checkout / 'docs' / 'results' / 'training.json').write_text((root / 'docs/results/training.json').read_text())
    assert update_documents(checkout, check=True) == [page, picture]
    update_documents(checkout)
    assert '](images/training.png)' in page.read_text() and drawn_from(picture)
    assert update_documents(checkout, check=True) == []


def test_a_page_of_own_rows(root, tmp_path):
    rows = tmp_path / 'training.json'
    rows.write_text((root / 'docs' / 'results' / 'training.json').read_text())
    page = page_of_rows(root, rows)
    assert page == tmp_path / 'training.md' and '| Mask R-CNN | TRT-ViT-A |' in page.read_text()
    assert '](training.png)' in page.read_text() and drawn_from(tmp_path / 'training.png')


@pytest.mark.parametrize('name', ['runs.json', 'others.json'])
def test_rows_without_a_table_are_refused(root, tmp_path, name):
    (tmp_path / 'others.json').write_text('{}')
    with pytest.raises(DataError, match='(?s)No table can be made of.*precisions.json'):
        page_of_rows(root, tmp_path / name)
