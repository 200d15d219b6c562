"""The page that the documentation shows is made of the rows in docs/results when it is built."""

import importlib.util
from types import SimpleNamespace

import pytest


def test_the_build_writes_the_page_of_recorded_rows(root, rows_file, tmp_path, monkeypatch):
    pytest.importorskip('bokeh')
    spec = importlib.util.spec_from_file_location('conf', root / 'docs' / 'conf.py')
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    connected = {}
    conf.setup(SimpleNamespace(connect=connected.setdefault))
    (tmp_path / 'docs').mkdir()
    (tmp_path / 'docs' / 'results').mkdir()
    monkeypatch.setattr(conf, 'ROOT', tmp_path)
    app = SimpleNamespace(outdir=tmp_path / 'html', builder=SimpleNamespace(format='html'))
    connected['build-finished'](app, None)
    assert not app.outdir.exists()  # no row is recorded
    rows_file.rename(tmp_path / 'docs' / 'results' / 'speed.jsonl')
    connected['build-finished'](app, None)
    assert 'Next-ViT-S' in (app.outdir / 'measured.html').read_text(encoding='utf-8')
    assert 'src="measured.html"' in (root / 'docs' / 'report.md').read_text()
