"""The study's tables and picture in the documentation."""

import json

import pytest

from mmtrtvit.measurement import append_row
from mmtrtvit.study.networks import STUDIES
from pages import documents
from pages.documents import update_documents
from pages.plots import drawn_from


@pytest.fixture
def checkout(tmp_path, root, monkeypatch, measured, trained):
    """A checkout with rows of a study, and a page that shows all of it."""
    pytest.importorskip('matplotlib')
    results = tmp_path / 'docs' / 'results'
    results.mkdir(parents=True)
    (results / 'published.yaml').write_text((root / 'docs/results/published.yaml').read_text())
    names = ['blocks', *STUDIES, 'accuracy', 'guidelines']
    page = '\n'.join(f'<!-- table: study-{name} -->\n<!-- end table -->' for name in names)
    (tmp_path / 'docs' / 'study.md').write_text(page)
    monkeypatch.setattr(documents, 'metafiles', lambda root: {})
    for name, scope in (('BottleNeck, stage 1', 'block'), ('ResNet', 'backbone'), ('MixNetC', 'backbone')):
        append_row(measured(name, 10.0, scope, run=scope), results / 'study.jsonl')
    facts = dict(threads=1, machine=dict(processor='CPU'), versions=dict(torch='2'))
    rows = [
        trained(name, seed, accuracy + seed, **facts)
        for name, accuracy in (('ResNet', 60.0), ('MixNetV', 70.0))
        for seed in range(3)
    ]
    (results / 'study_accuracy.json').write_text(json.dumps(dict(rows=rows)))
    return tmp_path


def test_every_table_is_filled(checkout):
    update_documents(checkout)
    text = (checkout / 'docs' / 'study.md').read_text()
    assert '| BottleNeck | 1 | 256 x 56 x 56 |' in text and '![TeraFLOPS' in text
    assert text.count('| MixNetC | C-C-C-M |') == 3  # once in each study
    assert '60.0, 61.0, 62.0 | 61.0 +- 1.6' in text and 'on CPU, 1 thread, torch 2' in text
    claim = next(line for line in text.splitlines() if 'MixNetV is more accurate than ResNet' in line)
    assert claim.endswith('| supported |')
    assert drawn_from(checkout / 'docs' / 'images' / 'study.png')
    assert update_documents(checkout, check=True) == []


def test_without_training_the_rest_is_there(checkout):
    (checkout / 'docs' / 'results' / 'study_accuracy.json').unlink()
    update_documents(checkout)
    text = (checkout / 'docs' / 'study.md').read_text()
    assert 'tools/study.py train DATA` makes rows' in text and '| MixNetC |' in text
