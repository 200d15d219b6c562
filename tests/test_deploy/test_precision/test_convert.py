"""An exported file is converted in place to the precision that was asked for, or left as it was with a reason."""

import collections
import dataclasses
import json
import re

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from mmtrtvit.deploy.precision.convert import COMPARED, SHOWN, convert_precision
from mmtrtvit.deploy.precision.graph import element_types, layers
from mmtrtvit.deploy.precision.int8 import int8_candidates, shortcuts
from mmtrtvit.errors import ConfigError, DeployError
from mmtrtvit.runtime.backends import BACKENDS, Int8Form
from mmtrtvit.runtime.precisions import PRECISIONS


def not_called():
    raise AssertionError('no inputs are needed')


def types_of(model):
    """Element type to how many weights have it."""
    return collections.Counter(weight.data_type for weight in model.graph.initializer)


def float32_layers(path):
    """Layers that compute in float32. ONNX Runtime's CPU kernels hide overflow, the types of the graph do not."""
    model = onnx.load(path)
    types = element_types(model)
    return {node.name for node in layers(model) if types[node.output[0]] == TensorProto.FLOAT}


@pytest.fixture
def path(detector, tmp_path):
    onnx.save(detector, tmp_path / 'end2end.onnx')
    return tmp_path / 'end2end.onnx'


@pytest.mark.parametrize(
    'precision, backend, said',
    [
        ('fp32', 'onnxruntime', 'the graph as exported'),
        ('fp32', 'openvino', 'the graph as exported'),
        ('fp32', 'tensorrt-rtx', 'the graph as exported'),
    ],
)
def test_what_needs_no_conversion_is_left_as_it_was(path, precision, backend, said):
    before = path.read_bytes()
    found = convert_precision(path, precision, backend=backend, feeds=not_called)
    assert path.read_bytes() == before
    assert found.to_dict() == {'summary': said}


def test_bf16_of_openvino_is_compared_and_the_graph_left_as_it_was(path, images):
    before = path.read_bytes()
    found = convert_precision(path, 'bf16', backend='openvino', feeds=lambda: images)
    assert path.read_bytes() == before
    assert found.summary == 'by a setting of OpenVINO'
    assert {tensor.dtype for tensor in found.tensors.tensors} >= {'bfloat16'}
    assert 0 < max(tensor.max_relative for tensor in found.tensors.tensors if tensor.comparable) < 0.5


@pytest.mark.parametrize('precision, backend', [('fp32', 'onnxruntime'), ('bf16', 'openvino')])
@pytest.mark.parametrize(
    'options, named', [(dict(nodes_to_exclude=['/neck']), '--nodes-to-exclude /neck'), (dict(search=True), '--search')]
)
def test_layers_are_kept_only_where_others_are_converted(path, precision, backend, options, named):
    with pytest.raises(ConfigError, match=f'{named} with --backend {backend} --precision {precision}'):
        convert_precision(path, precision, backend=backend, feeds=not_called, **options)


CASES = {
    ('fp16', 'onnxruntime'): {TensorProto.FLOAT16},
    ('fp16', 'tensorrt-rtx'): {TensorProto.FLOAT16},
    ('bf16', 'tensorrt'): {TensorProto.BFLOAT16},
    ('int8', 'onnxruntime'): {TensorProto.INT8},
    ('int8', 'openvino'): {TensorProto.INT8},
    ('int8', 'tensorrt'): {TensorProto.INT8, TensorProto.FLOAT16},
    ('int8', 'tensorrt-rtx'): {TensorProto.INT8, TensorProto.FLOAT16},
}
"""What is asked for to the types that weights are stored in besides float32."""


@pytest.mark.parametrize('precision, backend', CASES)
def test_the_graph_is_converted_and_its_interface_is_not(path, detector, images, precision, backend):
    found = convert_precision(path, precision, backend=backend, feeds=lambda: images)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    for ours, theirs in ((model.graph.input, detector.graph.input), (model.graph.output, detector.graph.output)):
        assert [value.name for value in ours] == [value.name for value in theirs]
        assert {value.type.tensor_type.elem_type for value in ours} == {TensorProto.FLOAT}
    small = {TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8}
    # a kept layer or scale may be float32; zero points alone are no weights
    stored = {kind for kind, count in types_of(model).items() if kind in small and count > 2}
    assert stored == CASES[precision, backend]
    assert f'{len(images)} images' in found.summary if precision == 'int8' else 'nodes' in found.summary


@pytest.mark.parametrize('precision', ['fp16', 'int8'])
def test_what_is_said_is_counted_in_the_file(path, images, precision):
    found = convert_precision(path, precision, backend='onnxruntime', feeds=lambda: images)
    model = onnx.load(path)
    count = int(found.summary.split()[0])
    if precision == 'int8':
        quantised = {node.output[0] for node in model.graph.node if node.op_type == 'DequantizeLinear'}
        assert count == sum(node.input[1] in quantised for node in layers(model)) > 10
    else:
        types = element_types(model)
        halves = [node for node in model.graph.node if types.get(node.output[0]) == TensorProto.FLOAT16]
        assert count == sum(node.op_type != 'Cast' for node in halves) > 10
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    assert all(np.isfinite(array).all() for array in session.run(None, images[1]))


def test_the_report_is_of_the_worst_tensors(path, images):
    found = convert_precision(path, 'fp16', backend='onnxruntime', feeds=lambda: images)
    data = json.loads(json.dumps(found.to_dict()))
    assert data['summary'] == found.summary and 'search' not in data
    shown = data['tensors']['tensors']
    assert len(shown) == SHOWN < data['tensors']['of'] == len(found.tensors.tensors)
    assert [tensor['tensor'] for tensor in shown] == [tensor.tensor for tensor in found.tensors.tensors[:SHOWN]]
    assert data['tensors']['feeds'] == min(COMPARED, len(images))


def test_a_layer_to_keep_stays_in_float32(path, detector, images):
    name = layers(detector)[3].name
    convert_precision(path, 'fp16', backend='onnxruntime', feeds=lambda: images, nodes_to_exclude=[name])
    assert float32_layers(path) == {name, '/scores/Conv'}


@pytest.mark.parametrize('precision', ['fp16', 'int8'])
def test_a_layer_to_keep_that_is_not_there_changes_nothing(path, images, precision):
    before = path.read_bytes()
    with pytest.raises(ConfigError, match='no/such/layer'):
        convert_precision(
            path, precision, backend='onnxruntime', feeds=lambda: images, nodes_to_exclude=['no/such/layer']
        )
    assert path.read_bytes() == before


@pytest.fixture
def overflowing(graph_of, tmp_path):
    """A product that leaves the range of FP16, one that brings it back, and one more."""
    weights = {'large': np.full((4, 4), 3e4), 'small': np.full((4, 4), 1e-5), 'last': np.eye(4)}
    nodes = [
        helper.make_node('MatMul', ['x', 'large'], ['a'], name='/up/MatMul'),
        helper.make_node('MatMul', ['a', 'small'], ['b'], name='/down/MatMul'),
        helper.make_node('MatMul', ['b', 'last'], ['y'], name='/last/MatMul'),
    ]
    weights = {name: weight.astype(np.float32) for name, weight in weights.items()}
    path = tmp_path / 'end2end.onnx'
    onnx.save(graph_of(nodes, weights, shape=('n', 4)), path)
    return path, lambda: [dict(x=np.ones((2, 4), np.float32))]


def test_overflow_is_refused_with_the_layer_named(overflowing):
    path, feeds = overflowing
    before = path.read_bytes()
    with pytest.raises(
        DeployError,
        match=r'overflow in FP16: /up/MatMul \(MatMul, float16, up to 1\.2e\+05\)[\s\S]*--nodes-to-exclude /up/',
    ):
        convert_precision(path, 'fp16', backend='onnxruntime', feeds=feeds)
    assert path.read_bytes() == before


@pytest.mark.parametrize('precision, backend', [('fp16', 'onnxruntime'), ('int8', 'tensorrt-rtx')])
def test_what_is_named_there_mends_it(overflowing, precision, backend):
    path, feeds = overflowing
    with pytest.raises(DeployError, match='overflow') as error:
        convert_precision(path, precision, backend=backend, feeds=feeds)
    excluded = re.search(r'--nodes-to-exclude ([^;]+);', str(error.value)).group(1).split()
    convert_precision(path, precision, backend=backend, feeds=feeds, nodes_to_exclude=excluded)
    assert {'/up/MatMul', '/down/MatMul'} <= float32_layers(path)
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    np.testing.assert_allclose(session.run(None, feeds()[0])[0], 4.8, rtol=0.01)


def test_overflow_is_found_in_any_of_the_images(overflowing):
    path, feeds = overflowing
    (image,) = feeds()
    dark = [{'x': image['x'] / 100}] * (COMPARED - 1)
    before = path.read_bytes()
    with pytest.raises(DeployError, match='overflow in FP16: /up/MatMul'):
        convert_precision(path, 'fp16', backend='onnxruntime', feeds=lambda: [*dark, image])
    assert path.read_bytes() == before
    convert_precision(path, 'fp16', backend='onnxruntime', feeds=lambda: dark)


def test_int8_of_engines_keeps_layers_in_float32(path, detector, images):
    name = layers(detector)[3].name
    convert_precision(path, 'int8', backend='tensorrt', feeds=lambda: images, nodes_to_exclude=[name])
    assert name in float32_layers(path)


@pytest.mark.parametrize('asked', [False, True])
def test_shortcuts_are_int8_where_the_backend_asks_for_it(path, detector, images, asked, monkeypatch):
    backend = dataclasses.replace(BACKENDS['onnxruntime'], int8=Int8Form(shortcuts=asked))
    monkeypatch.setitem(BACKENDS, 'onnxruntime', backend)
    expected = shortcuts(detector, int8_candidates(detector))
    convert_precision(path, 'int8', backend='onnxruntime', feeds=lambda: images[:1])
    model = onnx.load(path)
    made_by = {name: node.op_type for node in model.graph.node for name in node.output}
    adds = {
        node.name: made_by.get(node.input[expected[node.name]]) for node in model.graph.node if node.name in expected
    }
    assert adds.keys() == expected.keys() and expected
    assert {source == 'DequantizeLinear' for source in adds.values()} == {asked}


@pytest.mark.slow
def test_a_search_may_keep_every_layer_from_int8(path, images, monkeypatch):
    monkeypatch.setitem(PRECISIONS, 'int8', dataclasses.replace(PRECISIONS['int8'], search_error=-1.0))
    found = convert_precision(path, 'int8', backend='onnxruntime', feeds=lambda: images[:1], search=True)
    assert found.search.met is False
    assert all(node.op_type != 'QuantizeLinear' for node in onnx.load(path).graph.node)


def test_bf16_has_the_range(overflowing):
    path, feeds = overflowing
    found = convert_precision(path, 'bf16', backend='tensorrt', feeds=feeds)
    assert not found.tensors.overflowing


def test_a_search_keeps_what_overflows(overflowing):
    path, feeds = overflowing
    found = convert_precision(path, 'fp16', backend='onnxruntime', feeds=feeds, search=True)
    data = json.loads(json.dumps(found.to_dict()))['search']
    assert data['met'] is True and data['error'] <= data['tolerance'] == PRECISIONS['fp16'].search_error
    assert any(block['block'] == '/up/MatMul' and 'overflow' in block['reason'] for block in data['added'])
    assert not found.tensors.overflowing
    assert f'{len(data["added"])} blocks kept in FP32 by the search' in found.summary
    assert '/up/MatMul' in float32_layers(path)
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    np.testing.assert_allclose(session.run(None, feeds()[0])[0], 4.8, rtol=0.02)
