"""FP16 and BF16: what is half precision and what is not, few casts, the same results, nothing lost silently."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from mmtrtvit.deploy.precision import (
    KEPT_OPERATORS,
    output_error,
    plan_half,
    run_graph,
    to_bf16,
    to_fp16,
    to_int8,
    weights_out_of_range,
)
from mmtrtvit.deploy.precision.graph import element_types, initializers, layers
from mmtrtvit.deploy.precision.half import DECIDES
from mmtrtvit.deploy.precision.rules import DECISIONS
from mmtrtvit.errors import ConfigError, DeployError

LAYERS = ('Conv', 'MatMul', 'Gemm')


def nodes_of(model, *operators):
    return [node for node in model.graph.node if node.op_type in operators]


def in_float32(model, node):
    types = element_types(model)
    return all(types[name] != TensorProto.FLOAT16 for name in (*node.input, *node.output) if name)


@pytest.fixture(scope='module')
def fp16(detector):
    return to_fp16(detector)


def test_inputs_and_outputs_stay_float32(detector, fp16):
    for model in (
        fp16,
        to_bf16(detector),
        to_fp16(to_int8(detector, [dict(image=np.ones((1, 3, 96, 96), np.float32))])),
    ):
        for ours, theirs in ((model.graph.input, detector.graph.input), (model.graph.output, detector.graph.output)):
            assert [value.name for value in ours] == [value.name for value in theirs]
            assert {value.type.tensor_type.elem_type for value in ours} == {TensorProto.FLOAT}


def test_layers_compute_in_half_with_weights_stored_in_half(detector, fp16):
    types, weights = element_types(fp16), initializers(fp16)
    found = [node for node in layers(fp16) if node.name != '/scores/Conv']
    assert len(found) == len(layers(detector)) - 1 > 20
    for node in found:
        assert {types[name] for name in (*node.input, *node.output)} == {TensorProto.FLOAT16}, node.name
        assert any(name in weights and weights[name].dtype == np.float16 for name in node.input)
    floats = sum(
        array.nbytes for name, array in weights.items() if array.dtype == np.float32 and not name.startswith('scores.')
    )
    halves = sum(array.nbytes for array in weights.values() if array.dtype == np.float16)
    assert floats < 0.05 * halves


def test_delicate_operators_stay_in_float32(fp16):
    found = nodes_of(fp16, *KEPT_OPERATORS)
    assert {'Softmax', 'Exp', 'TopK', 'GridSample'} <= {node.op_type for node in found}
    for node in found:
        assert in_float32(fp16, node), node.name


def test_layer_norms_take_half_and_compute_in_float32(fp16, graph_of):
    """``stash_type`` is 1 by default. Squares of these values leave the range of FP16."""
    types = element_types(fp16)
    found = nodes_of(fp16, 'LayerNormalization')
    assert found and all(types[name] == TensorProto.FLOAT16 for node in found for name in (*node.input, node.output[0]))
    nodes = [
        helper.make_node('MatMul', ['x', 'w'], ['a'], name='layer'),
        helper.make_node('LayerNormalization', ['a', 'scale', 'shift'], ['b'], name='norm'),
        helper.make_node('MatMul', ['b', 'w'], ['y'], name='last'),
    ]
    eye, ones = np.eye(8, dtype=np.float32), np.ones(8, np.float32)
    model = graph_of(nodes, dict(w=eye, scale=ones, shift=0 * ones), shape=('n', 8))
    feed = dict(x=np.random.default_rng(0).normal(0, 9000, (4, 8)).astype(np.float32))
    converted = to_fp16(model)
    assert plan_half(model).half == ('layer', 'norm', 'last')
    reference = run_graph(model, [feed])
    assert output_error(reference, run_graph(converted, [feed])) < 2e-3
    for level in ('ORT_DISABLE_ALL', 'ORT_ENABLE_ALL'):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        session = onnxruntime.InferenceSession(converted.SerializeToString(), options)
        assert output_error(reference, [dict(y=session.run(None, feed)[0])]) < 2e-3
    openvino = pytest.importorskip('openvino')
    compiled = openvino.Core().compile_model(openvino.Core().read_model(converted.SerializeToString()), 'CPU')
    assert output_error(reference, [dict(y=compiled(feed)[0])]) < 2e-3


def test_layers_whose_values_are_sorted_or_compared_stay_in_float32(detector, fp16):
    plan = plan_half(detector)
    assert {name for name, reason in plan.kept.items() if reason == DECIDES} == {'/scores/Conv'}
    (scores,) = (node for node in layers(fp16) if node.name == '/scores/Conv')
    assert in_float32(fp16, scores)


@pytest.mark.parametrize('operator', sorted(DECISIONS - {'NonMaxSuppression', 'TopK'}))
def test_every_comparison_counts(graph_of, operator):
    nodes = [
        helper.make_node('MatMul', ['x', 'w'], ['a'], name='tower'),
        helper.make_node('MatMul', ['a', 'w'], ['logits'], name='scores'),
        helper.make_node('MatMul', ['a', 'w'], ['mask'], name='masks'),
        helper.make_node('Sigmoid', ['logits'], ['p'], name='sigmoid'),
        helper.make_node(operator, ['p'] if operator.startswith('Arg') else ['p', 'half'], ['d'], name='decision'),
        helper.make_node('Cast', ['d'], ['y'], name='cast', to=TensorProto.FLOAT),
    ]
    constants = dict(w=np.eye(3, dtype=np.float32), half=np.float32(0.5))
    plan = plan_half(graph_of(nodes, constants, outputs=('y', 'mask'), shape=(3, 3)))
    assert plan.half == ('tower', 'masks') and plan.kept['scores'] == DECIDES


def test_the_rules_are_documented(root):
    text = (root / 'docs' / 'precision.md').read_text()
    assert all(f'`{operator}`' in text for operator in KEPT_OPERATORS)


def test_nothing_is_computed_in_half_behind_the_last_layers(fp16):
    for operator in ('Sigmoid', 'Tanh'):
        found = nodes_of(fp16, operator)
        assert found and all(in_float32(fp16, node) for node in found)


def test_the_original_is_left_alone_and_names_stay(detector, fp16):
    before = detector.SerializeToString()
    assert to_fp16(detector).SerializeToString() == fp16.SerializeToString()
    assert detector.SerializeToString() == before
    names = {node.name for node in fp16.graph.node}
    assert {node.name for node in detector.graph.node if node.op_type not in ('Constant', 'Identity')} <= names


def test_the_results_are_the_same_but_for_rounding(detector, fp16, images):
    reference = run_graph(detector, images)
    assert 0 < output_error(reference, run_graph(fp16, images)) < 0.01
    assert 0 < output_error(reference, run_graph(to_bf16(detector), images)) < 0.1
    session = onnxruntime.InferenceSession(fp16.SerializeToString(), providers=['CPUExecutionProvider'])
    for feed, ours in zip(images, reference):
        plain = dict(zip(ours, session.run(None, feed)))
        assert output_error([ours], [plain]) < 0.01


def test_no_cast_is_in_vain(detector, fp16):
    before = {node.name for node in nodes_of(detector, 'Cast')}
    casts = [node for node in nodes_of(fp16, 'Cast') if node.name not in before]
    sources = [(node.input[0], node.attribute[0].i) for node in casts]
    assert len(set(sources)) == len(sources), 'a tensor is cast twice to the same type'
    given = {node.output[0] for node in casts}
    assert not given & {source for source, _ in sources}, 'a cast of a cast'
    types = element_types(fp16)
    assert all(types[node.input[0]] != types[node.output[0]] for node in casts)
    # image, 2 to and fro for each Softmax, scores and sizes, map and samples of GridSample, classes
    delicate = len(nodes_of(fp16, 'Softmax')) - 1
    assert len(casts) <= 1 + 2 * delicate + 2 + 2 + 1


def test_what_moves_float32_values_between_float32_nodes_is_not_cast(graph_of):
    nodes = [
        helper.make_node('Softmax', ['x'], ['a'], name='first'),
        helper.make_node('Transpose', ['a'], ['b'], name='move', perm=[1, 0]),
        helper.make_node('Add', ['b', 'one'], ['c'], name='light'),
        helper.make_node('Softmax', ['c'], ['d'], name='second'),
        helper.make_node('MatMul', ['d', 'w'], ['y'], name='layer'),
    ]
    model = graph_of(nodes, dict(w=np.eye(3, dtype=np.float32), one=np.float32(1)), shape=(3, 3))
    assert plan_half(model).half == ('layer',)
    assert len(nodes_of(to_fp16(model), 'Cast')) == 2


def test_what_moves_half_values_is_cast_late(graph_of):
    nodes = [
        helper.make_node('MatMul', ['x', 'w'], ['a'], name='layer'),
        helper.make_node('Gather', ['a', 'row'], ['b'], name='move'),
        helper.make_node('Sigmoid', ['b'], ['y'], name='score'),
    ]
    model = graph_of(nodes, dict(w=np.eye(3, dtype=np.float32), row=np.array([0])), shape=(3, 3))
    assert plan_half(model).half == ('layer', 'move')


def test_an_output_that_is_read_inside_as_well(graph_of):
    nodes = [
        helper.make_node('MatMul', ['x', 'w'], ['y'], name='first'),
        helper.make_node('MatMul', ['y', 'w'], ['z'], name='second'),
        helper.make_node('Add', ['z', 'w'], ['sum'], name='sum'),
    ]
    w = np.arange(9, dtype=np.float32).reshape(3, 3)
    model = graph_of(nodes, dict(w=w), outputs=('y', 'sum'), shape=(3, 3))
    converted = to_fp16(model)
    feed = dict(x=np.eye(3, dtype=np.float32))
    found = run_graph(converted, [feed])[0]
    np.testing.assert_array_equal(found['y'], w)
    np.testing.assert_array_equal(found['sum'], w @ w + w)
    # read in both precisions: stored in both
    assert sorted(array.dtype.name for array in initializers(converted).values()) == ['float16', 'float32']


def test_coordinates_and_index_arithmetic_stay(graph_of):
    nodes = [
        helper.make_node('MatMul', ['x', 'w'], ['a'], name='layer'),
        helper.make_node('Shape', ['a'], ['shape'], name='shape'),
        helper.make_node('Cast', ['shape'], ['size'], name='size', to=TensorProto.FLOAT),
        helper.make_node('Div', ['size', 'two'], ['share'], name='share'),
        helper.make_node('ReduceMax', ['share'], ['factor'], name='factor', keepdims=0),
        helper.make_node('Mul', ['a', 'factor'], ['b'], name='scaled'),
        helper.make_node('MatMul', ['b', 'w'], ['y'], name='last'),
    ]
    model = graph_of(nodes, dict(w=np.eye(3, dtype=np.float32), two=np.float32(2)), shape=('n', 3))
    plan = plan_half(model)
    assert plan.half == ('layer', 'scaled', 'last')
    assert set(plan.kept) == {'size', 'share', 'factor'}


@pytest.mark.parametrize('value', [1e-12, 70000.0], ids=['vanishes', 'overflows'])
def test_a_constant_that_does_not_fit_keeps_its_node(graph_of, value):
    nodes = [
        helper.make_node('MatMul', ['x', 'w'], ['a'], name='first'),
        helper.make_node('Add', ['a', 'constant'], ['b'], name='delicate'),
        helper.make_node('MatMul', ['b', 'w'], ['y'], name='last'),
    ]
    model = graph_of(nodes, dict(w=np.eye(2, dtype=np.float32), constant=np.float32(value)), shape=(2, 2))
    plan = plan_half(model)
    assert plan.half == ('first', 'last')
    assert plan.kept == {'delicate': 'constant does not fit into fp16'}
    (weight,) = weights_out_of_range(model)
    assert (weight.name, weight.nodes, weight.largest) == ('constant', ('delicate',), pytest.approx(value))
    assert (weight.overflowing, weight.flushed) == ((0, 1) if value < 1 else (1, 0))
    found = run_graph(to_fp16(model), [dict(x=np.zeros((2, 2), np.float32))])[0]['y']
    # 1e-12 was added in float32 and vanishes after it; the sum of 70000 overflows where it is read in half precision
    assert not np.isfinite(found).any() if value > 1 else (found == 0).all()


def test_small_weights_beside_large_ones_are_reported_and_rounded(graph_of):
    w = np.array([[1.0, 1e-6], [1e-9, -np.inf]], np.float32)
    nodes = [helper.make_node('MatMul', ['x', 'w'], ['y'], name='layer')]
    model = graph_of(nodes, dict(w=w), shape=(2, 2))
    (weight,) = weights_out_of_range(model)
    assert (weight.size, weight.overflowing, weight.subnormal, weight.flushed) == (4, 0, 1, 1)
    assert plan_half(model).half == ('layer',)
    assert initializers(to_fp16(model))['w'].tolist() == w.astype(np.float16).tolist()


def test_layers_are_kept_by_name_and_by_module(detector):
    plan = plan_half(detector, ('/neck/Conv', '/backbone/stages.3.0'))
    asked = {name for name, reason in plan.kept.items() if reason == 'asked for'}
    assert '/neck/Conv' in asked
    inside = [node.name for node in nodes_of(detector, *LAYERS) if node.name.startswith('/backbone/stages.3.0/')]
    assert inside and set(inside) <= asked
    assert not any(name.startswith('/backbone/stages.3.1/') for name in asked)
    with pytest.raises(ConfigError, match='no node or module /nowhere'):
        to_fp16(detector, ('/neck', '/nowhere'))


def test_what_cannot_be_converted_is_refused(detector, fp16, graph_of):
    with pytest.raises(DeployError, match='half precision already'):
        to_fp16(fp16)
    branch = helper.make_graph(
        [helper.make_node('Abs', ['x'], ['z'])],
        'branch',
        [],
        [helper.make_tensor_value_info('z', TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node('ReduceMax', ['x'], ['most'], keepdims=0),
        helper.make_node('Cast', ['most'], ['c'], to=TensorProto.BOOL),
        helper.make_node('If', ['c'], ['y'], name='choice', then_branch=branch, else_branch=branch),
    ]
    with pytest.raises(DeployError, match="subgraph .node 'choice', If"):
        to_fp16(graph_of(nodes, {}))


def test_bf16_needs_no_range(detector, graph_of):
    nodes = [helper.make_node('MatMul', ['x', 'w'], ['y'], name='layer')]
    model = graph_of(nodes, dict(w=np.float32([[1e30]])), shape=(1, 1))
    assert plan_half(model).half == ()
    converted = to_bf16(model)
    assert run_graph(converted, [dict(x=np.ones((1, 1), np.float32))])[0]['y'][0, 0] == pytest.approx(1e30, rel=0.01)
    assert {tensor.data_type for tensor in converted.graph.initializer} == {TensorProto.BFLOAT16}
    onnx.checker.check_model(to_bf16(detector), full_check=True)
