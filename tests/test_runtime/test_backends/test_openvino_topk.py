"""OpenVINO chooses and orders equal values as ONNX says: against NumPy's stable sort."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mmtrtvit.runtime.backends import open_session
from mmtrtvit.runtime.backends.openvino import save_ir


def graph(rank: int = 2, axis: int = -1, largest: int = 1) -> onnx.ModelProto:
    """A ``TopK`` of the last axis of an input of any size, with K as a second input."""
    sides = [f'side{number}' for number in range(rank)]
    node = helper.make_node('TopK', ['scores', 'k'], ['values', 'indices'], axis=axis, largest=largest)
    inputs = [
        helper.make_tensor_value_info('scores', TensorProto.FLOAT, sides),
        helper.make_tensor_value_info('k', TensorProto.INT64, [1]),
    ]
    outputs = [
        helper.make_tensor_value_info('values', TensorProto.FLOAT, None),
        helper.make_tensor_value_info('indices', TensorProto.INT64, None),
    ]
    return helper.make_model(
        helper.make_graph([node], 'selection', inputs, outputs), opset_imports=[helper.make_opsetid('', 17)]
    )


def expected(scores: np.ndarray, k: int, largest: bool = True) -> np.ndarray:
    return np.argsort(-scores if largest else scores, axis=-1, kind='stable')[..., :k]


@pytest.fixture(scope='module', params=['onnx', 'xml'])
def session(request, tmp_path_factory):
    path = tmp_path_factory.mktemp('topk') / 'end2end.onnx'
    onnx.save(graph(), path)
    if request.param == 'xml':
        save_ir(path, path.with_suffix('.xml'))
    return open_session('openvino', path.with_suffix(f'.{request.param}'), threads=1)


@pytest.mark.parametrize(
    'shape, k, levels',
    [
        ((1, 1), 1, 1),
        ((1, 7), 7, 1),  # all equal, all taken
        ((2, 300), 20, 1),  # all equal
        ((2, 300), 20, 3),
        ((3, 300), 300, 40),
        ((1, 5000), 1000, 100),  # equals at the end and within
        ((2, 5000), 100, 10**6),  # hardly any
        ((1, 80000), 1000, 500),
    ],
    ids=str,
)
def test_the_first_of_equal_values_wins(session, shape, k, levels):
    scores = np.random.default_rng(0).integers(0, levels, shape).astype(np.float32) / levels - 0.3
    found = session({'scores': scores, 'k': np.array([k])})
    order = expected(scores, k)
    assert found['indices'].dtype == np.int64
    assert np.array_equal(found['indices'], order)
    assert np.array_equal(found['values'], np.take_along_axis(scores, order, -1))


def test_places_that_were_left_out_are_equal_too(session):
    scores = np.full((2, 50), -1.0, np.float32)  # as suppression leaves them
    scores[0, [40, 3]], scores[1, 7] = (0.5, 0.5), 0.2
    assert np.array_equal(
        session({'scores': scores, 'k': np.array([5])})['indices'], [[3, 40, 0, 1, 2], [7, 0, 1, 2, 3]]
    )


@pytest.mark.parametrize('options', [dict(axis=0), dict(largest=0), dict(rank=3, axis=1)], ids=str)
def test_other_selections_are_right_as_well(tmp_path, options):
    onnx.save(graph(**options), tmp_path / 'end2end.onnx')
    rank, axis = options.get('rank', 2), options.get('axis', -1)
    scores = np.random.default_rng(0).integers(0, 4, (30, 40, 5)[:rank]).astype(np.float32)
    found = open_session('openvino', tmp_path / 'end2end.onnx', threads=1)({'scores': scores, 'k': np.array([10])})
    order = expected(np.moveaxis(scores, axis, -1), 10, bool(options.get('largest', 1)))
    assert np.array_equal(found['indices'], np.moveaxis(order, -1, axis))


def test_bfloat16_selects_what_is_there(tmp_path):
    import openvino

    if 'BF16' not in openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES'):
        pytest.skip('this CPU has no bfloat16 arithmetic')
    model = graph()
    weight = np.random.default_rng(1).normal(size=(64, 3000)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, 'weight'))
    model.graph.node.insert(0, helper.make_node('MatMul', ['features', 'weight'], ['scores']))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info('features', TensorProto.FLOAT, ['batch', 64]))
    onnx.save(model, tmp_path / 'end2end.onnx')
    features = np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)
    session = open_session('openvino', tmp_path / 'end2end.onnx', threads=1, precision='bf16')
    found = session({'features': features, 'k': np.array([500])})
    scores = features @ weight
    chosen = np.take_along_axis(scores, found['indices'], -1)
    assert all(len(set(row)) == 500 for row in found['indices'])
    assert np.abs(chosen - found['values']).max() < 0.05 * np.abs(scores).max()
    assert chosen.min() > np.sort(scores)[:, -500].min() - 0.05 * np.abs(scores).max()
