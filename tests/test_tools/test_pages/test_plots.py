"""Pictures show the rows that they carry the digest of."""

import copy
import json

import pytest
from PIL import Image

from mmtrtvit.benchmark.backbones import COMPARED
from mmtrtvit.report.published import Published
from pages.documents import rows_of_pictures
from pages.plots import (
    digest_of,
    draw_comparison,
    draw_complexity,
    draw_latency,
    draw_training,
    drawn_from,
    pareto_front,
)


def row(family, arch, runtime, values):
    return dict(
        name=f'{family}-{arch} {runtime}',
        family=family,
        arch=arch,
        runtime=runtime,
        scope='backbone',
        values=values,
        shape='1x3x224x224',
        precision='fp32',
        machine=dict(processor='A Processor', torch_threads=2),
    )


@pytest.fixture
def rows(tmp_path, root):
    """A comparison of two networks, with the published accuracy of the one that has one."""
    made = dict(
        latency=[
            row('nextvit', 's', 'ONNX Runtime', [30.0, 30.0, 60.0]),
            row('nextvit', 's', 'OpenVINO', [10.0, 10.1, 10.2]),
            row('trtvit', 'a', 'ONNX Runtime', [5.0, 5.0, 5.0]),
            row('trtvit', 'a', 'OpenVINO', [10.0, 10.0, 10.0]),
        ],
        complexity=[dict(family=family, arch=arch, macs=2e9) for family, arch in (('nextvit', 's'), ('trtvit', 'a'))],
    )
    path = tmp_path / 'comparison.json'
    path.write_text(json.dumps(made))
    return rows_of_pictures(path, Published.read(root))


def test_published_accuracy_is_taken_from_its_file(rows):
    assert rows['published'] == [dict(family='nextvit', arch='s', kind='published', top1=82.5)]


def test_pareto_front():
    points = [(3, 80.0), (1, 70.0), (2, 75.0), (2.5, 74.0), (4, 80.0), (3, 79.0), (1, 69.0)]
    assert pareto_front(points) == [(1, 70.0), (2, 75.0), (3, 80.0)]
    assert pareto_front([]) == []


@pytest.mark.parametrize('accuracy', [True, False], ids=['with accuracy', 'without'])
def test_the_plot_shows_what_the_rows_say(rows, tmp_path, monkeypatch, accuracy):
    from matplotlib.axes import Axes

    drawn, plot = [], Axes.plot
    monkeypatch.setattr(Axes, 'plot', lambda axis, *args, **kwargs: drawn.append(args) or plot(axis, *args, **kwargs))
    rows = rows if accuracy else {**rows, 'published': []}
    draw_comparison(rows, tmp_path / 'x.png')
    nextvit, trtvit = ([82.5], []) if accuracy else ([], [])
    assert [(list(x), list(y)) for x, y, *_ in drawn if len(x)][:2] == [([30.0], [2.0]), ([5.0], [2.0])]
    assert [list(y) for _, y, *_ in drawn].count(nextvit) >= (len(COMPARED) if accuracy else 0)
    other = copy.deepcopy(rows)
    other['latency'][0]['values'] = [1.0, 1.0, 1.0]
    assert drawn_from(tmp_path / 'x.png') == digest_of(rows) != digest_of(other)


@pytest.mark.parametrize(
    'draw, name', [(draw_latency, 'backbones'), (draw_complexity, 'backbones'), (draw_training, 'training')]
)
def test_recorded_rows_are_drawn(root, tmp_path, draw, name):
    result = json.loads((root / 'docs' / 'results' / f'{name}.json').read_text())
    draw(result, tmp_path / 'x.png')
    assert drawn_from(tmp_path / 'x.png') == digest_of(result)
    with Image.open(tmp_path / 'x.png') as picture:
        assert len(picture.convert('RGB').getcolors(1 << 20)) > 20
