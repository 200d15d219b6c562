"""Groups of layers, and the bytes that they move, by hand."""

import numpy as np
import pytest

from mmtrtvit.roofline.autocast import autocast
from mmtrtvit.roofline.fusion import COMPILERS, fuse
from mmtrtvit.roofline.layers import read_graph

from .conftest import make_model


def operators(model, compiler):
    return [group.operators for group in fuse(read_graph(model), COMPILERS[compiler])]


def elements(group):
    return sum(tensor.elements for tensor in group.reads), sum(tensor.elements for tensor in group.writes)


def test_convolutions(conv_model):
    assert operators(conv_model, 'tensorrt') == ['Conv+BatchNormalization+Relu', 'Conv+Add']
    assert operators(conv_model, 'eager') == ['Conv', 'BatchNormalization', 'Relu', 'Conv', 'Add']
    assert operators(conv_model, 'inductor') == ['Conv', 'BatchNormalization+Relu', 'Conv', 'Add']


def test_bytes_of_groups(conv_model):
    first, second = fuse(read_graph(conv_model), COMPILERS['tensorrt'])
    # image, weights, four vectors that are one tensor; the sum reads the map that the convolution reads only once
    assert elements(first) == (192 + 108 + 4, 64)
    assert elements(second) == (64 + 36, 64)


def test_attention(attention_model):
    found = operators(attention_model, 'tensorrt')
    assert 'Mul+Mul+MatMul+Softmax+MatMul' in found
    assert 'MatMul+Add+Div+Erf+Add+Mul+Mul' in found
    assert 'MatMul+Softmax+MatMul' not in ' '.join(operators(attention_model, 'tensorrt-8.0'))


def test_attention_of_pytorch_is_one_kernel_where_both_operands_are_scaled(attention_model):
    """As the exporter writes ``scaled_dot_product_attention``."""
    assert 'Mul+Mul+MatMul+Softmax+MatMul' in operators(attention_model, 'eager')
    for node in attention_model.graph.node:
        if node.name == 'scores':
            node.input[1] = 'k'
    found = operators(attention_model, 'eager')
    assert {'MatMul', 'Softmax'} <= set(found) and 'MatMul+Softmax+MatMul' not in ' '.join(found)
    assert 'Mul+MatMul+Softmax+MatMul' in operators(attention_model, 'tensorrt')


def test_views_of_pytorch_move_nothing(attention_model):
    """Heads and tokens are strides; attention writes its heads side by side. What merges other axes copies."""
    found = operators(attention_model, 'eager')
    assert 'Transpose' not in found and 'Reshape' not in found
    assert operators(attention_model, 'tensorrt').count('Transpose') == 4
    merged = make_model(
        [
            ('Transpose', ['image'], 't', dict(perm=[0, 1, 3, 2])),
            ('Flatten', ['t'], 'f', {}),
            ('Relu', ['f'], 'out', {}),
        ]
    )
    assert operators(merged, 'eager') == ['Flatten', 'Relu']


def test_gelu_is_one_kernel_everywhere(attention_model):
    assert 'Div+Erf+Add+Mul+Mul' in operators(attention_model, 'eager')


def test_gelu_by_a_hyperbolic_tangent_is_one_kernel_everywhere():
    model = make_model(
        [
            ('Relu', ['image'], 'x', {}),
            ('Mul', ['x', 'x'], 'square', {}),
            ('Mul', ['square', 'x'], 'cube', {}),
            ('Mul', ['cube', 'c'], 'part', {}),
            ('Add', ['x', 'part'], 'sum', {}),
            ('Mul', ['sum', 'c'], 'inner', {}),
            ('Tanh', ['inner'], 'tanh', {}),
            ('Add', ['tanh', 'c'], 'more', {}),
            ('Mul', ['x', 'c'], 'half', {}),
            ('Mul', ['half', 'more'], 'out', {}),
        ],
        c=np.float32(0.5),
    )
    relu, gelu = fuse(read_graph(model), COMPILERS['eager'])
    assert gelu.operators == 'Mul+Mul+Mul+Add+Mul+Tanh+Add+Mul+Mul' and elements(gelu) == (193, 192)


def test_joined_tensors_cost_nothing_in_tensorrt():
    model = make_model(
        [('Relu', ['image'], 'a', {}), ('Concat', ['a', 'image'], 'b', dict(axis=1)), ('Sigmoid', ['b'], 'out', {})]
    )
    assert operators(model, 'tensorrt') == ['Relu', 'Sigmoid']
    assert operators(model, 'openvino') == ['Relu', 'Concat', 'Sigmoid']


def test_layers_of_weights_alone_run_once():
    model = make_model([('Neg', ['w'], 'v', {}), ('Add', ['image', 'v'], 'out', {})], w=(1, 3, 1, 1))
    assert operators(model, 'onnxruntime') == ['Add'] and operators(model, 'eager') == ['Neg', 'Add']


def test_a_tensor_that_others_need_ends_a_chain_or_is_written_too():
    model = make_model(
        [
            ('Relu', ['image'], 'a', {}),
            ('Sigmoid', ['a'], 'b', {}),
            ('Conv', ['a', 'w'], 'c', {}),
            ('Add', ['b', 'c'], 'out', {}),
        ],
        w=(3, 3, 1, 1),
    )
    assert operators(model, 'tensorrt') == ['Relu', 'Sigmoid', 'Conv+Add']
    first = fuse(read_graph(model), COMPILERS['inductor'])[0]
    assert first.operators == 'Relu+Sigmoid' and elements(first) == (192, 384)


@pytest.mark.parametrize('compiler', ['eager', 'inductor'])
def test_autocast_adds_casts(compiler):
    """To the norm, which is in float32, and from it to the product; a parameter of float32 makes a product float32."""
    model = make_model(
        [
            ('MatMul', ['image', 'w'], 'a', {}),
            ('LayerNormalization', ['a', 'one', 'one'], 'b', dict(axis=-1)),
            ('MatMul', ['b', 'w'], 'c', {}),
            ('Mul', ['c', 'one'], 'out', {}),
        ],
        image=(1, 4, 8),
        w=(8, 8),
        one=(8,),
    )
    graph = autocast(read_graph(model))
    assert [layer.operator for layer in graph.layers] == [
        'MatMul',
        'Cast',
        'LayerNormalization',
        'Cast',
        'MatMul',
        'Mul',
    ]
    widths = {tensor.name: tensor.width for layer in graph.layers for tensor in layer.writes}
    assert widths == {'a': 2, 'a:4': 4, 'b': 4, 'b:2': 2, 'c': 2, 'out': 4}
    groups = [group.operators for group in fuse(graph, COMPILERS[compiler])]
    assert (
        groups
        == {
            'eager': ['MatMul', 'Cast', 'LayerNormalization', 'Cast', 'MatMul', 'Mul'],
            'inductor': ['MatMul', 'Cast+LayerNormalization+Cast', 'MatMul', 'Mul'],
        }[compiler]
    )
