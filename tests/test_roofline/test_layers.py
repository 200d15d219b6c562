"""Layers of a graph: multiply-accumulates counted by hand, shapes, and graphs that cannot be read."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from mmtrtvit.errors import ConfigError, DeployError
from mmtrtvit.roofline.layers import read_graph

from .conftest import make_model


def test_convolutions_by_hand(conv_model):
    graph = read_graph(conv_model)
    macs = {layer.name: layer.macs for layer in graph.layers}
    assert macs == dict(conv=4 * 4 * 4 * 27, norm=0, relu=0, depth=4 * 4 * 4 * 9, out=0)
    assert graph.macs == 1728 + 576 and graph.shape == (1, 3, 8, 8) and not graph.unknown
    depth = graph.layers[3].product
    assert (depth.m, depth.n, depth.k, depth.count) == (16, 1, 9, 4)
    assert [tensor.elements for tensor in graph.layers[0].reads] == [192, 108]


def test_attention_by_hand(attention_model):
    graph = read_graph(attention_model)
    products = {layer.name: layer.product for layer in graph.layers if layer.product}
    assert {name: one.macs for name, one in products.items()} == dict(
        scores=2 * 16 * 16 * 4, mixed=2 * 16 * 16 * 4, linear=16 * 8 * 24
    )
    assert products['linear'].shared and not products['scores'].shared and products['scores'].count == 2


@pytest.mark.parametrize(
    ('node', 'image', 'weights', 'macs'),
    [
        (('Gemm', ['image', 'w'], 'out', dict(transB=1)), (2, 6), dict(w=(5, 6)), 2 * 6 * 5),
        (
            ('ConvTranspose', ['image', 'w'], 'out', dict(strides=[2, 2])),
            (1, 3, 4, 4),
            dict(w=(3, 5, 2, 2)),
            16 * 3 * 20,
        ),
        (
            ('Einsum', ['image', 'w'], 'out', dict(equation='bhid,jd->bhij')),
            (1, 2, 4, 3),
            dict(w=(5, 3)),
            2 * 4 * 3 * 5,
        ),
    ],
)
def test_other_products_by_hand(node, image, weights, macs):
    assert read_graph(make_model([node], image, **weights)).macs == macs


def test_sizes_that_a_graph_computes():
    """The shape of a reshape made from that of the image; ONNX alone does not follow it through the arithmetic."""
    model = make_model(
        [
            ('Shape', ['image'], 'shape', {}),
            ('Gather', ['shape', 'sides'], 'hw', {}),
            ('ReduceProd', ['hw'], 'pixels', dict(keepdims=1, axes=[0])),
            ('Concat', ['front', 'pixels'], 'wanted', dict(axis=0)),
            ('Reshape', ['image', 'wanted'], 'flat', {}),
            ('Relu', ['flat'], 'out', {}),
        ],
        sides=np.array([2, 3]),
        front=np.array([1, 3]),
    )
    (relu,) = [layer for layer in read_graph(model).layers if layer.operator == 'Relu']
    assert relu.writes[0].shape == (1, 3, 64)


def open_model():
    model = make_model([('Conv', ['image', 'w'], 'out', {})], image=('batch', 3, 'height', 'width'), w=(4, 3, 1, 1))
    return model


def test_open_sizes_are_asked_for():
    with pytest.raises(ConfigError, match='leaves some open\nFix: give --shape'):
        read_graph(open_model())
    assert read_graph(open_model(), (1, 3, 5, 7)).macs == 35 * 12


def test_a_shape_that_contradicts_the_graph_is_refused(conv_model):
    with pytest.raises(ConfigError, match='does not fit'):
        read_graph(conv_model, (1, 3, 16, 16))
    assert read_graph(conv_model, (4, 3, 8, 8)).shape[0] == 1


def test_operators_that_cannot_be_predicted_are_named():
    model = make_model([('Relu', ['image'], 'a', {}), ('NonMaxSuppression', ['a', 'a'], 'out', {})], image=(1, 4, 4))
    assert read_graph(model).unknown == {'NonMaxSuppression': 1}


@pytest.mark.parametrize('content', [b'', b'not a graph'])
def test_a_file_that_is_not_a_graph_is_refused(tmp_path, content):
    path = tmp_path / 'x.onnx'
    path.write_bytes(content)
    with pytest.raises(DeployError, match='x.onnx is not an ONNX graph.*\nFix: name an ONNX file'):
        read_graph(path)
    with pytest.raises(DeployError, match='cannot be read'):
        read_graph(tmp_path / 'missing.onnx')


def test_weights_may_be_left_out(conv_model):
    """Without weights they are inputs; counts are the same."""
    before = read_graph(conv_model)
    for tensor in conv_model.graph.initializer:
        conv_model.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims))
    del conv_model.graph.initializer[:]
    after = read_graph(conv_model)
    assert [layer.product for layer in after.layers] == [layer.product for layer in before.layers]
    assert [[t.constant for t in layer.reads] for layer in after.layers] == [
        [t.constant for t in layer.reads] for layer in before.layers
    ]
