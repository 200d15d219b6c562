"""What each backend can do is known before anything is converted, and each leaves its file and what runs it."""

import dataclasses
import types

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from mmtrtvit.deploy.engines import tensorrt
from mmtrtvit.deploy.engines.build import make_engine
from mmtrtvit.deploy.export.input_shapes import InputShapes
from mmtrtvit.deploy.precision import to_bf16, to_fp16
from mmtrtvit.deploy.precision.int8 import quantise
from mmtrtvit.deploy.request import DeployRequest
from mmtrtvit.runtime.backends import BACKENDS, open_session

IMAGE = np.random.default_rng(0).normal(size=(1, 3, 4, 6)).astype(np.float32)


def request_for(backend, precision='fp32', shapes=None, **options):
    return DeployRequest('segmentation', backend=backend, precision=precision, shapes=shapes, **options)


@pytest.fixture
def path(tmp_path):
    """``y = 2 x + 1/3`` on images of any size, as a convolution."""
    sides = ('batch', 3, 'height', 'width')
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name in ('input', 'output')]
    weights = [
        helper.make_tensor('weight', TensorProto.FLOAT, (3, 3, 1, 1), 2 * np.eye(3).ravel()),
        helper.make_tensor('bias', TensorProto.FLOAT, (3,), [1 / 3] * 3),
    ]
    nodes = [helper.make_node('Conv', ['input', 'weight', 'bias'], ['output'], name='/layer/Conv')]
    graph = helper.make_graph(nodes, 'graph', values[:1], values[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    onnx.save(model, tmp_path / 'end2end.onnx')
    return tmp_path / 'end2end.onnx'


@pytest.mark.parametrize('backend, weights', [('onnxruntime', 'end2end.onnx'), ('openvino', 'end2end.bin')])
def test_engines_of_the_cpu_run_here(path, backend, weights):
    made = make_engine(request_for(backend), path)
    assert made.file == BACKENDS[backend].engine_file and (path.parent / made.file).is_file()
    assert made.runs_here and made.report is None
    assert made.subject.startswith(made.file) and made.subject.endswith('on the CPU')
    assert made.bytes == (path.parent / weights).stat().st_size > 0
    for image in (IMAGE, np.repeat(IMAGE, 2, axis=2)):
        np.testing.assert_allclose(made.session.run({'input': image})['output'], 2 * image + 1 / 3, atol=1e-5)


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('threads', [1, 2])
def test_the_engine_has_as_many_threads_as_pytorch(path, backend, threads, monkeypatch):
    given, before = {}, torch.get_num_threads()
    opened = BACKENDS[backend].open

    def noted(path, **options):
        given.update(options)
        return opened(path, **options)

    monkeypatch.setitem(BACKENDS, backend, dataclasses.replace(BACKENDS[backend], open=noted))
    torch.set_num_threads(threads)
    try:
        make_engine(request_for(backend), path)
    finally:
        torch.set_num_threads(before)
    assert given['threads'] == threads


def test_fp16_on_a_cpu_is_said_to_be_float32(path):
    assert make_engine(request_for('onnxruntime', 'fp16'), path).subject.endswith('computes FP16 in float32')


@pytest.fixture
def asked(monkeypatch):
    """No GPU, and a builder that writes four bytes and notes what it was asked for."""
    noted = {}

    def build(path, engine, **options):
        noted.update(options)
        engine.write_bytes(b'plan')
        return types.SimpleNamespace(
            layers=[1, 2, 3],
            seconds={'parse': 1.0, 'build': 2.5},
            targets=list(options['targets'] or ()),
            to_dict=lambda: {'n': 3},
        )

    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(tensorrt, 'build_engine', build)
    monkeypatch.setattr(tensorrt, 'to_markdown', lambda report: f'{len(report.layers)} layers')
    return noted


@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'bf16', 'int8'])
def test_tf32_is_for_the_float32_layers_of_other_precisions(path, asked, precision):
    """FP32 stays FP32; in other precisions a float32 layer reads 16-bit values."""
    make_engine(request_for('tensorrt-rtx', precision, shapes=InputShapes(*[(1, 3, 4, 4)] * 3)), path)
    assert asked['tf32'] is (precision != 'fp32')


@pytest.mark.parametrize('backend, package', [('tensorrt', 'tensorrt'), ('tensorrt-rtx', 'tensorrt_rtx')])
def test_an_engine_without_a_gpu_is_proved_by_its_graph(path, asked, backend, package):
    shapes = InputShapes((1, 3, 4, 4), (1, 3, 4, 6), (2, 3, 8, 8))
    options = dict(targets=('sm86', 'sm120'), timing_cache='cache', workspace_mib=64)
    made = make_engine(request_for(backend, shapes=shapes, **options), path)
    assert asked == dict(
        package=package,
        profiles={'input': shapes.profile},
        targets=('sm86', 'sm120'),
        timing_cache='cache',
        workspace_mib=64,
        tf32=False,
    )
    assert (path.parent / made.file).read_bytes() == b'plan' and made.bytes == 4
    assert not made.runs_here and 'there is no GPU here, so the engine was built and not run' in made.subject
    assert made.subject.startswith(path.name) and '3 layers in 3.5 s' in made.summary
    assert (made.page, made.report) == ('3 layers', {'n': 3})
    np.testing.assert_allclose(made.session.run({'input': IMAGE})['output'], 2 * IMAGE + 1 / 3, atol=1e-6)


@pytest.mark.parametrize('precision, convert, digits', [('fp16', to_fp16, 11), ('bf16', to_bf16, 8)])
def test_what_stands_in_for_an_engine_rounds_as_it_does(path, asked, precision, convert, digits):
    """To a number of binary digits; the file is left as it is, and so is the interface."""
    onnx.save(convert(onnx.load(path)), path)
    before = path.read_bytes()
    shapes = InputShapes(*[IMAGE.shape] * 3)
    made = make_engine(request_for('tensorrt', precision, shapes), path)
    assert path.read_bytes() == before and sorted(file.name for file in path.parent.iterdir()) == sorted(
        [path.name, made.file]
    )
    found, expected = made.session.run({'input': IMAGE})['output'], 2 * IMAGE + 1 / 3
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() <= 4 * np.abs(expected).max() * 2.0**-digits
    rounded = torch.from_numpy(found).to({'fp16': torch.float16, 'bf16': torch.bfloat16}[precision]).float()
    assert torch.equal(rounded, torch.from_numpy(found))


def test_int8_beside_fp16_is_rounded_too(path, asked):
    """TensorRT's INT8 graphs are FP16 between the quantised layers; ONNX Runtime alone computes that in float32."""
    quantised = quantise(onnx.load(path), ['/layer/Conv'], {'input': float(np.abs(IMAGE).max())})
    onnx.save(to_fp16(quantised), path)
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    scale, half_scale, scales = (values[name] for name in ('input_scale', 'input_scale_fp16', 'weight_scale'))
    assert half_scale.dtype == scales.dtype == np.float16

    def half(array):
        return array.astype(np.float16).astype(np.float32)

    image = half(np.rint(IMAGE / scale) * np.float32(half_scale))
    weights = half(127 * scales.astype(np.float32)).reshape(3, 1, 1)
    expected = half(image * weights + np.float32(np.float16(1 / 3)))

    found = make_engine(request_for('tensorrt', 'int8', InputShapes(*[IMAGE.shape] * 3)), path)
    np.testing.assert_array_equal(found.session.run({'input': IMAGE})['output'], expected)
    unrounded = open_session('onnxruntime', path).run({'input': IMAGE})['output']
    assert not np.array_equal(unrounded, expected)  # why this is needed


@pytest.mark.parametrize(
    'backend, capability, targets, said',
    [
        ('tensorrt-rtx', (9, 0), (), 'TensorRT for RTX does not support data-centre GPUs (H100, H200, B200)'),
        ('tensorrt-rtx', (8, 6), ('sm120',), 'the engine is for sm120, and the GPU here is sm86'),
        ('tensorrt-rtx', (7, 5), (), 'the engine is for sm80, sm86, sm89, sm120, sm121, and the GPU here is sm75'),
        ('tensorrt-rtx', (8, 6), (), ''),
        ('tensorrt-rtx', (12, 0), ('sm86', 'sm120'), ''),
        ('tensorrt', (9, 0), (), ''),
    ],
)
def test_an_engine_runs_only_on_a_gpu_that_it_is_for(path, asked, monkeypatch, backend, capability, targets, said):
    opened = []

    def open_engine(name, file, **options):
        opened.append(name)
        return open_session('onnxruntime', path)

    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda *_: capability)
    version = {'tensorrt': (10, 16, 1), 'tensorrt-rtx': (1, 7, 1)}[backend]
    monkeypatch.setattr(tensorrt, 'require_version', lambda package: version)
    monkeypatch.setattr(tensorrt, 'open_session', open_engine)
    made = make_engine(request_for(backend, shapes=InputShapes(*[IMAGE.shape] * 3), targets=targets), path)
    assert made.runs_here is not bool(said) and opened == ['onnxruntime' if said else backend]
    if said:
        assert made.subject.endswith(f'on the CPU: {said}, so the engine was built and not run')
    else:
        assert made.subject == 'end2end.engine on the GPU'
