"""INT8: which layers are quantised, by which scales, calibrated on what."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from mmtrtvit.deploy.precision import int8_candidates, output_error, run_graph, to_fp16, to_int8
from mmtrtvit.deploy.precision.calibration import METHODS, Magnitudes
from mmtrtvit.deploy.precision.graph import element_types, initializers, layers
from mmtrtvit.deploy.precision.int8 import convolution_outputs, shortcuts
from mmtrtvit.errors import ConfigError, DataError
from mmtrtvit.runtime.backends import BACKENDS, Int8Form

LAST = {'/scores/Conv', '/sizes/Conv', '/classes/MatMul'}


def makers(model):
    return {name: node for node in model.graph.node for name in node.output}


@pytest.fixture(scope='module')
def int8(detector, images):
    return to_int8(detector, iter(images))


def test_every_layer_but_the_last_ones_has_a_pair(detector, int8):
    made_by = makers(int8)
    quantised = set()
    for node in layers(int8):
        before = [made_by[name].op_type if name in made_by else None for name in node.input[:2]]
        if before == ['DequantizeLinear'] * 2:
            quantised.add(node.name)
            assert made_by[made_by[node.input[0]].input[0]].op_type == 'QuantizeLinear'
        else:
            assert 'DequantizeLinear' not in before
    assert {node.name for node in layers(detector)} - quantised == LAST
    assert quantised == set(int8_candidates(detector))


def test_products_of_data_and_biases_are_left(int8):
    made_by = makers(int8)
    attention = [node for node in int8.graph.node if node.op_type == 'MatMul' and '/attend/' in node.name]
    assert attention and not any(
        made_by[name].op_type == 'DequantizeLinear' for node in attention for name in node.input
    )
    weights = initializers(int8)
    assert all(weights[node.input[2]].dtype == np.float32 for node in int8.graph.node if node.op_type == 'Conv')


def test_weights_are_stored_as_int8_with_a_scale_for_each_channel(detector, int8):
    true, stored, made_by = initializers(detector), initializers(int8), makers(int8)
    originals = {node.name: node for node in detector.graph.node}
    seen = 0
    for node in layers(int8):
        if node.name in LAST:
            continue
        dequantise = made_by[node.input[1]]
        integers, scale, zero = (stored[name] for name in dequantise.input)
        axis = dequantise.attribute[0].i
        original = true[originals[node.name].input[1]]
        assert integers.dtype == zero.dtype == np.int8 and not zero.any()
        assert axis == (0 if node.op_type == 'Conv' else original.ndim - 1) and scale.shape == (original.shape[axis],)
        shape = [-1 if number == axis else 1 for number in range(original.ndim)]
        assert np.abs(integers * scale.reshape(shape) - original).max() <= scale.max() / 2 * 1.001
        seen += 1
    assert seen > 20
    before, after = (sum(array.nbytes for array in weights.values()) for weights in (true, stored))
    assert after < 0.4 * before


def residual(graph_of, order=('a', 'short'), other='Relu'):
    """A convolution with its shortcut, in this order, which comes from another operator."""
    w = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1)
    attributes = dict(kernel_shape=[1, 1]) if other == 'Conv' else {}
    nodes = [
        helper.make_node(other, ['x', 'w'] if other == 'Conv' else ['x'], ['short'], name='shortcut', **attributes),
        helper.make_node('Conv', ['short', 'w'], ['a'], name='conv', kernel_shape=[1, 1]),
        helper.make_node('Add', order, ['sum'], name='add'),
        helper.make_node('Conv', ['sum', 'w'], ['y'], name='last', kernel_shape=[1, 1]),
    ]
    return graph_of(nodes, dict(w=w), shape=(1, 4, 3, 3))


@pytest.mark.parametrize('order', [('a', 'short'), ('short', 'a')])
def test_shortcuts_are_quantised_where_a_backend_asks_for_it(graph_of, order):
    model, feed = (
        residual(graph_of, order),
        dict(x=np.random.default_rng(0).normal(size=(1, 4, 3, 3)).astype(np.float32)),
    )
    assert shortcuts(model, ['conv']) == {'add': order.index('short')} and shortcuts(model, []) == {}
    plain, whole = (to_int8(model, [feed], form=Int8Form(shortcuts=asked)) for asked in (False, True))
    for converted, expected in ((plain, {'a', 'short'}), (whole, {'a', 'short_dequantized'})):
        (add,) = (node for node in converted.graph.node if node.op_type == 'Add')
        assert set(add.input) == expected
        # the pair in front of the convolution serves both
        assert [node.input[0] for node in converted.graph.node if node.op_type == 'QuantizeLinear'] == ['short']
        assert output_error(run_graph(model, [feed]), run_graph(converted, [feed])) < 0.02
    kept = to_int8(model, [feed], ['conv'], form=Int8Form(shortcuts=True))
    assert 'short_dequantized' not in {name for node in kept.graph.node for name in node.output}


def test_a_sum_of_two_convolutions_has_no_shortcut(graph_of):
    assert shortcuts(residual(graph_of, other='Conv'), ['conv', 'shortcut']) == {}


def bottleneck(graph_of):
    """A convolution with a ReLU, one whose output is added to the shortcut, and one that is read by both."""
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(8, 8, 3, 3)).astype(np.float32) / 8 for name in 'abcd'}
    biases = {f'{name}_bias': rng.normal(size=8).astype(np.float32) for name in 'abcd'}

    def conv(name, source, target):
        inputs = [source, name, f'{name}_bias']
        return helper.make_node('Conv', inputs, [target], name=name, kernel_shape=[3, 3], pads=[1] * 4)

    nodes = [
        conv('a', 'x', 'a_out'),
        helper.make_node('Relu', ['a_out'], ['short'], name='relu'),
        conv('b', 'short', 'branch'),
        helper.make_node('Add', ['branch', 'short'], ['sum'], name='add'),
        conv('c', 'sum', 'c_out'),
        helper.make_node('Sigmoid', ['c_out'], ['gate'], name='sigmoid'),
        helper.make_node('Mul', ['c_out', 'gate'], ['silu'], name='mul'),
        conv('d', 'silu', 'y'),
    ]
    return graph_of(nodes, weights | biases, shape=(2, 8, 9, 9))


def optimised(model, path):
    """The operators that ONNX Runtime makes of a graph, and its outputs for a function."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 3, str(path)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=['CPUExecutionProvider'])
    return [node.op_type for node in onnx.load(path).graph.node], session


def test_onnx_runtime_computes_convolutions_in_8_bits(graph_of, tmp_path):
    model = bottleneck(graph_of)
    feed = dict(x=np.random.default_rng(1).normal(size=(2, 8, 9, 9)).astype(np.float32))
    assert convolution_outputs(model, 'abc') == dict(a='short', b='branch', c='c_out')
    assert convolution_outputs(model, ['b']) == dict(b='branch')
    whole = to_int8(model, [feed], form=BACKENDS['onnxruntime'].int8)
    operators, session = optimised(whole, tmp_path / 'whole.onnx')
    assert operators.count('QLinearConv') == 3 and 'Relu' not in operators
    assert operators.count('Conv') == 1  # the last layer
    assert optimised(to_int8(model, [feed]), tmp_path / 'plain.onnx')[0].count('QLinearConv') == 0
    true = run_graph(model, [feed])
    assert output_error(true, [dict(y=session.run(['y'], feed)[0])]) < 0.05
    # the sum is float32, of both as the convolutions wrote them
    made_by = makers(whole)
    (add,) = (node for node in whole.graph.node if node.op_type == 'Add')
    assert {made_by[name].op_type for name in add.input} == {'DequantizeLinear'}


@pytest.mark.parametrize('name', ['onnxruntime', 'openvino'])
def test_a_convolution_behind_a_concatenation(graph_of, name, tmp_path):
    """OpenVINO computes it wrongly where activations are INT8."""
    rng = np.random.default_rng(0)
    shapes = dict(u=(8, 4, 1, 1), v=(8, 16, 1, 1), w=(8, 8, 1, 1))
    nodes = [
        helper.make_node('Conv', ['x', 'u'], ['local'], name='first'),
        helper.make_node('Relu', ['local'], ['positive'], name='relu'),
        helper.make_node('Concat', ['local', 'positive'], ['both'], name='concat', axis=1),
        helper.make_node('Conv', ['both', 'v'], ['mixed'], name='conv'),
        helper.make_node('Conv', ['mixed', 'w'], ['y'], name='last'),
    ]
    weights = {key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
    model = graph_of(nodes, weights, shape=(1, 4, 7, 7))
    feed = dict(x=rng.normal(size=(1, 4, 7, 7)).astype(np.float32))
    backend = BACKENDS[name]
    onnx.save(to_int8(model, [feed], form=backend.int8), tmp_path / 'end2end.onnx')
    if backend.convert:
        backend.convert(tmp_path / 'end2end.onnx', tmp_path / backend.engine_file)
    found = backend.open_session(tmp_path / backend.engine_file, precision='int8').run(feed)
    assert output_error(run_graph(model, [feed]), [found]) < 0.03


def test_unsigned_activations_and_biases_in_units_of_the_products(graph_of):
    model = bottleneck(graph_of)
    feed = dict(x=np.random.default_rng(1).normal(size=(2, 8, 9, 9)).astype(np.float32))
    whole = to_int8(model, [feed], form=Int8Form(whole=True, unsigned=True))
    made_by, stored = makers(whole), initializers(whole)
    zeros = {node.input[0]: stored[node.input[2]] for node in whole.graph.node if node.op_type == 'QuantizeLinear'}
    assert {name: int(zero) for name, zero in zeros.items()} == dict(x=128, short=0, branch=128, sum=128, c_out=128)
    assert {zero.dtype for zero in zeros.values()} == {np.dtype(np.uint8)}
    for node in (node for node in whole.graph.node if node.op_type == 'Conv' and node.name != 'd'):
        source, weight, bias = (made_by[name].input for name in node.input)
        assert np.abs(stored[weight[0]]).max() == 127 and stored[bias[0]].dtype == np.int32
        np.testing.assert_array_equal(stored[bias[1]], stored[source[1]] * stored[weight[1]])
        true = initializers(model)[f'{node.name}_bias']
        assert np.abs(stored[bias[0]] * stored[bias[1]] - true).max() <= stored[bias[1]].max()


def test_the_bias_of_a_product_is_added_by_the_next_node(graph_of, tmp_path):
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(8, 8)).astype(np.float32) for name in ('w', 'v')}
    nodes = [
        helper.make_node('MatMul', ['x', 'w'], ['product'], name='first'),
        helper.make_node('Add', ['bias', 'product'], ['sum'], name='add'),
        helper.make_node('MatMul', ['sum', 'v'], ['y'], name='last'),
    ]
    model = graph_of(nodes, weights | dict(bias=rng.normal(size=8).astype(np.float32)), shape=(2, 5, 8))
    feed = dict(x=rng.normal(size=(2, 5, 8)).astype(np.float32))
    operators, session = optimised(to_int8(model, [feed], form=BACKENDS['onnxruntime'].int8), tmp_path / 'whole.onnx')
    assert 'QGemm' in operators or 'MatMulIntegerToFloat' in operators, operators
    assert output_error(run_graph(model, [feed]), [dict(y=session.run(['y'], feed)[0])]) < 0.03


def test_a_large_bias_beside_tiny_weights_fits(graph_of):
    model = bottleneck(graph_of)
    for tensor in model.graph.initializer:
        if tensor.name == 'b':  # whose products are tiny beside its bias
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 1e-30, 'b'))
        if tensor.name == 'b_bias':
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.linspace(-1e6, 1e6, 8, dtype=np.float32), 'b_bias'))
    feed = dict(x=np.random.default_rng(1).normal(size=(2, 8, 9, 9)).astype(np.float32))
    whole = to_int8(model, [feed], form=BACKENDS['onnxruntime'].int8)
    stored = initializers(whole)
    assert 2**29 < np.abs(stored['b_bias_quantized'].astype(np.int64)).max() <= 2**30
    assert output_error(run_graph(model, [feed]), run_graph(whole, [feed])) < 0.05


def test_a_tensor_is_quantised_once(int8):
    sources = [node.input[0] for node in int8.graph.node if node.op_type == 'QuantizeLinear']
    assert len(set(sources)) == len(sources)


def test_scales_are_those_of_onnx_runtimes_quantiser(detector, images, tmp_path):
    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = list(images)

        def get_next(self):
            return self.left.pop() if self.left else None

    copy = onnx.ModelProto.FromString(detector.SerializeToString())  # it changes what it is given
    names = list(int8_candidates(detector))
    quantize_static(
        copy,
        str(tmp_path / 'theirs.onnx'),
        Reader(),
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=['Conv', 'MatMul', 'Gemm'],
        nodes_to_quantize=names,
        extra_options=dict(ActivationSymmetric=True, WeightSymmetric=True, QuantizeBias=False),
    )
    theirs = onnx.load(tmp_path / 'theirs.onnx')
    ours, found = (
        {
            node.input[0]: float(weights[node.input[1]])
            for node in model.graph.node
            if node.op_type == 'QuantizeLinear' and weights[node.input[1]].ndim == 0
        }
        for model in (to_int8(detector, images), theirs)
        for weights in [initializers(model)]
    )
    assert len(ours) > 15 and set(ours) <= set(found)
    for name, scale in ours.items():
        assert scale == pytest.approx(found[name], rel=1e-4), name


def test_calibration_uses_the_given_images_only(detector, images):
    taken = []

    def feeds():
        for image in images:
            taken.append(image['image'].shape)
            yield image

    ours = initializers(to_int8(detector, feeds()))
    assert taken == [image['image'].shape for image in images]
    largest = max(np.abs(image['image']).max() for image in images)
    assert ours['image_scale'] == pytest.approx(largest / 127)
    assert initializers(to_int8(detector, images[:1]))['image_scale'] == pytest.approx(
        np.abs(images[0]['image']).max() / 127
    )


@pytest.mark.parametrize('method', METHODS)
def test_results_are_near(detector, images, method):
    reference = run_graph(detector, images)
    assert 0 < output_error(reference, run_graph(to_int8(detector, images, method=method), images)) < 0.2


def test_what_is_kept_is_not_quantised(detector, images):
    names = set(int8_candidates(detector))
    kept = set(int8_candidates(detector, ('/backbone/stem', '/neck/Conv')))
    assert '/neck/Conv' in names - kept
    assert all(name == '/neck/Conv' or name.startswith('/backbone/stem/') for name in names - kept)


def test_the_rest_can_be_half_precision(detector, int8, images):
    mixed = to_fp16(int8)
    assert mixed.opset_import[0].version >= 19
    types, made_by = element_types(mixed), makers(mixed)
    quantised = [node for node in layers(mixed) if node.name not in LAST]
    for node in quantised:
        assert [made_by[name].op_type for name in node.input[:2]] == ['DequantizeLinear'] * 2, 'a cast tears them apart'
        assert types[node.output[0]] == TensorProto.FLOAT16
    reference, plain = run_graph(detector, images), run_graph(int8, images)
    assert output_error(reference, run_graph(mixed, images)) < output_error(reference, plain) + 0.02


def test_scales_stay_above_zero_in_half_precision(graph_of):
    """Training leaves channels of next to no weight; engines refuse a scale of 0."""
    weight = np.float32([[0.5, 1e-9, 1e-6], [-1.0, 0.0, 3e-6]])
    nodes = [
        helper.make_node('MatMul', ['x', 'weight'], ['a'], name='/first/MatMul'),
        helper.make_node('MatMul', ['a', 'last'], ['y'], name='/last/MatMul'),
    ]
    model = graph_of(nodes, {'weight': weight, 'last': np.eye(3, dtype=np.float32)}, shape=('n', 2))
    feeds = [dict(x=np.float32([[1e-6, 2e-6], [0.0, 1e-6]]))]
    converted = to_fp16(to_int8(model, feeds))
    scales = [array for name, array in initializers(converted).items() if 'scale' in name]
    assert len(scales) == 2 and any(array.dtype == np.float16 and array.shape == (3,) for array in scales)
    assert all((array > 0).all() for array in scales)
    (found,) = run_graph(converted, [dict(x=np.float32([[1, 2]]))])
    assert np.isfinite(found['y']).all()


def test_a_layer_that_sees_only_zeros_is_left(graph_of):
    nodes = [
        helper.make_node('MatMul', ['x', 'w'], ['a'], name='first'),
        helper.make_node('MatMul', ['a', 'w'], ['y'], name='last'),
    ]
    model = graph_of(nodes, dict(w=np.eye(2, dtype=np.float32)), shape=(1, 2))
    found = to_int8(model, [dict(x=np.zeros((1, 2), np.float32))])
    assert [node.op_type for node in found.graph.node] == ['MatMul', 'MatMul']


def test_a_product_with_a_stack_of_matrices_is_left(graph_of):
    """EfficientFormer resizes its table of biases by one; ONNX Runtime has no kernel for its scales."""
    nodes = [
        helper.make_node('MatMul', ['x', 'w'], ['a'], name='/first/MatMul'),
        helper.make_node('MatMul', ['a', 'table'], ['b'], name='/resize/MatMul'),
        helper.make_node('MatMul', ['b', 'w'], ['y'], name='/last/MatMul'),
    ]
    table = np.random.default_rng(0).random((3, 4, 4), np.float32)
    model = graph_of(nodes, dict(w=np.eye(4, dtype=np.float32), table=table), shape=(2, 4))
    feeds = [dict(x=np.float32([[1, 2, 3, 4], [4, 3, 2, 1]]))]
    assert int8_candidates(model) == ('/first/MatMul',)
    options = onnxruntime.SessionOptions()  # with all of its fusions, as an artefact runs
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(to_int8(model, feeds).SerializeToString(), options)
    (found,), (expected,) = session.run(None, feeds[0]), run_graph(model, feeds)[0].values()
    np.testing.assert_allclose(found, expected, rtol=0.03)


def test_bad_input(detector, images):
    with pytest.raises(DataError, match='no inputs to calibrate on'):
        to_int8(detector, [])
    with pytest.raises(ConfigError, match='minmax, percentile, entropy'):
        to_int8(detector, images, method='guess')
    with pytest.raises(ConfigError, match='no node or module /nowhere'):
        to_int8(detector, images, ('/nowhere',))
    broken = [dict(image=np.full((1, 3, 96, 96), np.nan, np.float32))]
    with pytest.raises(DataError, match='not a number for calibration input 1'):
        to_int8(detector, broken)


def test_magnitudes_of_parts_are_those_of_the_whole():
    numbers = np.random.default_rng(0)
    parts = [numbers.normal(size=5000) * factor for factor in (0.01, 1.0, 30.0, 0.1)]
    seen = Magnitudes()
    for part in parts:
        seen.add(part)
    whole = np.abs(np.concatenate(parts))
    assert seen.largest == whole.max() <= seen.limit and seen.counts.sum() == whole.size
    # what was counted in narrow bins before the range grew lies in the right wide ones
    edges = np.linspace(0, seen.limit, len(seen.counts) + 1)
    np.testing.assert_allclose(np.cumsum(seen.counts), np.searchsorted(np.sort(whole), edges[1:]), atol=2)


def test_percentile_and_entropy_leave_an_outlier_out():
    seen = Magnitudes()
    seen.add(np.random.default_rng(0).normal(size=100_000))
    seen.add(np.array([50.0]))
    assert METHODS['minmax'](seen) == 50.0
    assert METHODS['percentile'](seen) == pytest.approx(3.89, abs=0.25)
    assert 2.0 < METHODS['entropy'](seen) < 10.0
