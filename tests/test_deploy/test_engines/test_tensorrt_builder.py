"""Engines: the builder against every version of the API, its process, and real engines of TensorRT for RTX."""

import importlib.util
import json
import os
import signal
import sys
import textwrap

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from mmtrtvit.deploy.engines import tensorrt_builder, tensorrt_worker
from mmtrtvit.deploy.engines.tensorrt_builder import build_engine, check_profiles
from mmtrtvit.deploy.engines.tensorrt_report import to_markdown
from mmtrtvit.deploy.precision.half import BF16, FP16, to_half
from mmtrtvit.deploy.precision.int8 import to_int8
from mmtrtvit.errors import DeployError
from mmtrtvit.runtime.backends.tensorrt.support import PACKAGES

PROFILE = {'x': ((1, 4), (2, 4), (8, 4))}


@pytest.fixture(scope='module')
def fakes(root):
    path = root / 'tests' / 'fakes' / 'fake_tensorrt.py'
    spec = importlib.util.spec_from_file_location('fake_tensorrt', path)
    module = importlib.util.module_from_spec(spec)
    sys.modules['fake_tensorrt'] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def write_graph(path, *nodes, dtype=TensorProto.FLOAT, rows='n', initializers=(), output='y'):
    """A graph of x (rows, 4) to y, by default a Relu."""
    nodes = nodes or (helper.make_node('Relu', ['x'], ['y'], name='/relu/Relu'),)
    graph = helper.make_graph(
        nodes,
        'g',
        [helper.make_tensor_value_info('x', dtype, [rows, 4])],
        [helper.make_tensor_value_info(output, dtype, ['a', 'b'])],
        list(initializers),
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), path)
    return path


def write_pooling(path):
    """A graph of a RoIAlign of 2 boxes (2, 4) on a feature map of its own."""
    maps = onnx.numpy_helper.from_array(np.ones((1, 1, 8, 8), np.float32), 'maps')
    of = onnx.numpy_helper.from_array(np.zeros(2, np.int64), 'of')
    node = helper.make_node('RoiAlign', ['maps', 'x', 'of'], ['y'], name='/head/RoiAlign')
    graph = helper.make_graph(
        [node],
        'g',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, [2, 4])],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, [2, 1, 1, 1])],
        [maps, of],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), path)
    return path


@pytest.fixture
def graph(tmp_path):
    return write_graph(tmp_path / 'g.onnx')


def request_of(tmp_path, graph, **changes):
    fields = dict(
        onnx=str(graph),
        engine=str(tmp_path / 'e.engine'),
        profiles={'x': [[1, 4], [2, 4], [8, 4]]},
        targets=[],
        timing_cache=None,
        timing_cache_out=str(tmp_path / 'cache.out'),
        workspace_mib=None,
        tf32=False,
        inspect=False,
        plugins=False,
    )
    return {**fields, **changes}


def versions():
    table = json.loads((tensorrt_builder.Path(__file__).parents[2] / 'data' / 'tensorrt_api.json').read_text())
    return list(table['distributions'])


@pytest.mark.parametrize('version', versions())
class TestEveryVersion:
    """The stand-in has the names and the signatures of the real version, and nothing else."""

    def build(self, fakes, version, request, **scenario):
        trt, told = fakes.load(version, **scenario), []
        result = tensorrt_worker.build(trt, request, lambda **progress: told.append(progress))
        return trt, result, told

    def test_build(self, fakes, version, tmp_path, graph):
        trt, result, told = self.build(fakes, version, request_of(tmp_path, graph))
        assert 'failed' not in result
        assert result['version'] == version.removeprefix('rtx-')
        assert result['engine_bytes'] == (tmp_path / 'e.engine').stat().st_size > 100
        assert set(result['seconds']) == {'parse', 'build'}
        assert result['warnings'] == ['a warning'] and not result['errors']
        # TF32 is off, and nobody set a limit of the workspace
        assert trt._seen['cleared'] == ['TF32'] and trt._seen['pools'] == {}
        assert [progress['stage'] for progress in told][:2] == ['parse', 'build']
        assert any('phase' in progress for progress in told)

    def test_flags_of_the_network(self, fakes, version, tmp_path, graph):
        trt, _, _ = self.build(fakes, version, request_of(tmp_path, graph))
        flags = trt.NetworkDefinitionCreationFlag
        for name in ('EXPLICIT_BATCH', 'STRONGLY_TYPED'):
            if hasattr(flags, name):
                assert trt._seen['flags'] & (1 << flags[name])

    def test_settings(self, fakes, version, tmp_path, graph):
        (tmp_path / 'cache').write_bytes(b'old')
        request = request_of(tmp_path, graph, tf32=True, workspace_mib=64, timing_cache=str(tmp_path / 'cache'))
        trt, _, _ = self.build(fakes, version, request)
        assert trt._seen['cleared'] == [] and trt._seen['pools'] == {'WORKSPACE': 64 << 20}
        assert (tmp_path / 'cache.out').read_bytes() == b'old+'

    def test_a_timing_cache_that_is_not_there_yet(self, fakes, version, tmp_path, graph):
        self.build(fakes, version, request_of(tmp_path, graph, timing_cache=str(tmp_path / 'cache')))
        assert (tmp_path / 'cache.out').read_bytes() == b'+'

    @pytest.mark.parametrize('refused', ['unread', 'unused'])
    def test_a_timing_cache_of_another_gpu_is_ignored_and_kept(self, fakes, version, tmp_path, graph, refused):
        (tmp_path / 'cache').write_bytes(b'of another')
        request = request_of(tmp_path, graph, timing_cache=str(tmp_path / 'cache'))
        _, result, _ = self.build(fakes, version, request, foreign_cache=refused)
        assert 'failed' not in result and (tmp_path / 'e.engine').is_file()
        assert f'{tmp_path / "cache"} was ignored' in result['warnings'][0] and len(result['warnings']) == 2
        assert not (tmp_path / 'cache.out').exists() and (tmp_path / 'cache').read_bytes() == b'of another'

    def test_roi_align_is_a_plugin_of_tensorrt(self, fakes, version, tmp_path):
        """It has to be registered before the graph is read and the engine is loaded."""
        graph = write_pooling(tmp_path / 'pooling.onnx')
        request = request_of(tmp_path, graph, profiles={}, inspect=True)
        _, refused, _ = self.build(fakes, version, request)
        assert refused['failed'] == 'parse' and 'Plugin not found' in refused['nodes'][0]['reason']
        plugins = PACKAGES['tensorrt_rtx' if version.startswith('rtx') else 'tensorrt'].plugins
        assert plugins is not version.startswith('rtx')
        if plugins:
            _, result, told = self.build(fakes, version, {**request, 'plugins': True})
            assert 'failed' not in result and told[-1] == dict(stage='inspect')

    def test_every_node_that_the_parser_refuses(self, fakes, version, tmp_path, graph):
        refused = [[0, '/relu/Relu', 'Relu', 'no importer'], [3, '/other', 'Other', 'bad']]
        _, result, _ = self.build(fakes, version, request_of(tmp_path, graph), parser=refused)
        assert result['failed'] == 'parse'
        assert [(node['index'], node['reason']) for node in result['nodes']] == [(0, 'no importer'), (3, 'bad')]
        named = tensorrt_builder._named(result['nodes'], onnx.load(graph))
        assert named[0].name == '/relu/Relu' and named[0].operator == 'Relu'
        assert not (tmp_path / 'e.engine').exists()

    def test_a_build_that_fails(self, fakes, version, tmp_path, graph):
        _, result, _ = self.build(fakes, version, request_of(tmp_path, graph), build=['Error Code 9: no tactic'])
        assert result['failed'] == 'build' and result['errors'] == ['Error Code 9: no tactic']
        assert not (tmp_path / 'e.engine').exists()

    def test_shapes_that_are_refused(self, fakes, version, tmp_path, graph):
        request = request_of(tmp_path, graph, profiles={'x': [[8, 4], [8, 4], [1, 4]]})
        assert self.build(fakes, version, request)[1]['failed'] == 'profile'
        assert self.build(fakes, version, request_of(tmp_path, graph, profiles={}))[1]['failed'] == 'build'

    def test_inspection(self, fakes, version, tmp_path, graph):
        _, result, told = self.build(fakes, version, request_of(tmp_path, graph, inspect=True))
        assert result['activation_bytes'] == 4096
        (layer,) = json.loads(result['inspector'])['Layers']
        assert layer['Name'] == '/relu/Relu'
        # the data types of an engine for free sizes are told for shapes only
        assert layer['Inputs'][0]['Format/Datatype'] == 'Row major linear FP32'
        _, result, _ = self.build(fakes, version, request_of(tmp_path, graph, inspect=True), no_context=True)
        (layer,) = json.loads(result['inspector'])['Layers']
        assert layer['Inputs'][0]['Format/Datatype'] == 'N/A due to dynamic shapes'
        assert told[-1] == dict(stage='inspect')


def test_targets(fakes, tmp_path, graph):
    trt = fakes.load('rtx-1.7.1')
    tensorrt_worker.build(trt, request_of(tmp_path, graph, targets=['sm86', 'sm120']), lambda **_: None)
    assert trt._seen['targets'] == ['SM86', 'SM120']


# --- shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'profiles, said',
    [
        ({}, "'x' has free sides, but no shapes"),
        ({'input': ((1, 4),) * 3, **PROFILE}, "no input 'input'"),
        ({'x': ((1, 4, 1),) * 3}, '1 x 4 x 1 does not fit'),
        ({'x': ((1, 5),) * 3}, '1 x 5 does not fit'),
        ({'x': ((4, 4), (2, 4), (8, 4))}, 'not in the order'),
        ({'x': ((1, 4), (9, 4), (8, 4))}, 'not in the order'),
        ({'x': ((0, 4), (2, 4), (8, 4))}, 'at least 1'),
    ],
)
def test_shapes_that_cannot_be_used(profiles, said):
    with pytest.raises(DeployError, match=said) as caught:
        check_profiles({'x': [-1, 4]}, profiles)
    assert 'x -1 x 4' in str(caught.value) and '--dynamic' in str(caught.value)


def test_shapes_that_can():
    check_profiles({'x': [-1, 4]}, PROFILE)
    check_profiles({'x': [1, 4]}, {})
    check_profiles({'x': [1, 4]}, {'x': ((1, 4),) * 3})


# --- the process -----------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch, tmp_path, root):
    """Put a module in the place of TensorRT, here and in the process that builds, on a machine with a GPU."""

    def install(source, package='tensorrt', version=(10, 16, 1)):
        folder = tmp_path / 'site'
        folder.mkdir(exist_ok=True)
        fakes = root / 'tests' / 'fakes'
        preamble = f'import sys\nsys.path.insert(0, {str(fakes)!r})\n'
        (folder / f'{package}.py').write_text(preamble + textwrap.dedent(source))
        monkeypatch.setenv('PYTHONPATH', str(folder))
        monkeypatch.setattr(tensorrt_builder, 'require_version', lambda name: version)
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)

    return install


FAKE = """
import fake_tensorrt
globals().update(vars(fake_tensorrt.load({version!r}{scenario})))
"""


def assert_nothing_left(tmp_path):
    assert not [path for path in tmp_path.iterdir() if 'engine' in path.name]


def test_a_build_from_end_to_end(installed, graph, tmp_path):
    installed(FAKE.format(version='10.16.1', scenario=''))
    lines = []
    report = build_engine(graph, tmp_path / 'e.engine', profiles=PROFILE, progress=lines.append)
    assert report.engine_bytes == (tmp_path / 'e.engine').stat().st_size
    assert report.package == 'tensorrt' and report.version == '10.16.1' and report.targets == []
    assert report.profiles == {'x': [[1, 4], [2, 4], [8, 4]]}
    assert report.activation_bytes == 4096
    assert [layer.fused for layer in report.layers] == [['/relu/Relu']]
    assert lines[0] == 'parse ...' and 'Building engine 1/2' in lines
    assert '| /relu/Relu | Convolution | float32 |' in to_markdown(report)


def test_the_timing_cache_is_kept(installed, graph, tmp_path):
    installed(FAKE.format(version='11.4.0', scenario=''), version=(11, 4, 0))
    for content in (b'+', b'++'):
        build_engine(graph, tmp_path / 'e.engine', profiles=PROFILE, timing_cache=tmp_path / 'cache')
        assert (tmp_path / 'cache').read_bytes() == content


def test_only_the_gpu_that_was_asked_for_is_seen(monkeypatch):
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    assert tensorrt_builder._environment(1)['CUDA_VISIBLE_DEVICES'] == '1'
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '3,GPU-5')
    assert tensorrt_builder._environment(1)['CUDA_VISIBLE_DEVICES'] == 'GPU-5'


@pytest.mark.parametrize(
    'source, said',
    [
        ('import os\nos.abort()', signal.Signals(signal.SIGABRT).name),
        ('import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)', 'SIGSEGV'),
        ('raise ImportError("libnvinfer.so.10: cannot open")', 'libnvinfer.so.10: cannot open'),
        ('import os\nos._exit(0)', 'ended with status 0'),
    ],
)
def test_a_library_that_takes_its_process_down(installed, graph, tmp_path, source, said):
    installed(source)
    with pytest.raises(DeployError, match=said) as caught:
        build_engine(graph, tmp_path / 'e.engine', profiles=PROFILE)
    assert 'it was at: start' in str(caught.value)
    assert_nothing_left(tmp_path)


def test_plugins_are_registered_in_the_process_that_builds(installed, tmp_path):
    installed(FAKE.format(version='10.16.1', scenario=''))
    graph = write_pooling(tmp_path / 'pooling.onnx')
    assert build_engine(graph, tmp_path / 'e.engine').layers[0].name == '/head/RoiAlign'


def test_a_timing_cache_of_another_gpu_is_a_warning(installed, graph, tmp_path):
    installed(FAKE.format(version='10.16.1', scenario=', foreign_cache="unused"'))
    (tmp_path / 'cache').write_bytes(b'of another')
    report = build_engine(graph, tmp_path / 'e.engine', profiles=PROFILE, timing_cache=tmp_path / 'cache')
    assert any('was ignored and left as it is' in warning for warning in report.warnings)
    assert (tmp_path / 'cache').read_bytes() == b'of another'


def test_a_build_that_takes_too_long(installed, graph, tmp_path):
    installed('import time\ntime.sleep(60)')
    with pytest.raises(DeployError, match='longer than 0.5 seconds'):
        build_engine(graph, tmp_path / 'e.engine', profiles=PROFILE, timeout=0.5)
    assert_nothing_left(tmp_path)


def test_what_a_library_prints_does_not_disturb(installed, graph, tmp_path):
    installed('print("[TRT] noise", 12)\nprint("[1]")\nprint("{}")' + FAKE.format(version='10.0.1', scenario=''))
    assert build_engine(graph, tmp_path / 'e.engine', profiles=PROFILE).version == '10.0.1'


def test_nodes_that_the_parser_refuses_are_named(installed, graph, tmp_path):
    refused = [[0, '/relu/Relu', 'Relu', 'no importer\nregistered'], [1, '/x/Other', 'Other', 'bad attribute']]
    installed(FAKE.format(version='10.16.1', scenario=f', parser={refused!r}'))
    with pytest.raises(DeployError) as caught:
        build_engine(graph, tmp_path / 'e.engine', profiles=PROFILE)
    message = str(caught.value)
    assert 'cannot build 2 of the nodes' in message
    assert 'Relu at /relu/Relu: no importer registered' in message and 'Other at /x/Other: bad attribute' in message
    assert_nothing_left(tmp_path)


def test_a_build_that_fails_says_why_once(installed, graph, tmp_path):
    installed(FAKE.format(version='10.16.1', scenario=', build=["Error Code 10: no implementation"] * 3'))
    (tmp_path / 'e.engine').write_text('the one before')
    with pytest.raises(DeployError, match='could not build an engine') as caught:
        build_engine(graph, tmp_path / 'e.engine', profiles=PROFILE)
    assert str(caught.value).count('no implementation') == 1
    assert (tmp_path / 'e.engine').read_text() == 'the one before'


def test_a_build_that_lacks_memory(installed, graph, tmp_path):
    installed(FAKE.format(version='10.16.1', scenario=', build=["OutOfMemory: Requested size was 70819280 bytes"]'))
    with pytest.raises(DeployError, match='leave the workspace limit out'):
        build_engine(graph, tmp_path / 'e.engine', profiles=PROFILE, workspace_mib=64)


# --- what is refused before anything is started ----------------------------------------------------------------------


@pytest.fixture
def no_process(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError('a process was started')

    monkeypatch.setattr(tensorrt_builder.subprocess, 'Popen', refuse)


@pytest.mark.usefixtures('no_process')
class TestRefused:
    @pytest.mark.parametrize('workspace', [0, -1])
    def test_no_workspace_at_all(self, installed, graph, tmp_path, workspace):
        installed('')
        with pytest.raises(DeployError, match=f'workspace of {workspace} MiB'):
            build_engine(graph, tmp_path / 'e.engine', profiles=PROFILE, workspace_mib=workspace)

    def test_no_shapes(self, installed, graph, tmp_path):
        installed('')
        with pytest.raises(DeployError, match='no shapes were given'):
            build_engine(graph, tmp_path / 'e.engine')

    def test_no_gpu(self, installed, graph, tmp_path, monkeypatch):
        installed('')
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
        with pytest.raises(DeployError, match='--backend tensorrt-rtx'):
            build_engine(graph, tmp_path / 'e.engine', profiles=PROFILE)

    def test_targets_of_tensorrt(self, installed, graph, tmp_path):
        installed('')
        with pytest.raises(DeployError, match='builds for the GPU that it runs on'):
            build_engine(graph, tmp_path / 'e.engine', profiles=PROFILE, targets=['sm86'])

    @pytest.mark.parametrize(
        'target, said', [('sm90', 'H100'), ('sm100', 'B200'), ('ada', 'no target'), ('sm87', 'sm86')]
    )
    def test_targets_that_rtx_does_not_have(self, installed, graph, tmp_path, target, said):
        installed('', 'tensorrt_rtx', (1, 7, 1))
        with pytest.raises(DeployError, match=said):
            build_engine(graph, tmp_path / 'e.engine', package='tensorrt_rtx', profiles=PROFILE, targets=[target])

    def test_a_graph_in_float32_for_turing(self, installed, graph, tmp_path):
        installed('', 'tensorrt_rtx', (1, 7, 1))
        with pytest.raises(DeployError, match='no float32 matrix product for Turing'):
            build_engine(graph, tmp_path / 'e.engine', package='tensorrt_rtx', profiles=PROFILE, targets=['sm75'])

    @pytest.mark.parametrize('version', [(8, 5, 3), (8, 6, 1), (9, 3)])
    def test_before_strong_typing(self, installed, graph, tmp_path, version):
        installed('', version=version)
        with pytest.raises(DeployError, match=f'{".".join(map(str, version))} cannot be used(.|\n)*10.x or 11.x'):
            build_engine(graph, tmp_path / 'e.engine', profiles=PROFILE)

    def test_a_file_that_is_no_graph(self, installed, tmp_path):
        installed('')
        (tmp_path / 'g.onnx').write_bytes(b'nothing')
        with pytest.raises(DeployError, match='not a valid ONNX'):
            build_engine(tmp_path / 'g.onnx', tmp_path / 'e.engine', profiles=PROFILE)

    def test_nodes_that_rtx_has_no_kernel_for(self, installed, tmp_path):
        installed('', 'tensorrt_rtx', (1, 7, 1))
        nodes = [
            helper.make_node('NonZero', ['x'], ['n'], name='/head/NonZero'),
            helper.make_node('Cast', ['n'], ['y'], to=TensorProto.FLOAT, name='/head/Cast'),
        ]
        graph = write_graph(tmp_path / 'g.onnx', *nodes)
        with pytest.raises(DeployError, match='NonZero at /head/NonZero'):
            build_engine(graph, tmp_path / 'e.engine', package='tensorrt_rtx', profiles=PROFILE)


# --- real engines ----------------------------------------------------------------------------------------------------

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec('tensorrt_rtx') is None, reason='TensorRT for RTX is not installed (docs/tensorrt.md)'
)


@pytest.fixture(scope='module')
def backbone(tmp_path_factory):
    """A TRT-ViT with every kind of block, batch, height and width free."""
    from mmtrtvit.models import TRTViT

    torch.manual_seed(0)
    arch = dict(widths=(32, 32, 64, 64), depths=(1, 1, 2, 2), block_types=('C', 'C', 'C', 'M'))
    network = TRTViT(arch=arch, out_indices=(0, 1, 2, 3)).eval()
    network.switch_to_deploy()
    path = tmp_path_factory.mktemp('backbone') / 'backbone.onnx'
    names = [f'c{stage}' for stage in range(2, 6)]
    torch.onnx.export(
        network,
        torch.zeros(1, 3, 64, 96),
        str(path),
        opset_version=17,
        dynamo=False,
        input_names=['input'],
        output_names=names,
        dynamic_axes={'input': {0: 'B', 2: 'H', 3: 'W'}, **{name: {0: 'B', 2: 'h', 3: 'w'} for name in names}},
    )
    return path


SIZES = {'input': ((1, 3, 64, 64), (1, 3, 128, 160), (4, 3, 512, 512))}


@needs_rtx
class TestRTX:
    def build(self, path, tmp_path, **settings):
        settings = {'profiles': SIZES, **settings}
        return build_engine(path, tmp_path / 'e.engine', package='tensorrt_rtx', timeout=300, **settings)

    def test_a_backbone_for_every_size(self, backbone, tmp_path):
        report = self.build(backbone, tmp_path)
        assert (tmp_path / 'e.engine').stat().st_size == report.engine_bytes
        assert report.share_of_layers() == {'float32': 1.0}
        # every convolution of the graph is in a layer, and most have taken the ReLU behind them along
        graph = onnx.load(backbone).graph
        convolutions = {node.name for node in graph.node if node.op_type == 'Conv'}
        fused = [name for layer in report.layers for name in layer.fused]
        assert convolutions <= set(fused)
        together = [layer for layer in report.layers if convolutions & set(layer.fused) and len(layer.fused) > 1]
        assert len(together) > len(convolutions) / 2
        # the weights that it lists are those that it holds, by its own count
        assert sum(report.weights.values()) == pytest.approx(report.weights_bytes, rel=0.02)
        assert report.activation_bytes > 4 * 64 * 128 * 128 * 4  # the stem's output of the largest batch
        assert '### Largest fusions' in to_markdown(report)

    def test_smaller_shapes_need_less_memory(self, backbone, tmp_path):
        large = self.build(backbone, tmp_path)
        small = self.build(backbone, tmp_path, profiles={'input': ((1, 3, 64, 64),) * 3})
        assert small.activation_bytes < large.activation_bytes / 10

    @pytest.mark.parametrize('form, name', [(FP16, 'float16'), (BF16, 'bfloat16')], ids=['fp16', 'bf16'])
    def test_half_precision_is_what_the_graph_says(self, backbone, tmp_path, form, name):
        onnx.save(to_half(onnx.load(backbone), form=form), tmp_path / 'half.onnx')
        whole, halved = self.build(backbone, tmp_path), self.build(tmp_path / 'half.onnx', tmp_path)
        assert halved.share_of_layers()[name] > 0.8
        assert halved.share_of_weights()[name] > 0.9
        assert halved.weights_bytes < 0.6 * whole.weights_bytes
        assert any(layer.converts for layer in halved.layers)  # float32 at the interface

    def test_int8_is_what_the_graph_says(self, backbone, tmp_path):
        feeds = {'input': np.random.default_rng(0).standard_normal(SIZES['input'][0]).astype(np.float32)}
        onnx.save(to_int8(onnx.load(backbone), [feeds]), tmp_path / 'int8.onnx')
        report = self.build(tmp_path / 'int8.onnx', tmp_path)
        assert report.share_of_layers()['int8'] > 0.2
        assert report.share_of_weights()['int8'] > 0.7  # scales are float32

    def test_turing_in_half_precision_only(self, backbone, tmp_path):
        onnx.save(to_half(onnx.load(backbone)), tmp_path / 'half.onnx')
        assert self.build(tmp_path / 'half.onnx', tmp_path, targets=('sm75',)).targets == ['sm75']
        with pytest.raises(DeployError, match='Turing'):
            self.build(backbone, tmp_path, targets=('sm75',))

    def test_targets(self, backbone, tmp_path):
        assert self.build(backbone, tmp_path, targets=('SM120', 'sm89')).targets == ['sm120', 'sm89']

    def test_settings_and_progress(self, backbone, tmp_path):
        lines = []
        self.build(
            backbone, tmp_path, tf32=True, workspace_mib=1024, timing_cache=tmp_path / 'cache', progress=lines.append
        )
        assert (tmp_path / 'cache').is_file()
        assert lines[:2] == ['parse ...', 'build ...'] and len(lines) > 2

    def test_too_little_workspace(self, backbone, tmp_path):
        with pytest.raises(DeployError, match='leave the workspace limit out'):
            self.build(backbone, tmp_path, workspace_mib=1)
        assert_nothing_left(tmp_path)

    def test_operators_of_others_are_named(self, tmp_path):
        nodes = [
            helper.make_node('Unknown', ['x'], ['a'], name='/head/first', domain='mmdeploy'),
            helper.make_node('Unique', ['a'], ['y'], name='/head/second'),
        ]
        graph = write_graph(tmp_path / 'g.onnx', *nodes)
        model = onnx.load(graph)
        model.opset_import.append(helper.make_opsetid('mmdeploy', 1))
        onnx.save(model, graph)
        with pytest.raises(DeployError) as caught:
            self.build(graph, tmp_path, profiles=PROFILE)
        assert 'cannot build 2 of the nodes' in str(caught.value)
        assert 'Unknown at /head/first' in str(caught.value) and 'Unique at /head/second' in str(caught.value)
        assert_nothing_left(tmp_path)

    def test_topk_of_a_number_that_only_the_library_finds_too_large(self, tmp_path):
        """K comes out of arithmetic, so only the build sees it."""
        nodes = [
            helper.make_node('Shape', ['x'], ['s']),
            helper.make_node('Gather', ['s', 'zero'], ['n']),
            helper.make_node('Add', ['n', 'many'], ['k']),
            helper.make_node('Tile', ['x', 'times'], ['long']),
            helper.make_node('TopK', ['long', 'k'], ['y', 'i'], axis=1, name='/rpn/TopK'),
        ]
        values = dict(zero=[0], many=[4000], times=[1, 2000])
        initializers = [onnx.numpy_helper.from_array(np.array(v, np.int64), k) for k, v in values.items()]
        graph = write_graph(tmp_path / 'g.onnx', *nodes, initializers=initializers)
        with pytest.raises(DeployError, match='3840'):
            self.build(graph, tmp_path, profiles=PROFILE)


@needs_rtx
class TestPortableOperators:
    """What detectors use in place of NonMaxSuppression and RoiAlign builds, with sizes left open."""

    def export(self, module, inputs, axes, path):
        torch.onnx.export(
            module.eval(), inputs, str(path), opset_version=17, dynamo=False, input_names=list(axes), dynamic_axes=axes
        )
        return path

    def test_suppression(self, tmp_path):
        from mmtrtvit.deploy.export.portable import suppress

        class Suppression(torch.nn.Module):
            def forward(self, boxes, scores, classes):
                return suppress(boxes, scores > 0.05, 0.5, classes)

        boxes = torch.rand(2, 50, 4).cumsum(-1)
        axes = {name: {0: 'B', 1: 'N'} for name in ('boxes', 'scores', 'classes')}
        path = self.export(
            Suppression(), (boxes, torch.rand(2, 50), torch.ones(2, 50)), axes, tmp_path / 'suppression.onnx'
        )
        profiles = {
            name: tuple((b, n, 4)[: 3 if name == 'boxes' else 2] for b, n in ((1, 1), (1, 1000), (4, 2000)))
            for name in axes
        }
        report = build_engine(path, tmp_path / 's.engine', package='tensorrt_rtx', profiles=profiles, timeout=300)
        assert len(report.layers) > 1

    def test_roi_align(self, tmp_path):
        from mmtrtvit.deploy.export.portable import PyramidAtlas, roi_levels

        strides = (4, 8, 16, 32)

        class Pooling(torch.nn.Module):
            def forward(self, rois, *features):
                return PyramidAtlas(features).roi_align(rois, roi_levels(rois, 4, 56), strides, (7, 7))

        names = ['p2', 'p3', 'p4', 'p5']
        axes = {'rois': {0: 'B', 1: 'N'}, **{name: {0: 'B', 2: f'{name}h', 3: f'{name}w'} for name in names}}
        features = [torch.rand(1, 8, 96 // stride, 160 // stride) for stride in strides]
        path = self.export(Pooling(), (torch.rand(1, 20, 4).cumsum(-1), *features), axes, tmp_path / 'pooling.onnx')
        profiles = {'rois': ((1, 1, 4), (1, 1000, 4), (2, 1000, 4))}
        for name, stride in zip(names, strides, strict=True):
            sizes = ((1, 64, 64), (1, 800, 1344), (2, 1344, 1344))
            profiles[name] = tuple((batch, 8, height // stride, width // stride) for batch, height, width in sizes)
        report = build_engine(path, tmp_path / 'p.engine', package='tensorrt_rtx', profiles=profiles, timeout=300)
        assert len(report.layers) > 1


def test_the_process_that_builds_imports_nothing_of_this_package():
    """It starts in a fraction of a second because of that."""
    source = (tensorrt_builder.Path(tensorrt_worker.__file__)).read_text()
    assert 'from .' not in source and 'import mmtrtvit' not in source and 'import torch' not in source
    assert os.path.basename(tensorrt_worker.__file__) == 'tensorrt_worker.py'
