"""Tables say what the rows say, and say so when there are none."""

import copy

import pytest
import yaml

from mmtrtvit.benchmark import backbone_complexity
from mmtrtvit.benchmark.tables import complexity_table, demo_table, detection_table, latency_table, sizes_table

MACHINE = dict(processor='A Processor', torch_threads=2)


def latency(arch, runtime, values):
    return dict(
        name=f'{arch} {runtime}',
        arch=arch,
        runtime=runtime,
        scope='backbone',
        values=values,
        shape='1x3x224x224',
        precision='fp32',
        runs=len(values),
        load_average=0.5,
        machine=MACHINE,
        versions={'torch': '2.0'},
    )


@pytest.fixture
def result():
    return dict(
        latency=[latency('a', 'PyTorch', [30.0, 30.0, 60.0]), latency('a', 'ONNX Runtime', [10.0, 10.1, 10.2])],
        difference=[dict(arch='a', relative=2e-6)],
    )


@pytest.fixture
def summary():
    def network(box, median):
        timed = dict(
            median=median, p90=median + 1, steady=True, scope='end-to-end', image='9x9', precision='fp32', runs=7
        )
        return dict(bbox_mAP=box, bbox_mAP_50=0.9, segm_mAP=0.7, segm_mAP_50=0.8, latency_ms=timed)

    gap = dict(max=1e-4, mean=1e-5)
    return dict(
        pytorch=network(0.612, 50.0),
        onnxruntime=network(0.611, 25.0),
        latency_ratio=2.0,
        parity=dict(
            images=80, detections=300, same=299, extra=0, passed=True, boxes=gap, scores=gap, labels=gap, masks=gap
        ),
        env=dict(MACHINE, python='3.11', torch='torch 2.13'),
        minutes=11.0,
    )


def cells(table, row):
    return [cell.strip() for cell in table.splitlines()[row + 2].strip('|').split('|')]


def test_latency(result):
    table = latency_table(result)
    # The ratio is the median of 3, 2.97 and 5.88, not the ratio of the medians.
    assert cells(table, 0) == ['TRT-ViT-A', '30.0 / 54.0 (u)', '10.1 / 10.2', '3.00', '2.0e-06']
    assert (
        'scope backbone' in table
        and 'A Processor (2 threads, load average 0.5 before' in table
        and 'torch 2.0' in table
    )
    assert 'unsteady' in table
    for row in result['latency']:
        row['values'] = [10.0, 10.0, 10.0]
    assert 'unsteady' not in latency_table(result)


def test_demo(summary):
    table = demo_table(summary, '../images/p.png')
    assert cells(table, 0) == ['PyTorch', '0.612', '0.900', '0.700', '0.800', '50.0 / 51.0']
    assert cells(table, 1)[1] == '0.611'
    assert '299 of 300 detections' in table and 'PASS' in table and '](../images/p.png)' in table
    failed = copy.deepcopy(summary)
    failed['parity']['passed'] = False
    failed['onnxruntime']['latency_ms']['steady'] = False
    table = demo_table(failed, 'p.png')
    assert 'FAIL' in table and 'unsteady' in table


def test_without_rows_there_are_no_figures():
    for table in (latency_table(None), demo_table(None, 'p.png')):
        assert 'No run is recorded' in table
        assert '|' not in table and '.png' not in table


def test_sizes_are_counted_and_marked(root):
    published = yaml.safe_load((root / 'docs' / 'results' / 'published.yaml').read_text())
    table = sizes_table(published)
    a, c = cells(table, 0), cells(table, 2)
    counted = backbone_complexity('a')
    assert a[4] == f'{counted.params / 1e6:.1f} / {counted.total_macs / 1e9:.2f}'
    assert a[1:4] == ['128 256 512 1024', '2 3 12 6', 'C-C-C-M']
    assert a[6:] == ['none', 'own choice']
    assert c[5:] == ['67.3 / 5.90', '67.3 / 5.9 [1]', 'reconstructed']
    assert f'[1] *Published*: {published["sources"]["nextvit-imagenet"]}' in table

    figures = detection_table(published)
    assert cells(figures, 0) == ['TRT-ViT-C [1]', '86.3 / 294', '44.7', '66.9', '48.8', '40.8', '63.9', '44.0']
    assert cells(figures, 1)[0] == 'TRT-ViT-D [2]' and 'from memory' in figures


def test_complexity():
    table = complexity_table({'complexity': [dict(arch='a', **backbone_complexity('a').to_dict())]})
    row = cells(table, 0)
    assert row[0] == 'TRT-ViT-A' and len(row) == 7
    assert '`gelu`' in table and '`native_layer_norm`' in table
