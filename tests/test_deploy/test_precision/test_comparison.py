"""Overflow is found and named, half precision is emulated tensor by tensor, and figures are what numpy says."""

import math

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from mmtrtvit.deploy.precision import compare_precision, emulate, run_graph, to_fp16, to_int8
from mmtrtvit.deploy.precision.graph import with_outputs

EYE = np.eye(4, dtype=np.float32)


@pytest.fixture(scope='module')
def squares(graph_of):
    """The square of 300 is beyond FP16, and divided again before the last layer: what comes out is harmless."""
    nodes = [
        helper.make_node('MatMul', ['x', 'w'], ['a'], name='/first/MatMul'),
        helper.make_node('Mul', ['a', 'a'], ['b'], name='/norm/Mul'),
        helper.make_node('Mul', ['b', 'small'], ['c'], name='/norm/Mul_1'),
        helper.make_node('MatMul', ['c', 'w'], ['y'], name='/last/MatMul'),
    ]
    return graph_of(nodes, dict(w=EYE, small=np.float32(1 / 256)), shape=('n', 4))


FEEDS = [
    dict(x=np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)),
    dict(x=np.array([[1.0, 300.0, -400.0, 0.1]], np.float32)),
]


def test_overflow_is_named(squares):
    report = compare_precision(squares, to_fp16(squares), FEEDS)
    worst = report.tensors[0]
    assert (worst.layer, worst.operator, worst.tensor, worst.dtype) == ('/norm/Mul', 'Mul', 'b', 'float16')
    assert (worst.overflow, worst.not_finite, worst.largest) == (2, 2, 160000.0)
    assert '/first/MatMul' not in {tensor.layer for tensor in report.overflowing}
    assert report.feeds == 2 and 'emulated' in report.to_dict()['method']


def test_onnx_runtime_by_itself_hides_it(squares):
    """Why the emulation is needed. When this fails, ONNX Runtime rounds: docs/precision.md has to say so."""
    session = onnxruntime.InferenceSession(to_fp16(squares).SerializeToString(), providers=['CPUExecutionProvider'])
    assert np.isfinite(session.run(None, FEEDS[1])[0]).all()
    assert not np.isfinite(run_graph(to_fp16(squares), FEEDS)[1]['y']).all()


def test_without_the_layer_nothing_overflows(squares):
    report = compare_precision(squares, to_fp16(squares, ('/norm',)), FEEDS)
    assert not report.overflowing
    assert np.isfinite([tensor.max_error for tensor in report.tensors]).all()


def test_overflow_in_a_float32_node_counts_where_it_is_cast(graph_of):
    nodes = [
        helper.make_node('MatMul', ['x', 'w'], ['a'], name='first'),
        helper.make_node('Pow', ['a', 'two'], ['b'], name='square'),
        helper.make_node('MatMul', ['b', 'w'], ['y'], name='last'),
    ]
    model = graph_of(nodes, dict(w=EYE, two=np.float32(2)), shape=('n', 4))
    found = {tensor.layer: tensor for tensor in compare_precision(model, to_fp16(model), FEEDS[1:]).overflowing}
    assert found['square'].overflow == 2


def test_every_tensor_is_rounded(squares):
    inside = with_outputs(emulate(to_fp16(squares)), ['a', 'b', 'c'], dict.fromkeys('abc', 1))
    x = FEEDS[0]['x'] * np.float32(1.2345678)
    found = run_graph(inside, [dict(x=x)])[0]
    a = x.astype(np.float16)
    b = (a.astype(np.float32) ** 2).astype(np.float16)
    c = (b.astype(np.float32) / 256).astype(np.float16)
    for name, expected in dict(a=a, b=b, c=c).items():
        np.testing.assert_array_equal(found[name], expected.astype(np.float32))


def test_figures(squares):
    report = compare_precision(squares, to_fp16(squares), FEEDS[:1])
    tensors = {tensor.tensor: tensor for tensor in report.tensors}
    assert tensors['a'].snr_db == math.inf and tensors['a'].max_error == 0
    x = [dict(x=np.array([[1.0001, 2.0, -3.3333, 4.0]], np.float32))]
    first = {tensor.tensor: tensor for tensor in compare_precision(squares, to_fp16(squares), x).tensors}['a']
    true = x[0]['x'].astype(np.float64)
    gap = np.abs(true - true.astype(np.float16))
    assert first.max_error == pytest.approx(gap.max(), rel=1e-6)
    assert first.max_relative == pytest.approx(gap.max() / 4.0, rel=1e-6)
    assert first.mean_relative == pytest.approx(gap.mean() / np.abs(true).mean(), rel=1e-6)
    assert first.snr_db == pytest.approx(10 * np.log10((true**2).sum() / (gap**2).sum()), rel=1e-6)


def test_the_worst_come_first_whatever_the_memory(detector, images):
    converted = to_fp16(detector)
    whole = compare_precision(detector, converted, images)
    assert compare_precision(detector, converted, images, budget=200_000) == whole
    noise = [tensor.snr_db for tensor in whole.tensors if tensor.comparable]
    assert noise == sorted(noise) and len(noise) > 50
    # what follows top-k may hold other boxes: it comes last
    comparable = [tensor.comparable for tensor in whole.tensors]
    assert comparable == sorted(comparable, reverse=True)
    behind = {tensor.layer for tensor in whole.tensors if not tensor.comparable}
    assert {'/hidden/MatMul', '/classes/MatMul'} <= behind
    assert not behind & {'/scores/Conv', '/neck/Conv'} and not any('/backbone' in layer for layer in behind)
    assert {'boxes', 'classes'} <= {tensor.tensor for tensor in whole.tensors}
    assert all(tensor.layer for tensor in whole.tensors)


def test_int8_is_compared_by_layers(detector, images):
    report = compare_precision(detector, to_int8(detector, images), images)
    layers = [tensor for tensor in report.tensors if tensor.operator in ('Conv', 'MatMul', 'Gemm')]
    assert len(layers) > 20 and all(0 < tensor.snr_db < math.inf for tensor in layers)
    assert not report.overflowing
