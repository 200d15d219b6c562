"""Small graphs, written node by node."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper


def make_model(nodes, image=(1, 3, 8, 8), output='out', **weights):
    """A model of nodes ``(operator, inputs, output, attributes)``; weights are given as shapes or arrays."""
    made = [
        helper.make_node(operator, inputs, [out], name=out, **attributes) for operator, inputs, out, attributes in nodes
    ]
    arrays = {
        name: np.ones(value, np.float32) if isinstance(value, tuple) else np.asarray(value)
        for name, value in weights.items()
    }
    graph = helper.make_graph(
        made,
        'small',
        [helper.make_tensor_value_info('image', TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)])


@pytest.fixture
def conv_model():
    """conv 3 -> 4 of 3x3 with stride 2, its norm, ReLU, depthwise 3x3, and the sum of both."""
    return make_model(
        [
            ('Conv', ['image', 'w'], 'conv', dict(strides=[2, 2], pads=[1, 1, 1, 1])),
            ('BatchNormalization', ['conv', 's', 's', 's', 's'], 'norm', {}),
            ('Relu', ['norm'], 'relu', {}),
            ('Conv', ['relu', 'd'], 'depth', dict(group=4, pads=[1, 1, 1, 1])),
            ('Add', ['depth', 'relu'], 'out', {}),
        ],
        w=(4, 3, 3, 3),
        s=(4,),
        d=(4, 1, 3, 3),
    )


@pytest.fixture
def attention_model():
    """16 tokens of 8 channels in 2 heads of 4: products, softmax, a linear layer with GELU."""
    heads = np.array([1, 16, 2, 4])
    return make_model(
        [
            ('Reshape', ['image', 'flat'], 'tokens', {}),
            ('Transpose', ['tokens'], 'x', dict(perm=[0, 2, 1])),
            ('LayerNormalization', ['x', 'one', 'one'], 'ln', dict(axis=-1)),
            ('Reshape', ['ln', 'heads'], 'h', {}),
            ('Transpose', ['h'], 'q', dict(perm=[0, 2, 1, 3])),
            ('Transpose', ['h'], 'k', dict(perm=[0, 2, 3, 1])),
            ('Mul', ['q', 'half'], 'qs', {}),
            ('Mul', ['k', 'half'], 'ks', {}),
            ('MatMul', ['qs', 'ks'], 'scores', {}),
            ('Softmax', ['scores'], 'weights', dict(axis=-1)),
            ('MatMul', ['weights', 'q'], 'mixed', {}),
            ('Transpose', ['mixed'], 'back', dict(perm=[0, 2, 1, 3])),
            ('Reshape', ['back', 'merged'], 'm', {}),
            ('MatMul', ['m', 'w'], 'linear', {}),
            ('Add', ['linear', 'bias'], 'biased', {}),
            ('Div', ['biased', 'root'], 'scaled', {}),
            ('Erf', ['scaled'], 'erf', {}),
            ('Add', ['erf', 'unit'], 'more', {}),
            ('Mul', ['biased', 'more'], 'gate', {}),
            ('Mul', ['gate', 'half'], 'out', {}),
        ],
        image=(1, 8, 4, 4),
        flat=np.array([1, 8, 16]),
        one=(8,),
        heads=heads,
        half=np.float32(0.5),
        merged=np.array([1, 16, 8]),
        w=(8, 24),
        bias=(24,),
        root=np.float32(2**0.5),
        unit=np.float32(1),
    )
