"""Nodes that cannot be built are found before a build, all of them, by their names."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mmtrtvit.deploy.engines.tensorrt_graph import graph_inputs, is_typed, refuse_nodes, unsupported_nodes
from mmtrtvit.errors import DeployError
from mmtrtvit.runtime.backends.tensorrt.support import PACKAGES


def topk(k, constant='initializer'):
    value = onnx.numpy_helper.from_array(np.array([k], np.int64), 'k')
    nodes = [helper.make_node('TopK', ['x', 'k'], ['v', 'i'], name='/rpn_head/TopK')]
    initializers = []
    if constant == 'initializer':
        initializers = [value]
    elif constant == 'node':
        nodes.insert(0, helper.make_node('Constant', [], ['k'], value=value))
    inputs = [helper.make_tensor_value_info('x', TensorProto.FLOAT, [1, 9000])]
    if constant == 'input':
        inputs.append(helper.make_tensor_value_info('k', TensorProto.INT64, [1]))
    outputs = [helper.make_tensor_value_info('v', TensorProto.FLOAT, [1, None])]
    return helper.make_model(helper.make_graph(nodes, 'g', inputs, outputs, initializers))


@pytest.mark.parametrize('constant', ['initializer', 'node'])
@pytest.mark.parametrize('package', list(PACKAGES))
def test_topk_above_the_limit(package, constant):
    assert unsupported_nodes(topk(3840, constant), package) == []
    (bad,) = unsupported_nodes(topk(3841, constant), package)
    assert bad.name == '/rpn_head/TopK' and bad.operator == 'TopK' and '3840' in bad.reason


def test_topk_of_a_number_that_is_not_known_is_left_to_the_library():
    assert unsupported_nodes(topk(9000, 'input'), 'tensorrt') == []


def test_every_bad_node_is_named_also_in_subgraphs():
    inner = helper.make_graph(
        [helper.make_node('NonZero', ['x'], ['y'], name='/inner/NonZero')],
        'inner',
        [],
        [helper.make_tensor_value_info('y', TensorProto.INT64, [2, None])],
    )
    nodes = [
        helper.make_node('NonMaxSuppression', ['b', 's'], ['n'], name='/rpn_head/NonMaxSuppression'),
        helper.make_node('If', ['c'], ['y2'], then_branch=inner, else_branch=inner, name='/If'),
        helper.make_node('RoiAlign', ['x', 'b', 'n'], ['r'], name='/roi_head/RoiAlign'),
        helper.make_node('Relu', ['x'], ['relu'], name='/Relu'),
    ]
    model = helper.make_model(helper.make_graph(nodes, 'g', [], []))
    assert unsupported_nodes(model, 'tensorrt') == []
    bad = unsupported_nodes(model, 'tensorrt_rtx')
    assert [node.operator for node in bad] == ['NonMaxSuppression', 'NonZero', 'NonZero', 'RoiAlign']
    with pytest.raises(DeployError) as caught:
        refuse_nodes(bad, 'tensorrt_rtx')
    for name in ('/rpn_head/NonMaxSuppression', '/inner/NonZero', '/roi_head/RoiAlign', '--flavour portable'):
        assert name in str(caught.value)
    refuse_nodes([], 'tensorrt')


def test_inputs_with_their_free_sides():
    model = topk(5, 'input')
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = 'B'
    assert graph_inputs(model) == {'x': [-1, 9000], 'k': [1]}


@pytest.mark.parametrize('kind, typed', [(np.float16, True), (np.int8, True), (np.float32, False), (np.int64, False)])
def test_graphs_that_compute_in_other_types_than_float32(kind, typed):
    model = topk(5)
    assert not is_typed(model)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((4, 4), kind), 'w'))
    assert is_typed(model) is typed


def test_a_quantised_graph_is_typed():
    model = topk(5)
    model.graph.node.append(helper.make_node('QuantizeLinear', ['x', 's', 'z'], ['q']))
    assert is_typed(model)
