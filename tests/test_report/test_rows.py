"""Ratios, fronts and growth of measured rows."""

import pytest

from mmtrtvit.errors import ConfigError, DataError
from mmtrtvit.measurement import append_row
from mmtrtvit.report.published import Published
from mmtrtvit.report.rows import (
    baselines,
    fronts,
    growth,
    pareto_front,
    parse_baseline,
    ratios,
    read_reported,
    reported,
    summary,
)


@pytest.fixture
def read(rows_file, root):
    return read_reported([rows_file], Published.read(root))


def find(rows, name, **wanted):
    (row,) = [row for row in rows if row['name'] == name and all(row[key] == value for key, value in wanted.items())]
    return row


def test_published_accuracy_stands_beside_backbones_at_its_size(read):
    of = {(row['name'], row['scope'], row['input']): row['accuracy'] for row in read}
    assert of['Next-ViT-S', 'backbone', '1x3x224x224'] == of['Next-ViT-S', 'backbone', '4x3x224x224'] == 82.5
    assert of['swin (timm)', 'backbone', '1x3x224x224'] == 81.388
    assert of['Next-ViT-S', 'backbone', '1x3x448x448'] is None and of['Next-ViT-S', 'end-to-end', '1x3x224x224'] is None
    assert 'bytedance/Next-ViT' in find(read, 'Next-ViT-L', backend='openvino')['accuracy_of']


def test_flags(read, make_row):
    flags = {row['flag'] for row in read}
    assert flags == {'OK', 'unsteady', 'FAILED: RuntimeError: no <kernel> & no hope'}
    assert reported(make_row('x', [1.0] * 4, conditions=dict(busy='somebody')))['flag'] == 'busy machine'


def test_the_newest_call_counts_and_in_it_the_largest_run(make_row, tmp_path):
    def row(time, milliseconds, run, load, name='a'):
        made = make_row(name, [milliseconds] * 4, run=run, conditions=dict(busy='', load_average=load))
        return dict(made, time=f'2026-01-0{time}T00:00:00+00:00')

    def read(*rows):
        path = tmp_path / 'some.jsonl'
        path.unlink(missing_ok=True)
        for made in rows:
            append_row(made, path)
        return find(read_reported([path]), 'a')['p50_ms']

    comparison = [row(1, 10.0, '1', 0.1), row(1, 10.0, '1', 0.1, 'b'), row(2, 11.0, '2', 0.1)]
    assert read(*comparison) == 10.0  # run 2 is newer, but nothing was measured beside it
    assert read(*comparison, row(3, 12.0, '3', 0.2)) == read(row(3, 12.0, '3', 0.2), *comparison) == 12.0


def test_no_rows(tmp_path):
    (tmp_path / 'empty.jsonl').write_text('')
    with pytest.raises(DataError, match='There is no row in .*empty.jsonl'):
        read_reported([tmp_path / 'empty.jsonl'])


def test_ratios_to_a_network_and_to_a_backend(read):
    def of(field, value):
        return dict(
            zip([(row['name'], row['backend'], row['input']) for row in read], ratios(read, field, value), strict=True)
        )

    to_small = of('name', 'Next-ViT-S')
    assert to_small['Next-ViT-L', 'openvino', '1x3x224x224'] == pytest.approx(2.0)
    assert to_small['swin (timm)', 'openvino', '1x3x224x224'] == pytest.approx(4.0)
    assert to_small['Next-ViT-L', 'onnxruntime', '1x3x224x224'] == pytest.approx(2.0)
    assert to_small['swin (timm)', 'onnxruntime', '1x3x224x224'] is None  # it failed
    to_openvino = of('backend', 'openvino')
    assert to_openvino['Next-ViT-L', 'onnxruntime', '1x3x224x224'] == pytest.approx(3.0)
    assert to_openvino['Next-ViT-L', 'openvino', '1x3x224x224'] == 1.0
    assert ('name', 'Next-ViT-L') in baselines(read) and ('precision', 'fp32') not in baselines(read)


def test_a_ratio_is_of_rounds_within_a_run_and_of_steady_medians_else(make_row):
    a = make_row('a', [10.0, 20.0, 30.0])
    b = make_row('b', [5.0, 20.0, 60.0])
    rows = [reported(a), reported(b)]
    assert ratios(rows, 'name', 'a') == [1.0, 1.0]  # the median of 0.5, 1 and 2
    apart = [reported(make_row('a', [10.0] * 4)), reported(make_row('b', [15.0] * 4, run='2'))]
    assert ratios(apart, 'name', 'a') == [1.0, 1.5]
    apart[1] = reported(make_row('b', [15.0] * 4, run='2', settled=False))
    assert ratios(apart, 'name', 'a') == [1.0, None]
    elsewhere = [apart[0], reported(make_row('b', [15.0] * 4, device_name='Another Processor'))]
    assert ratios(elsewhere, 'name', 'a') == [1.0, None]


def test_baselines_are_named(read):
    assert parse_baseline('backend=openvino', read) == ('backend', 'openvino')
    assert parse_baseline('swin (timm)', read) == ('name', 'swin (timm)')
    with pytest.raises(ConfigError, match="(?s)the backend 'tvm'.*one of onnxruntime, openvino"):
        parse_baseline('backend=tvm', read)


def test_pareto_front():
    points = [(3, 80.0), (1, 70.0), (2, 75.0), (2.5, 74.0), (4, 80.0), (3, 79.0), (1, 69.0)]
    assert pareto_front(points) == [(1, 70.0), (2, 75.0), (3, 80.0)]
    assert pareto_front([]) == []


def test_each_setting_has_its_front(read):
    of = {(settings['backend'], settings['input']): front for settings, front in fronts(read)}
    assert of['openvino', '1x3x224x224'] == [(10.0, 82.5), (20.0, 83.6)]  # swin is slower and worse
    assert of['onnxruntime', '1x3x224x224'] == [(30.0, 82.5), (60.0, 83.6)]


def test_growth_is_fitted(read):
    (batches,) = growth(read, 'batch')
    assert batches.values('p50_ms') == ([1, 2, 4], pytest.approx([10.0, 10 * 2**0.5, 20.0]))
    assert batches.exponent('p50_ms') == pytest.approx(0.5) and batches.exponent('memory_mib') == pytest.approx(1.0)
    (pixels,) = growth(read, 'pixels')
    assert pixels.values('p50_ms') == ([224**2, 448**2], [10.0, 25.0]) and pixels.exponent('memory_mib') is None
    sizes = {series.rows[0]['backend']: series for series in growth(read, 'macs')}
    assert set(sizes) == {'openvino', 'onnxruntime'} and sizes['openvino'].title == 'Next-ViT'
    assert [row['name'] for row in sizes['openvino'].rows] == ['Next-ViT-S', 'Next-ViT-L']


def test_the_summary_says_where_and_how_well(read, make_row):
    said = '\n'.join(summary([*read, reported(make_row('x', [1.0] * 4, conditions=dict(busy='somebody else')))]))
    assert f'{len(read) + 1} rows on A Processor, 2 cores (Linux)' in said
    assert 'mmtrtvit 0.1' in said and '1 rows are unsteady' in said and 'somebody else' in said
