"""ONNX Runtime and OpenVINO run a network as PyTorch does, and say what is wrong in one message."""

import builtins
import sys

import numpy as np
import onnx
import pytest
import torch

from mmtrtvit.environment import PARTS
from mmtrtvit.errors import DeployError
from mmtrtvit.runtime.backends import BACKENDS, Backend, open_session
from mmtrtvit.runtime.backends.base import import_package
from mmtrtvit.runtime.backends.openvino import save_ir

RUN_HERE = ('onnxruntime', 'openvino')


class Network(torch.nn.Module):
    """An output of every type, and products large enough to tell bfloat16 from float32."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = torch.nn.Conv2d(3, 32, 3, padding=1)
        self.linear = torch.nn.Linear(32, 64)

    def forward(self, images):
        features = self.linear(self.convolution(images).flatten(2).transpose(1, 2)).softmax(-1)
        return features, features.argmax(-1)


@pytest.fixture(scope='module')
def network():
    return Network().eval()


@pytest.fixture(scope='module')
def onnx_file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp('onnx') / 'end2end.onnx'
    torch.onnx.export(
        network,
        (torch.rand(1, 3, 8, 8),),
        str(path),
        input_names=['input'],
        output_names=['features', 'labels'],
        dynamic_axes={'input': {0: 'batch', 2: 'height', 3: 'width'}, 'features': {0: 'batch'}, 'labels': {0: 'batch'}},
        opset_version=17,
        dynamo=False,
    )
    return path


@pytest.mark.parametrize('backend', RUN_HERE)
@pytest.mark.parametrize('options', [{}, {'threads': 1}, {'threads': None}])
def test_outputs_are_pytorchs_for_every_shape(network, onnx_file, backend, options):
    known = BACKENDS[backend].session_options
    session = open_session(backend, onnx_file, **{name: value for name, value in options.items() if name in known})
    assert session.device == 'cpu'
    assert [spec.name for spec in session.inputs] == ['input'] and session.inputs[0].dtype == 'float32'
    assert [(spec.name, spec.dtype) for spec in session.outputs] == [('features', 'float32'), ('labels', 'int64')]
    kept = []
    for shape in ((1, 3, 8, 8), (2, 3, 5, 13)):
        images = torch.rand(*shape)
        with torch.no_grad():
            wanted = network(images)
        found = session({'input': images.numpy()})
        np.testing.assert_allclose(found['features'], wanted[0], atol=1e-6)
        np.testing.assert_array_equal(found['labels'], wanted[1])
        kept.append((found['features'], found['features'].copy()))
    for array, copy in kept:  # a later run does not write into an earlier result
        np.testing.assert_array_equal(array, copy)


def test_openvinos_own_format(onnx_file, tmp_path):
    save_ir(onnx_file, tmp_path / 'end2end.xml')
    assert (tmp_path / 'end2end.bin').stat().st_size > 32 * 64 * 4  # weights in float32
    images = np.random.default_rng(0).random((2, 3, 6, 6), np.float32)
    found, wanted = (
        open_session('openvino', path)({'input': images})['features'] for path in (tmp_path / 'end2end.xml', onnx_file)
    )
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    'backend, file', [('onnxruntime', 'end2end.onnx'), ('openvino', 'end2end.onnx'), ('openvino', 'end2end.xml')]
)
def test_of_equal_values_those_that_come_first_are_taken(backend, file, tmp_path):
    values = [
        onnx.helper.make_tensor_value_info(*what) for what in (('scores', 1, [400]), ('best', 1, [9]), ('at', 7, [9]))
    ]
    node = onnx.helper.make_node('TopK', ['scores', 'k'], ['best', 'at'])
    graph = onnx.helper.make_graph([node], 'graph', values[:1], values[1:], [onnx.helper.make_tensor('k', 7, [1], [9])])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', 17)], ir_version=8)
    onnx.save(model, tmp_path / 'end2end.onnx')
    if file.endswith('.xml'):
        save_ir(tmp_path / 'end2end.onnx', tmp_path / file)
    scores = np.zeros(400, np.float32)
    scores[[250, 300]] = 1
    found = open_session(backend, tmp_path / file)({'scores': scores})['at']
    assert found.tolist() == [250, 300, *range(7)]


def test_openvino_is_told_the_precision(onnx_file):
    import openvino

    for precision, kind in (('fp32', openvino.Type.f32), ('int8', openvino.Type.f32), ('bf16', openvino.Type.bf16)):
        if precision == 'bf16' and 'BF16' not in openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES'):
            continue
        session = open_session('openvino', onnx_file, precision=precision)
        assert session._model.get_property('INFERENCE_PRECISION_HINT') == kind
        found = session({'input': np.ones((1, 3, 4, 4), np.float32)})
        assert found['features'].dtype == np.float32


def test_openvino_on_a_cpu_without_bfloat16(onnx_file, monkeypatch):
    import openvino

    class Old(openvino.Core):
        def get_property(self, *_):
            return ['FP32', 'INT8']

    monkeypatch.setattr(openvino, 'Core', Old)
    with pytest.raises(DeployError, match='no bfloat16 arithmetic'):
        open_session('openvino', onnx_file, precision='bf16')
    open_session('openvino', onnx_file)


@pytest.mark.parametrize('backend', RUN_HERE)
@pytest.mark.parametrize('content', [b'', b'not ONNX', None])
def test_files_that_are_no_networks(onnx_file, backend, content, tmp_path):
    path = tmp_path / 'end2end.onnx'
    path.write_bytes(onnx_file.read_bytes()[:500] if content is None else content)
    with pytest.raises(DeployError, match=r'cannot (load|read) .*end2end.onnx: \S+.*\n(.*\n)?Fix: export again'):
        open_session(backend, path)


@pytest.mark.parametrize('backend', RUN_HERE)
def test_a_package_that_is_not_installed(onnx_file, backend, monkeypatch):
    module = BACKENDS[backend].module
    purpose = ', needed for .*,' if any(part.module == module for part in PARTS) else ''
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DeployError, match=f'The package {module}{purpose} is not .*\n.*pip install "') as caught:
        open_session(backend, onnx_file)
    assert str(caught.value).count('Fix') == 1


def test_a_package_that_is_broken(onnx_file, monkeypatch):
    monkeypatch.delitem(sys.modules, 'onnxruntime')
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith('onnxruntime.capi'):
            raise OSError('libgomp.so.1: cannot open')
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', refuse)
    for name in [name for name in sys.modules if name.startswith('onnxruntime.')]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(DeployError, match=r'cannot be imported \(OSError: libgomp'):
        open_session('onnxruntime', onnx_file)


def test_a_device_that_is_not_there(onnx_file):
    open_session('onnxruntime', onnx_file, device='cpu')
    for device in ('tpu', 'cuda'):
        with pytest.raises(DeployError, match=rf"cannot run on '{device}'.\nExpected: one of cpu"):
            open_session('onnxruntime', onnx_file, device=device)


@pytest.mark.filterwarnings('ignore:Specified provider')
def test_a_provider_that_does_not_load(onnx_file, monkeypatch):
    """ONNX Runtime only logs it, and goes on without it."""
    import onnxruntime

    monkeypatch.setattr(
        onnxruntime, 'get_available_providers', lambda: ['CUDAExecutionProvider', 'CPUExecutionProvider']
    )
    with pytest.raises(DeployError, match=r'could not load its CUDA.*would run on CPU.*\n.*\nFix: .*device=.cpu'):
        open_session('onnxruntime', onnx_file, device='cuda')
    assert open_session('onnxruntime', onnx_file).device == 'cpu'


def test_devices_of_openvino(onnx_file, monkeypatch):
    import openvino

    for device in ('cpu', 'CPU', 'auto'):
        session = open_session('openvino', onnx_file, device=device)
        assert session.device == 'cpu' and session({'input': np.ones((1, 3, 4, 4), np.float32)})
    for device in ('gpu', 'npu', 'cuda'):
        with pytest.raises(DeployError, match=f"finds no device '{device}' here.\nExpected: one of cpu, auto\nFix: "):
            open_session('openvino', onnx_file, device=device)
    with pytest.raises(DeployError, match='threads for the CPU only'):
        open_session('openvino', onnx_file, device='auto', threads=2)

    class WithGpu(openvino.Core):
        """A machine with a GPU, which is a CPU here."""

        available_devices = ['CPU', 'GPU.0']

        def compile_model(self, model, device, settings):
            assert device == 'GPU' and settings['INFERENCE_PRECISION_HINT'] == 'f32'
            return super().compile_model(model, 'CPU', settings)

    monkeypatch.setattr(openvino, 'Core', WithGpu)
    assert open_session('openvino', onnx_file, device='gpu').device == 'gpu'


def test_what_is_unknown(onnx_file, tmp_path):
    with pytest.raises(
        DeployError, match="backend 'onnx-runtime' is unknown.*\n.*onnxruntime, openvino, .*\n.*'onnxruntime'"
    ):
        open_session('onnx-runtime', onnx_file)
    with pytest.raises(DeployError, match='openvino has no option requests'):
        open_session('openvino', onnx_file, requests=2)
    for backend in BACKENDS:
        with pytest.raises(DeployError, match=f'no file .*none.onnx for {backend}'):
            open_session(backend, tmp_path / 'none.onnx')


@pytest.mark.parametrize('backend', RUN_HERE)
def test_inputs_of_another_shape(onnx_file, backend):
    session = open_session(backend, onnx_file)
    for feeds in ({}, {'input': np.zeros((1, 4, 8, 8), np.float32)}, {'input': np.zeros((3, 8, 8), np.float32)}):
        with pytest.raises(DeployError, match="Input 'input': .* was given"):
            session(feeds)


def test_a_backend_that_the_environment_report_does_not_know(onnx_file):
    """A new backend needs no entry there."""

    def open_it(path):
        return import_package('no_such_package')

    backend = Backend('new', 'New', 'no_such_package', open_it, ('fp32',))
    assert backend.engine_file == 'end2end.onnx'
    with pytest.raises(DeployError, match='The package no_such_package is not installed.\nFix: pip install "no_such'):
        backend.open_session(onnx_file)
