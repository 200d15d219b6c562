"""Running engines: memory, shapes, order and messages, against every version of the API.

The stand-in reads the inputs from the addresses that it was given and writes the outputs to theirs, so what comes back
went through the memory of tensors. The memory is the CPU's here.
"""

import base64
import contextlib
import importlib.util
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from mmtrtvit.errors import DeployError
from mmtrtvit.runtime.backends.tensorrt import session as session_module
from mmtrtvit.runtime.backends.tensorrt.session import TensorRTSession

VERSIONS = ['10.0.1', '10.16.1', '11.4.0', 'rtx-1.7.1']


def network():
    """double (n, 4) and total (n) of x (n, 4)."""
    nodes = [
        helper.make_node('Add', ['x', 'x'], ['double']),
        helper.make_node('ReduceSum', ['x', 'axis'], ['total'], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        'g',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, ['n', 4])],
        [
            helper.make_tensor_value_info('double', TensorProto.FLOAT, ['n', 4]),
            helper.make_tensor_value_info('total', TensorProto.FLOAT, ['n']),
        ],
        [onnx.numpy_helper.from_array(np.array([1], np.int64), 'axis')],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)


def finder():
    """found (2, ?) int64: where x is not 0; half: x in float16."""
    nodes = [
        helper.make_node('NonZero', ['x'], ['found']),
        helper.make_node('Cast', ['x'], ['half'], to=TensorProto.FLOAT16),
    ]
    graph = helper.make_graph(
        nodes,
        'g',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, ['n', 4])],
        [
            helper.make_tensor_value_info('found', TensorProto.INT64, [2, 'data_found']),
            helper.make_tensor_value_info('half', TensorProto.FLOAT16, ['n', 4]),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)


class Stream:
    """A stream that notes what it waits for."""

    def __init__(self, number, log):
        self.cuda_stream, self.log = number, log

    def wait_stream(self, other):
        self.log.append((self.cuda_stream, 'waits for', other.cuda_stream))


class Streams:
    """PyTorch's streams: the current one is 1 unless a test changes it, each session's own has a number of its own."""

    def __init__(self, monkeypatch):
        self.log, self.made, self.held = [], [], []
        self.current = Stream(1, self.log)
        monkeypatch.setattr(torch.cuda, 'current_stream', lambda device: self.current)
        monkeypatch.setattr(torch.cuda, 'Stream', self.make)
        monkeypatch.setattr(torch.cuda, 'stream', self.use)
        monkeypatch.setattr(
            torch.Tensor, 'record_stream', lambda tensor, stream: self.held.append(stream.cuda_stream), raising=False
        )

    def make(self, device=None):
        self.made.append(Stream(4711 + len(self.made), self.log))
        return self.made[-1]

    @contextlib.contextmanager
    def use(self, stream):
        before, self.current = self.current, stream
        yield
        self.current = before


@pytest.fixture
def streams(monkeypatch):
    return Streams(monkeypatch)


@pytest.fixture
def machine(monkeypatch, root, tmp_path, streams):
    """A machine with a GPU of compute capability 8.6 and a version of TensorRT, and an engine for it."""
    spec = importlib.util.spec_from_file_location('fake_tensorrt', root / 'tests' / 'fakes' / 'fake_tensorrt.py')
    fakes = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, 'fake_tensorrt', fakes)  # dataclasses look their module up
    spec.loader.exec_module(fakes)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (8, 6))
    monkeypatch.setattr(torch.cuda, 'device', lambda device: contextlib.nullcontext())

    def make(version, model=None, shapes=None, plan=None, open_it=True, output_names=None, **scenario):
        trt = fakes.load(version, **scenario)
        trt._on_run = lambda stream: streams.log.append((stream, 'runs'))
        package = trt.__name__
        monkeypatch.setattr(session_module, 'import_package', lambda name: trt)
        monkeypatch.setattr(session_module, 'require_version', lambda name: (0,))
        content = dict(
            version=trt.__version__,
            capability='8.6',
            onnx=base64.b64encode((model or network()).SerializeToString()).decode(),
            shapes=shapes or {'x': [[1, 4], [2, 4], [8, 4]]},
        )
        path = make.path = tmp_path / 'e.engine'
        path.write_bytes(json.dumps({**content, **(plan or {})}).encode())
        if not open_it:
            return path
        session = TensorRTSession(path, package, output_names, device='cpu')
        session.fake = trt
        return session

    return make


def rows(n):
    return np.arange(n * 4, dtype=np.float32).reshape(n, 4)


@pytest.mark.parametrize('version', VERSIONS)
class TestEveryVersion:
    def test_values_come_back(self, machine, version):
        session = machine(version)
        for n in (2, 8, 1):  # each shape anew
            found = session({'x': rows(n)})
            np.testing.assert_array_equal(found['double'], rows(n) * 2)
            np.testing.assert_array_equal(found['total'], rows(n).sum(1))

    def test_what_it_says_of_itself(self, machine, version):
        session = machine(version)
        assert session.inputs == (('x', 'float32', (-1, 4)),)
        assert session.outputs == (('double', 'float32', (-1, 4)), ('total', 'float32', (-1,)))
        assert session.profiles == {'x': ((1, 4), (2, 4), (8, 4))}

    def test_order_of_the_outputs_is_by_name(self, machine, version):
        session = machine(version, output_names=['total', 'double'])
        assert [spec.name for spec in session.outputs] == ['total', 'double']
        assert list(session({'x': rows(2)})) == ['total', 'double']

    def test_some_of_the_outputs(self, machine, version):
        assert list(machine(version, output_names=['total'])({'x': rows(2)})) == ['total']

    def test_results_of_two_runs_do_not_share_memory(self, machine, version):
        session = machine(version)
        first = session.run_tensors({'x': torch.ones(2, 4)})
        second = session.run_tensors({'x': torch.zeros(2, 4)})
        assert first['double'].eq(2).all() and second['double'].eq(0).all()

    def test_threads_take_turns(self, machine, version):
        """The context holds the shapes and addresses of one run."""
        session = machine(version)

        def right(n):
            return all((session({'x': rows(n) + n})['double'] == 2 * (rows(n) + n)).all() for _ in range(20))

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(right, range(1, 9)))

    def test_runs_are_in_order_with_the_current_stream_on_one_of_their_own(self, machine, version, streams):
        """Never on the default one, around which TensorRT synchronises the device."""
        session = machine(version)
        for number in (1, 2):
            streams.current = Stream(number, streams.log)
            session.run_tensors({'x': torch.ones(2, 4)})
            waits = 'waits for'
            assert streams.log == [(4711, waits, number), (4711, 'runs'), (number, waits, 4711)]
            streams.log.clear()

    def test_two_sessions_have_a_stream_each(self, machine, version, streams):
        for session in (machine(version), machine(version)):
            session.run_tensors({'x': torch.ones(2, 4)})
        assert [entry[0] for entry in streams.log if entry[1] == 'runs'] == [4711, 4712]

    def test_the_current_stream_waits_for_a_run_that_fails(self, machine, version, streams):
        with pytest.raises(DeployError, match='could not run the network'):
            machine(version, refuse_run=True).run_tensors({'x': torch.ones(2, 4)})
        assert streams.log[-1] == (1, 'waits for', 4711)

    def test_there_is_one_logger(self, machine, version):
        """The plugin library keeps a pointer to the last one."""
        session = machine(version)
        trt = session.fake
        session_module.load_engine(trt, machine.path, trt.__name__, (8, 6))
        first, second = trt._seen['loggers']
        assert first is second
        machine.path.write_bytes(b'')
        for _ in range(2):  # each failure tells its own errors
            with pytest.raises(DeployError) as caught:
                session_module.load_engine(trt, machine.path, trt.__name__, (8, 6))
            assert str(caught.value).count('Magic tag') == 1
        assert not first.listeners

    def test_inputs_of_another_type_or_layout(self, machine, version):
        session = machine(version)
        transposed = torch.from_numpy(rows(4)).double().T
        torch.testing.assert_close(session.run_tensors({'x': transposed})['double'], 2 * transposed.float())

    @pytest.mark.parametrize('n', [9, 0])
    def test_a_batch_beyond_the_profile(self, machine, version, n):
        with pytest.raises(DeployError, match=f'{n} x 4 was given') as caught:
            machine(version)({'x': np.zeros((n, 4), np.float32)})
        assert 'from 1 x 4 to 8 x 4' in str(caught.value)

    def test_a_shape_that_never_fits(self, machine, version):
        session = machine(version)
        with pytest.raises(DeployError, match='2 x 5 was given'):
            session({'x': np.zeros((2, 5), np.float32)})
        with pytest.raises(DeployError, match='2 x 4 x 1 was given'):
            session.run_tensors({'x': torch.zeros(2, 4, 1)})

    def test_an_input_that_is_missing(self, machine, version):
        with pytest.raises(DeployError, match="'x': nothing was given"):
            machine(version).run_tensors({})

    def test_an_output_that_is_not_there(self, machine, version):
        with pytest.raises(DeployError, match='no output boxes') as caught:
            machine(version, output_names=['total', 'boxes'])
        assert 'double, total' in str(caught.value)

    def test_an_engine_of_another_version(self, machine, version):
        with pytest.raises(DeployError, match='built by another version') as caught:
            machine(version, plan=dict(version='9.9.9'))
        assert 'Version tag does not match' in str(caught.value) and 'build it again' in str(caught.value)

    def test_an_engine_for_another_gpu(self, machine, version):
        with pytest.raises(DeployError, match='built for another GPU') as caught:
            machine(version, plan=dict(capability='8.9'))
        assert 'compute capability 8.6' in str(caught.value)
        assert ('--targets sm86' in str(caught.value)) == version.startswith('rtx')

    def test_an_engine_with_plugins(self, machine, version):
        """TensorRT's own RoIAlign is a plugin, which has to be registered before the engine is loaded."""
        plain, pooling = network(), helper.make_node('RoiAlign', ['maps', 'boxes', 'of'], ['pooled'])
        plain.graph.node.append(pooling)
        values = dict(maps=np.ones((1, 1, 8, 8), np.float32), boxes=np.zeros((2, 4), np.float32), of=np.zeros(2, int))
        plain.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in values.items())
        if version.startswith('rtx'):
            assert not machine(version).fake._seen['plugins']  # it has none
        else:
            np.testing.assert_array_equal(machine(version, plain)({'x': rows(2)})['double'], rows(2) * 2)

    def test_it_says_that_it_computes_on_a_gpu(self, machine, version):
        assert machine(version).device == 'cuda'

    @pytest.mark.parametrize('keep', [0, 40])
    def test_a_truncated_engine(self, machine, version, keep):
        path = machine(version, open_it=False)
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(DeployError, match='not a complete engine'):
            TensorRTSession(path, 'tensorrt_rtx' if version.startswith('rtx') else 'tensorrt', device='cpu')

    def test_no_memory(self, machine, version):
        with pytest.raises(DeployError, match='no memory to run'):
            machine(version, no_context=True)

    def test_a_run_that_fails(self, machine, version):
        with pytest.raises(DeployError, match='could not run the network'):
            machine(version, refuse_run=True)({'x': rows(2)})


@pytest.mark.parametrize('version', VERSIONS)  # int64 came with TensorRT 10
@pytest.mark.parametrize('filled', [5, 1, 0])
def test_an_output_whose_size_depends_on_the_data(machine, version, filled):
    session = machine(version, finder())
    x = np.zeros((3, 4), np.float32)
    x.flat[:filled] = 1
    found = session({'x': x})
    np.testing.assert_array_equal(found['found'], np.stack(np.nonzero(x)))
    assert found['found'].dtype == np.int64 and found['found'].shape == (2, filled)
    # float32 at the interface, whatever the engine has
    assert found['half'].dtype == np.float32 and session.outputs[1].dtype == 'float16'
    np.testing.assert_array_equal(found['half'], x)


@pytest.mark.parametrize('version', VERSIONS)
def test_an_allocator_serves_all_runs(machine, version, streams):
    """The context keeps each one that it is given, so one a run would leak it with its memory."""
    session = machine(version, finder())
    x = np.zeros((3, 4), np.float32)
    results = []
    for filled in (5, 1, 12):
        x.flat[:] = np.arange(12) < filled
        results.append((np.nonzero(x), session.run_tensors({'x': torch.from_numpy(x.copy())})['found']))
    for expected, found in results:  # each run has memory of its own
        np.testing.assert_array_equal(found, np.stack(expected))
    context = session._context
    assert len(context._kept) == 1 and context._kept[0].memory is None
    assert streams.held == [1, 1, 1]  # the memory is of the session's stream, and read on the current one


def test_an_output_without_memory_is_an_error(machine):
    with pytest.raises(DeployError, match="could not tell the output 'found'"):
        machine('11.4.0', finder(), no_memory_asked=True)({'x': rows(2)})


def test_an_output_without_elements_has_an_address(machine):
    """An output of a fixed shape with a side of 0: nothing to write, and no null is given."""
    nodes = [helper.make_node('Slice', ['x', 'zero', 'zero'], ['none']), helper.make_node('Neg', ['x'], ['y'])]
    graph = helper.make_graph(
        nodes,
        'g',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, ['n', 4])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [side, 4])
            for name, side in (('none', 'm'), ('y', 'n'))
        ],
        [onnx.numpy_helper.from_array(np.array([0], np.int64), 'zero')],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    assert machine('11.4.0', model)({'x': rows(2)})['none'].shape == (0, 4)


def test_a_file_that_is_not_there(machine, tmp_path):
    path = machine('10.16.1', open_it=False)
    path.unlink()
    with pytest.raises(DeployError, match='There is no engine'):
        TensorRTSession(path, 'tensorrt', device='cpu')


def test_no_gpu(machine, monkeypatch):
    path = machine('10.16.1', open_it=False)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(DeployError, match='needs an NVIDIA GPU'):
        TensorRTSession(path)


def test_rtx_on_a_gpu_of_a_data_centre(machine, monkeypatch):
    path = machine('rtx-1.7.1', open_it=False)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (9, 0))
    with pytest.raises(DeployError, match='H100'):
        TensorRTSession(path, 'tensorrt_rtx', device='cpu')


def test_rtx_without_a_driver_is_one_message(tmp_path, monkeypatch):
    """The real package here: it loads, finds no driver, and says so in its log."""
    pytest.importorskip('tensorrt_rtx', reason='TensorRT for RTX is not installed (docs/tensorrt.md)')
    if torch.cuda.is_available():
        pytest.skip('there is a GPU')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: (8, 6))
    monkeypatch.setattr(torch.cuda, 'device', lambda device: contextlib.nullcontext())
    (tmp_path / 'e.engine').write_bytes(b'nothing' * 100)
    with pytest.raises(DeployError, match='cannot load .* on this GPU') as caught:
        TensorRTSession(tmp_path / 'e.engine', 'tensorrt_rtx', device='cpu')
    assert 'It says: ' in str(caught.value)
