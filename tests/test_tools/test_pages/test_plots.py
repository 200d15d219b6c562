"""Pictures show the rows that they carry the digest of."""

import copy

import pytest
from PIL import Image

from mmtrtvit.latency import Latency
from mmtrtvit.measurement import append_row, measurement_row
from mmtrtvit.report.published import Published
from mmtrtvit.zoo.families import FAMILIES
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


def row(family, arch, backend, values):
    return measurement_row(
        Latency(FAMILIES[family].name(arch), 'backbone', values, {}),
        family=family,
        arch=arch,
        backend=backend,
        precision='fp32',
        device='cpu',
        device_name='A Processor',
        shape=[1, 3, 224, 224],
        threads=2,
        macs=2_000_000_000,
        run='run',
        time='2026-01-01',
    )


@pytest.fixture
def rows(tmp_path, root):
    """A run of two networks, with the published accuracy of the one that has one."""
    for made in (
        row('nextvit', 's', 'onnxruntime', [30.0, 30.0, 60.0]),
        row('nextvit', 's', 'openvino', [10.0, 10.1, 10.2]),
        row('trtvit', 'a', 'onnxruntime', [5.0, 5.0, 5.0]),
        row('trtvit', 'a', 'openvino', [10.0, 10.0, 10.0]),
    ):
        append_row(made, tmp_path / 'speed.jsonl')
    return rows_of_pictures(tmp_path / 'speed', Published.read(root))


def test_published_accuracy_is_taken_from_its_file(rows):
    assert dict(family='nextvit', arch='s', kind='published', top1=82.5) in rows['published']


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
    assert [list(y) for _, y, *_ in drawn].count(nextvit) >= (2 if accuracy else 0)
    other = copy.deepcopy(rows)
    other['rows'][0]['p50_ms'] = 1.0
    assert drawn_from(tmp_path / 'x.png') == digest_of(rows) != digest_of(other)


@pytest.mark.parametrize('draw', [draw_latency, draw_comparison])
def test_rows_without_the_networks_of_a_picture_draw_none(tmp_path, draw):
    draw(dict(rows=[], published=[]), tmp_path / 'x.png')
    assert not (tmp_path / 'x.png').exists()


@pytest.mark.parametrize(
    'draw, name', [(draw_latency, 'speed'), (draw_complexity, 'counted'), (draw_training, 'training')]
)
def test_rows_are_drawn(root, rows, tmp_path, draw, name):
    result = rows if name == 'speed' else rows_of_pictures(root / 'docs' / 'results' / name, Published.read(root))
    draw(result, tmp_path / 'x.png')
    assert drawn_from(tmp_path / 'x.png') == digest_of(result)
    with Image.open(tmp_path / 'x.png') as picture:
        assert len(picture.convert('RGB').getcolors(1 << 20)) > 20
