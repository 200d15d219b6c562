"""Tables of recorded rows say what the rows say."""

import copy

import pytest

from mmtrtvit.latency import Latency
from mmtrtvit.measurement import measurement_row
from mmtrtvit.report.published import Published
from mmtrtvit.zoo.complexity import backbone_complexity
from mmtrtvit.zoo.families import FAMILIES
from pages.artefacts import engines_table, exports_table, precisions_table
from pages.latencies import artefacts_table, comparison_table, latency_table, precision_latency_table, speed_table
from pages.networks import exporters_table, network_changes_table, parts_table
from pages.titles import PLAIN
from pages.trainings import demo_table, runs_table, training_beside_table, training_table

MACHINE = dict(processor='A Processor', torch_threads=2, gpu=None)


def cells(table):
    """The cells of each row."""
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines() if line[:1] == '|']
    return rows[2:]


@pytest.fixture(scope='module')
def published(request):
    return Published.read(request.config.rootpath)


def timed(arch, runtime, values, **more):
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
        **more,
    )


def speed(family, arch, backend, values, name=None, **facts):
    """A measured row of a backbone, as ``tools/benchmark.py`` leaves it."""
    given = dict(
        family=family,
        arch=arch,
        backend=backend,
        mode='eager' if backend == 'pytorch' else 'plain',
        precision='fp32',
        device='cpu',
        device_name='A Processor',
        shape=[1, 3, 224, 224],
        threads=2,
        params=30_000_000,
        macs=2_000_000_000,
        run='run',
        limit=dict(of='MatMul', macs_per_second=1e11, share=0.931),
        conditions=dict(load_average=0.5, busy=''),
        versions={'torch': '2.0'},
    )
    name = name or FAMILIES[family].name(arch)
    return measurement_row(Latency(name, 'backbone', values, {}), **{**given, **facts})


@pytest.fixture
def result():
    return dict(
        rows=[
            speed('trtvit', 'a', 'pytorch', [30.0, 30.0, 60.0]),
            speed('trtvit', 'a', 'onnxruntime', [10.0, 10.1, 10.2]),
            speed('trtvit', 'a', 'onnxruntime', [1.0, 1.0], run='a smaller run'),
            speed('trtvit', 'a', 'onnxruntime', [2.0, 2.0], shape=[8, 3, 224, 224]),
            speed('trtvit', 'b', 'onnxruntime', [], run='a smaller run'),
        ]
    )


@pytest.fixture
def summary():
    def network(box, median):
        latency = dict(
            median=median, p90=median + 1, steady=True, scope='end-to-end', image='9x9', precision='fp32', runs=7
        )
        return dict(bbox_mAP=box, bbox_mAP_50=0.9, segm_mAP=0.7, segm_mAP_50=0.8, latency_ms=latency)

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


def test_latency(result):
    table = latency_table(result)
    # of one run only: that with the most rows
    assert cells(table) == [['TRT-ViT-A', '30.0 / 54.0, 93 % (u)', '10.1 / 10.2, 93 %']]
    assert '| backbone | PyTorch | ONNX Runtime |' in table
    for said in ('scope backbone', 'input 1x3x224x224', 'A Processor (2 threads, load average 0.5 before', 'torch 2.0'):
        assert said in table
    assert 'did not become steady' in table and 'busy' not in table
    busy = dict(load_average=0.5, busy='train takes a core')
    result['rows'][0] = speed('trtvit', 'a', 'pytorch', [30.0, 30.0, 30.0], conditions=busy)
    table = latency_table(result)
    assert 'did not become steady' not in table and 'The machine was busy: train takes a core.' in table


def test_a_run_without_such_rows_says_so(result):
    assert 'no such rows' in speed_table(result, shape=[9, 3, 224, 224])
    assert 'no such rows' in artefacts_table(result)


def test_precisions_have_columns_of_their_own(result):
    result['rows'] += [speed('trtvit', 'a', 'openvino', [5.0, 5.0, 5.0], precision='int8')]
    table = precision_latency_table(result)
    assert cells(table) == [['TRT-ViT-A', '10.1 / 10.2, 93 %', '5.0 / 5.0, 93 %']]
    assert 'ONNX Runtime FP32' in table and 'OpenVINO INT8' in table


def test_artefacts_are_split_into_their_parts():
    facts = dict(shape=None, limit=None, name='RetinaNet, folder')
    rows = [
        speed(None, None, 'openvino', [5.0, 5.0, 5.0], **facts, scope='engine'),
        speed(None, None, 'openvino', [6.0, 6.0, 6.0], **facts, scope='engine', mode="mmdeploy's profiler"),
        speed(None, None, 'openvino', [9.0, 9.0, 9.0], **facts, scope='end-to-end', parts_ms=dict(network=5.25)),
    ]
    found = cells(artefacts_table(dict(rows=rows)))
    assert [row[2:] for row in found] == [
        ['engine', '5.0 / 5.0', ''],
        ["engine, mmdeploy's profiler", '6.0 / 6.0', ''],
        ['end-to-end', '9.0 / 9.0', 'network 5.2'],
    ]


def whole(values, **facts):
    """A measured row of a whole network."""
    extra = dict(config='configs/retinanet_trtvit_a_coco.py', **facts.pop('extra', {}))
    given = dict(backend='openvino', shape=[1, 3, 800, 1344], name='RetinaNet, folder', scope='engine', extra=extra)
    return speed(None, None, values=values, **{**given, **facts})


def test_networks_are_split_into_their_parts():
    parts = dict(backbone=1000.0, bbox_head=2995.0, rest=5.0)
    row = whole([4000.0] * 3, parts_ms=parts, extra=dict(parts_macs=dict(backbone=5e10, bbox_head=None, rest=None)))
    table = parts_table(dict(rows=[row, whole([4000.0] * 3)]))
    assert cells(table) == [
        ['`retinanet_trtvit_a_coco`', 'OpenVINO FP32', '**all**', '4000.0 / 4000.0, 93 %', '100 %', '2.0', ''],
        ['', '', '`backbone`', '1000.0', '25.0%', '50.0', '50'],
        ['', '', '`bbox_head`', '2995.0', '74.9%', '', ''],
    ]
    assert 'MatMul 100 GMAC/s' in table
    assert parts_table(dict(rows=[])) == ''


def test_exporters_are_compared_within_a_run():
    plain = dict(other='end2end.onnx')
    rows = [
        whole([10.0, 30.0, 20.0]),
        whole([20.0, 20.0, 20.0], extra=plain),
        whole([1.0, 1.0, 1.0], backend='onnxruntime', run='another'),
        whole([4.0, 4.0, 4.0], backend='onnxruntime', run='a third', extra=plain) | dict(status='FAILED'),
    ]
    table = exporters_table(dict(rows=rows))
    network = ['`retinanet_trtvit_a_coco`', 'OpenVINO FP32', '1x3x800x1344']
    assert cells(table) == [[*network, '20.0', '20.0 (u)', '1.00']]
    assert exporters_table(dict(rows=rows[:1])) == ''


def test_changes_of_artefacts():
    def row(change, values, outside):
        parts = dict(decoding=1.0, preprocessing=outside, network=80.0, postprocessing=9.0)
        return whole(values, scope='end-to-end', limit=None, parts_ms=parts, extra=dict(change=change))

    table = network_changes_table(dict(rows=[row('before', [100.0] * 3, 10.0), row('after', [90.0] * 3, 0.0)]))
    assert [row[2:] for row in cells(table)] == [
        ['before', '100.0 / 100.0', '1.0', '10.0', '80.0', '9.0', '20.0%'],
        ['after', '90.0 / 90.0', '1.0', '0.0', '80.0', '9.0', '11.1%'],
    ]


def test_demo(summary):
    table = demo_table(summary)
    assert cells(table)[0] == ['PyTorch', '0.612', '0.900', '0.700', '0.800', '50.0 / 51.0']
    assert cells(table)[1][1] == '0.611'
    assert '299 of 300 detections' in table and 'PASS' in table
    failed = copy.deepcopy(summary)
    failed['parity']['passed'] = False
    failed['onnxruntime']['latency_ms']['steady'] = False
    table = demo_table(failed)
    assert 'FAIL' in table and 'unsteady' in table


def training_row(name, values, memory, arch='a'):
    return dict(
        timed(arch, 'PyTorch', values),
        name=name,
        method='semfpn',
        family='trtvit',
        scope='training iteration',
        memory=dict(built=2**30, peak=2**30 + memory),
        batch=2,
        device='cpu',
    )


def test_training():
    rows = [
        training_row('plain', [2000.0, 2000.0, 2000.0], 2**30),
        training_row('AMP', [1000.0, 1500.0, 3000.0], 2**29),
    ]
    table = training_table(dict(training=rows))
    assert cells(table)[0] == ['Semantic FPN', 'TRT-ViT-A', '2.00 / 1.00', '1.50 (u) / 0.50']
    assert '2 images' in table and 'bfloat16' in table and 'unsteady' in table
    assert 'unsteady' not in training_table(dict(training=rows[:1]))


def test_training_beside_another_network():
    facts = dict(config='configs/semfpn_trtvit_a_toy.py', macs=4 * 10**12)
    rows = [
        training_row('plain', [2000.0] * 3, 2**30) | facts,
        training_row('mask-rcnn_r50_fpn_1x_coco', [6000.0] * 3, 2**31) | facts | dict(macs=2 * 10**12),
    ]
    assert cells(training_beside_table(dict(training=rows))) == [
        ['`semfpn_trtvit_a_toy`', 'plain', '2.00', '1.00', '4.000', '0.50'],
        ['`semfpn_trtvit_a_toy`', 'mask-rcnn_r50_fpn_1x_coco', '6.00', '2.00', '2.000', '3.00'],
    ]


@pytest.fixture
def comparison():
    return dict(
        rows=[
            speed('nextvit', 's', 'onnxruntime', [30.0, 30.0, 60.0]),
            speed('nextvit', 's', 'openvino', [10.0, 10.1, 10.2]),
            speed('trtvit', 'a', 'onnxruntime', [5.0, 5.0, 5.0], limit=None),
            speed(None, None, 'openvino', [7.0, 7.0, 7.0], name='resnet50 (timm)'),
        ]
    )


def test_every_size_of_every_family_has_a_line(published, comparison):
    found = {row[0]: row[1:] for row in cells(comparison_table(comparison, published))}
    ours = [family.name(arch) for family in FAMILIES.values() for arch in family.archs]
    assert list(found) == [*ours, 'resnet50 (timm)']
    assert all(len(cells) == 7 for cells in found.values())
    counted = backbone_complexity('s', family='nextvit')
    origin, params, macs, top1, tensorrt, first, second = found['Next-ViT-S']
    assert (origin, top1.split()[0], tensorrt) == ('published', '82.5', '7.7')
    assert (params, macs) == (f'{counted.params / 1e6:.1f}', f'{counted.total_macs / 1e9:.2f}')
    assert (first, second) == ('30.0 / 54.0, 93 % (u)', '10.1 / 10.2, 93 %')
    assert found['TRT-ViT-A'][3:] == ['none', 'none', '5.0 / 5.0', '']
    assert found['TRT-ViT-C'][0] == 'reconstructed' and found['TRT-ViT-C'][3].endswith('(r)')
    assert found['TRT-ViT-C'][5:] == ['', '']  # not in this run
    assert found['resnet50 (timm)'] == ["another's code", '30.0', '2.00', '', '', '', '7.0 / 7.0, 93 %']


def test_the_conditions_are_said(published, comparison):
    table = comparison_table(comparison, published)
    for said in ('at least 3 runs of each on A Processor (2 threads, load average 0.5', 'torch 2.0', '(u)'):
        assert said in table
    assert published.sources['nextvit-readme']['text'] in table


ENGINE = dict(
    version='1.7.1',
    profiles={'input': [[1, 3, 320, 320], [1, 3, 800, 1344], [1, 3, 1344, 1344]]},
    seconds={'parse': 1.5, 'build': 20.7},
    activation_bytes=927_100_000,
    share_of_layers={'float16': 0.35, 'float32': 0.65},
    layers=586,
)


def built(arch, precision, method='maskrcnn', family='trtvit', **more):
    about = dict(family=family, method=method, arch=arch, backend='tensorrt-rtx', precision=precision)
    return dict(about, engine=ENGINE, engine_bytes=103_640_000, **more)


def test_engines():
    rows = [
        built('s', 'fp32', family='nextvit'),
        built('c', 'fp16'),
        built('c', 'int8', method='semfpn'),
        built('c', 'fp32'),
        dict(built('a', 'fp32'), backend='openvino', engine=None),
        dict(built('a', 'int8'), engine=None, error='Cannot be built.'),
    ]
    table = engines_table({'rows': rows, 'machine': [MACHINE]})
    found = cells(table)
    assert [row[:2] for row in found] == [
        ['Mask R-CNN, TRT-ViT-C', 'FP32'],
        ['Mask R-CNN, TRT-ViT-C', 'FP16'],
        ['Semantic FPN, TRT-ViT-C', 'INT8'],
        ['Mask R-CNN, Next-ViT-S', 'FP32'],
    ]
    assert found[1][2:] == ['22', '103.6', '927', '586', '35%'] and found[2][-1] == '0%'
    assert 'TensorRT for RTX 1.7.1' in table and '1 x 3 x 1344 x 1344' in table and 'A Processor' in table


def proved(**changes) -> dict:
    made = dict(
        config='retinanet_trtvit_a_toy',
        backend='openvino',
        precision='int8',
        images=80,
        passed=False,
        parity=dict(detections=200, same=181, ties=3),
        metrics={
            'coco/bbox_mAP': dict(pytorch=0.5061, artefact=0.4912),
            'coco/bbox_mAP_50': dict(pytorch=0.8, artefact=0.7),
        },
        nodes=1200,
        latency={'PyTorch': 40.2, 'artefact': 9.8},
        latency_ratio=4.1,
        steady=False,
        engine_bytes=6_840_000,
        engine=None,
    )
    return {**made, **changes}


def test_precisions():
    refused = dict(config='upernet', backend='onnxruntime', precision='fp16', images=80, error='Overflow.\nExpected: 1')
    segmented = proved(
        config='semfpn', parity=dict(pixels=50, same=50), passed=True, metrics={'mIoU': dict(pytorch=81.2, artefact=81)}
    )
    text = precisions_table({'rows': [refused, segmented, proved()], 'machine': [MACHINE]})
    first, second, third = text.splitlines()[2:5]  # in the order of the networks
    for said in ('OpenVINO', 'INT8', 'box AP 50.6, 49.1 |', '6.8', 'FAIL', '181 of 200, 3 ties', '40 / 10', '(u)'):
        assert said in first
    assert 'mIoU 81.2, 81.0' in second and 'PASS' in second and '50 of 50' in second
    assert 'Overflow.' in third and 'Expected' not in third
    assert 'A Processor (2 threads), 80 images' in text and 'not run' not in text
    built = proved(backend='tensorrt-rtx', latency={}, latency_ratio=None)
    assert 'built and not run' in precisions_table({'rows': [built], 'machine': [MACHINE]})


def test_runs():
    detector = dict(config='retinanet_toy', iterations=900, images=3600, seconds=180)
    detector['metrics'] = {'coco/bbox_mAP': 0.506, 'coco/bbox_mAP_50': 0.827, 'coco/bbox_mAP_s': 0.1}
    segmentor = dict(config='semfpn_toy', iterations=60, images=240, seconds=60, metrics=dict(mIoU=81.5, aAcc=95.25))
    assert cells(runs_table({'rows': [detector, segmentor], 'machine': [MACHINE]})) == [
        ['`retinanet_toy`', '900', '3600', '3', 'box AP 50.6, box AP50 82.7'],
        ['`semfpn_toy`', '60', '240', '1', 'mIoU 81.5, aAcc 95.2'],
    ]


def exported(export, runtime, method='retinanet', **changes):
    return {
        **dict(family='trtvit', method=method, arch='a', export=export, runtime=runtime, images=4, shape='1x3x8x8'),
        'name': f'{export} {runtime}',
        **dict(opset=17, nodes=100, folded=None if export == PLAIN else 60, scope='network', precision='fp32', runs=3),
        **dict(load_average=0.5, machine=dict(processor='A Processor', torch_threads=2)),
        'versions': {'torch': '2.0', 'mmdeploy': '1.3.1'},
        **changes,
    }


def parity(**found):
    traced = dict(detections=100, same=100, ties=0, extra=0)
    return dict(traced=traced, others={**traced, **found} if found else None)


@pytest.fixture
def exports():
    pixels = dict(pixels=1000, agreement=0.9999999)
    labels = dict(traced=pixels, others=dict(pixels, agreement=1))
    wrong = parity(same=37, extra=12)
    return [
        exported('native', 'OpenVINO', 'semfpn', values=[2.0], parity=labels),
        exported('portable', 'OpenVINO', values=[20.0, 20.0, 20.0], parity=parity(same=99, ties=1)),
        exported('native', 'OpenVINO', values=[10.0, 10.0, 20.0], parity=parity()),
        exported(PLAIN, 'OpenVINO', values=[30.0, 10.0, 50.0], parity=wrong),
        exported('native', 'ONNX Runtime', values=[5.0, 5.0, 5.0], parity=parity()),
        exported(PLAIN, 'ONNX Runtime', error='It lacks an operator.', nodes=321),
    ]


def test_exports(exports):
    table = exports_table({'rows': exports})
    found = cells(table)
    assert [line[:3] for line in found] == [
        ['RetinaNet, TRT-ViT-A', PLAIN, 'ONNX Runtime'],
        ['RetinaNet, TRT-ViT-A', 'native', 'ONNX Runtime'],
        ['RetinaNet, TRT-ViT-A', PLAIN, 'OpenVINO'],
        ['RetinaNet, TRT-ViT-A', 'native', 'OpenVINO'],
        ['RetinaNet, TRT-ViT-A', 'portable', 'OpenVINO'],
        ['Semantic FPN, TRT-ViT-A', 'native', 'OpenVINO'],
    ]
    assert {len(line) for line in found} == {10}
    assert found[0][3:] == ['17', '321', '', 'It lacks an operator.', '', '', '']
    assert found[1][3:] == ['17', '100', '60', '100 of 100', '', '5.0 / 5.0', '']  # nothing plain to compare with
    assert found[2][6:] == ['100 of 100', '37 of 100, 12 extra', '30.0 / 46.0 (u)', '']
    # The ratio is the median of 3, 1 and 2.5, not the ratio of the medians.
    assert found[3][8:] == ['10.0 / 18.0 (u)', '2.50']
    assert found[4][6:] == ['100 of 100', '99 of 100, 1 ties', '20.0 / 20.0', '1.50']
    assert found[5][6:8] == ['99.999 % of pixels', '100.000 % of pixels']
    for said in ('mmdeploy 1.3.1', '*Measured*', '3 rounds on A Processor', '4 images'):
        assert said in table
    assert 'unsteady' in table and 'unsteady' not in exports_table({'rows': exports[4:]})
