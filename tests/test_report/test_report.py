"""Reports as files: Markdown, and the page without a browser."""

import re

import pytest

from mmtrtvit.errors import ConfigError, DataError
from mmtrtvit.report import page, write_report


def test_tables(rows_file, tmp_path, root):
    out = write_report([rows_file], tmp_path / 'new' / 'report.md', 'backend=openvino', root)
    text = out.read_text()

    assert '**backbone, 1x3x224x224, 2 threads, A Processor**' in text
    assert re.search(
        r'\| Next-ViT-L \| 56.0 \| 10.8 \| 83.6 \| 60.0 / 60.0 \|  \| 3.00 \| 20.0 / 20.0 \| 50 % \| 1.00', text
    )
    assert re.search(r'\| swin \(timm\) .*\| FAILED \|', text) and 'no <kernel> & no hope' in text
    assert '25.0 / 37.0 (u)' in text
    assert '| Next-ViT-S | OpenVINO fp32 | images of a batch | 1 to 4 | 0.50 | 1.00 |' in text
    assert 'preprocessing 10.0, network 80.0, postprocessing 10.0' in text
    assert 'A Processor, 2 cores' in text


def test_the_page_is_one_file_that_asks_for_nothing(rows_file, tmp_path, root):
    pytest.importorskip('bokeh')
    text = write_report([rows_file], tmp_path / 'page.html', root=root).read_text(encoding='utf-8')
    markup = re.sub(r'(<script[^>]*>).*?</script>', r'\1', text, flags=re.DOTALL)
    assert not re.search(r'(?:src|href)="(?!data:)|@import|url\((?!["\']?data:)', markup)
    assert 'no &lt;kernel&gt; &amp; no hope' in markup and '<kernel>' not in markup
    assert 'bytedance/Next-ViT' in markup and 'A Processor, 2 cores' in markup


def test_bad_input_leaves_nothing(rows_file, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match='neither HTML nor Markdown'):
        write_report([rows_file], tmp_path / 'page.pdf')
    with pytest.raises(ConfigError, match='name .resnet50.*'):
        write_report([rows_file], tmp_path / 'page.html', 'resnet50')
    with pytest.raises(DataError, match='There is no file'):
        write_report([tmp_path / 'none.jsonl'], tmp_path / 'page.html')
    monkeypatch.setattr(page, 'models', None)
    with pytest.raises(ConfigError, match='(?s)Bokeh.*pip install -r requirements/report.txt'):
        write_report([rows_file], tmp_path / 'page.html')
    assert not list(tmp_path.glob('page.*'))
