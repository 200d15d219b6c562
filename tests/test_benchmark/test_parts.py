"""The parts of a network, and where its time goes."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from mmtrtvit.benchmark.parts import INPUT, count_macs, module_of, parts_of, profile_parts
from mmtrtvit.benchmark.sources import export_backbone
from mmtrtvit.benchmark.speed import benchmark_engine
from mmtrtvit.errors import DeployError
from mmtrtvit.models import TRTViT
from mmtrtvit.runtime.backends import BACKENDS
from mmtrtvit.zoo.complexity import count_complexity

SIDE = 24


def convolution(name, before, after, channels):
    weight = np.random.default_rng(0).normal(0, 0.1, (*channels[::-1], 3, 3)).astype(np.float32)
    node = helper.make_node('Conv', [before, f'{name}.weight'], [after], name=name, pads=[1, 1, 1, 1])
    return node, numpy_helper.from_array(weight, f'{name}.weight')


@pytest.fixture(scope='module')
def detector(tmp_path_factory):
    """An ONNX file named like an exported detector: extent, backbone, neck, head, and a selection without a module."""
    convolutions = [
        convolution('/backbone/stages.0.0/conv/Conv', 'image', 'a', (3, 16)),
        convolution('/neck/fpn_convs.0/conv/Conv', 'b', 'c', (16, 32)),
        convolution('/bbox_head/retina_cls/Conv', 'c', 'd', (32, 4)),
    ]
    (backbone, neck, head), weights = zip(*convolutions)
    nodes = [
        helper.make_node('Abs', ['image'], ['extent'], name='/Abs'),
        backbone,
        helper.make_node('Relu', ['a'], ['b'], name='/backbone/stages.0.0/relu/Relu'),
        neck,
        head,
        helper.make_node('Sigmoid', ['d'], ['e'], name='/Sigmoid'),
        helper.make_node('Reshape', ['e', 'flat'], ['f'], name='/Reshape'),
        helper.make_node('TopK', ['f', 'k'], ['scores', 'places'], name='/TopK'),
    ]
    values = [numpy_helper.from_array(np.array(value), name) for name, value in (('flat', [1, -1]), ('k', [5]))]
    tensors = {'image': [1, 3, SIDE, SIDE], 'extent': [1, 3, SIDE, SIDE], 'scores': [1, 5]}
    described = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in tensors.items()]
    graph = helper.make_graph(nodes, 'detector', described[:1], described[1:], [*weights, *values])
    path = tmp_path_factory.mktemp('detector') / 'end2end.onnx'
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), path)
    return path


FEEDS = dict(image=np.random.default_rng(0).standard_normal((1, 3, SIDE, SIDE), np.float32))


def test_modules_by_name():
    names = ['/neck/fpn_convs.0/conv/Conv', '/lateral_convs.0/conv/Conv', '/roi_head.bbox_head/Gemm', '/TopK', 'Conv_7']
    assert [module_of(name) for name in names] == ['neck', 'lateral_convs', 'roi_head.bbox_head', '', '']


def test_nodes_without_a_module_belong_to_what_they_are_made_from(detector):
    parts = parts_of(onnx.load(detector))
    nodes = {name: part for name, part in parts.items() if name.startswith('/')}
    assert nodes == {
        '/Abs': INPUT,
        '/backbone/stages.0.0/conv/Conv': 'backbone',
        '/backbone/stages.0.0/relu/Relu': 'backbone',
        '/neck/fpn_convs.0/conv/Conv': 'neck',
        '/bbox_head/retina_cls/Conv': 'bbox_head',
        **dict.fromkeys(('/Sigmoid', '/Reshape', '/TopK'), 'after bbox_head'),
    }
    assert parts['scores'] == parts['places'] == 'after bbox_head'


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_every_part_has_its_time_and_its_cost(detector, backend, tmp_path):
    pytest.importorskip(backend)
    path = detector
    if BACKENDS[backend].convert:
        path = tmp_path / BACKENDS[backend].engine_file
        BACKENDS[backend].convert(detector, path)
    found = profile_parts(backend, path, detector, FEEDS, runs=2, threads=1)
    macs = {name: part.macs for name, part in found.items() if part.macs}
    pixels = 9 * SIDE * SIDE
    assert macs == {'backbone': 3 * 16 * pixels, 'neck': 16 * 32 * pixels, 'bbox_head': 32 * 4 * pixels}
    assert set(found) - {INPUT} == {'backbone', 'neck', 'bbox_head', 'after bbox_head'}
    assert all(found[name].ms > 0 and found[name].operators for name in macs)
    assert 'TopK' in found['after bbox_head'].operators and 'TopK' not in found['bbox_head'].operators
    for part in found.values():
        assert part.ms == pytest.approx(sum(part.operators.values()))


def test_multiply_accumulates_are_those_of_the_network(tmp_path):
    tiny = TRTViT(
        arch=dict(
            widths=(64, 64, 64, 128),
            depths=(1, 1, 1, 2),
            block_types=('C', 'C', 'C', 'M'),
            provenance='own choice: for a test',
        )
    ).eval()
    tiny.switch_to_deploy()
    image = torch.rand(1, 3, 40, 56)
    export_backbone(tiny, image, tmp_path / 'tiny.onnx')
    counted = count_macs(tmp_path / 'tiny.onnx', dict(image=image.numpy()))
    assert sum(counted.values()) == count_complexity(tiny, tuple(image.shape)).total_macs


def test_a_backend_without_a_profile(detector):
    with pytest.raises(DeployError, match='TensorRT cannot be profiled.*\n.*\nFix: measure it without --parts'):
        profile_parts('tensorrt', detector, detector, FEEDS)


def test_engines_by_parts(plain_segmentor, tmp_path, monkeypatch):
    folder = plain_segmentor(layers=4)
    rows = benchmark_engine(
        [str(folder)],
        tmp_path,
        size='24x24',
        parts=True,
        busy_ok=True,
        threads=1,
        device='cpu',
        warmup_runs=1,
        min_runs=3,
        min_seconds=0.0,
        max_seconds=3.0,
    )
    row = rows[-1]
    assert row['status'] == 'OK', row['reason']
    assert row['macs'] == (3 * 32 + 2 * 32 * 32 + 32 * 3) * 9 * 24 * 24 == sum(row['extra']['parts_macs'].values())
    assert row['limit']['share'] > 0 and list(row['parts_ms']) == list(row['extra']['parts_macs'])
    assert row['extra']['flavour'] == 'native'
