"""mmdeploy's backends of this package: registration, builders, wrappers, and what exports for them look like."""

import os
import pickle
import textwrap

import cv2
import onnx
import pytest
import torch
from mmdeploy.apis import torch2onnx
from mmdeploy.apis.utils import utils as mmdeploy_utils
from mmdeploy.backend.base import get_backend_manager
from mmdeploy.utils import Backend
from mmengine.config import Config
from onnx import TensorProto, helper

from mmtrtvit.apis import load_config
from mmtrtvit.deploy import compare_detections, mmdeploy_backend
from mmtrtvit.deploy.export.describe import describe_model
from mmtrtvit.deploy.mmdeploy_backend import OpenVinoManager, SessionWrapper, TensorRTForRTXManager, TensorRTManager
from mmtrtvit.deploy.proof.equal_scores import EqualScoresByPlace
from mmtrtvit.deploy.proof.images import dataset_metainfo
from mmtrtvit.deploy.proof.reference import Reference, build_pytorch_model
from mmtrtvit.deploy.steps import quiet
from mmtrtvit.errors import DeployError
from mmtrtvit.runtime import Network, Predictor
from mmtrtvit.runtime.backends import open_session
from mmtrtvit.runtime.backends.base import TensorSpec


def test_the_managers_are_those_of_this_package():
    for name, manager in mmdeploy_backend.MANAGERS.items():
        assert get_backend_manager(name) is manager
        assert get_backend_manager(Backend.get(name)) is manager
        assert not manager.is_available(with_custom_ops=True)
    assert get_backend_manager('onnxruntime').__module__.startswith('mmdeploy.')


def test_a_backend_brings_this_package_into_the_process_that_it_is_sent_to():
    """What mmdeploy's tools hand to the processes that they start."""
    sent = pickle.dumps(Backend.get('tensorrt-rtx'))
    assert b'mmtrtvit.deploy.mmdeploy_backend' in sent
    assert pickle.loads(sent) is Backend.TENSORRT_RTX


# --- both orders of imports, with a tensorrt and without -------------------------------------------------------------

THEIRS = 'from mmdeploy.apis.tensorrt import is_available; from mmdeploy.backend.tensorrt import TRTWrapper'
OURS = 'import mmdeploy; import mmtrtvit.deploy'
CHECK = """
from mmdeploy.backend.base import get_backend_manager
from mmdeploy.utils.timer import TimeCounter
import mmdeploy.backend.tensorrt
from mmdeploy.backend.tensorrt.wrapper import TRTWrapper
from mmtrtvit.deploy.mmdeploy_backend import SessionWrapper, TensorRTManager

class Session:
    outputs = ()

    def __call__(self, feeds):
        return feeds

assert get_backend_manager('tensorrt') is TensorRTManager
first, second = SessionWrapper('tensorrt', Session()), SessionWrapper('tensorrt', Session())
with TimeCounter.activate(warmup=1, batch_size=1):
    for wrapper in (first, second, first):
        wrapper({})
assert len(TimeCounter.names['tensorrt']['execute_time']) == 2
TimeCounter.print_stats('tensorrt')
"""


@pytest.fixture
def stub_tensorrt(tmp_path):
    """A folder with a ``tensorrt`` that has the names that mmdeploy's own builder and wrapper ask for."""
    names = ('Logger', 'ICudaEngine', 'DataType', 'TensorLocation', 'IGpuAllocator', 'ILogger')
    lines = ["__version__ = '10.16.1'", *(f'class {name}: ERROR, Severity = 1, int' for name in names)]
    (tmp_path / 'tensorrt.py').write_text('\n'.join(lines) + '\n')
    return tmp_path


@pytest.fixture
def in_a_fresh_process(fresh, tmp_path):
    """Run a program that finds the modules of ``tmp_path`` first."""
    return lambda source: fresh(textwrap.dedent(source))


@pytest.mark.parametrize('order', [(THEIRS, OURS), (OURS, THEIRS)], ids=['theirs first', 'ours first'])
def test_both_orders_of_imports(order, stub_tensorrt, in_a_fresh_process):
    """mmdeploy's wrapper and ours need a timer of one name; mmdeploy lets a name be claimed once."""
    ended = in_a_fresh_process('\n'.join([*order, CHECK]))
    assert ended.returncode == 0, ended.stderr
    assert 'Median' in ended.stdout


@pytest.mark.parametrize('module', ['mmdeploy_backend', 'mmdeploy_tasks', 'export.deploy_configs'])
def test_any_module_may_be_imported_first(module, in_a_fresh_process):
    """A module that imports mmdeploy brings in those that register with it, before its own names are defined."""
    ended = in_a_fresh_process(
        f"""
        import mmtrtvit.deploy.{module}
        from mmdeploy.backend.base import get_backend_manager
        print(get_backend_manager('openvino').__module__, get_backend_manager('tensorrt-rtx').__module__)
        """
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split()[-2:] == ['mmtrtvit.deploy.mmdeploy_backend'] * 2
    assert 'partially initialized' not in ended.stderr


def test_without_tensorrt(in_a_fresh_process):
    ended = in_a_fresh_process(
        """
        import mmdeploy, mmtrtvit.deploy
        from mmdeploy.backend.base import get_backend_manager
        manager = get_backend_manager('tensorrt')
        assert not manager.is_available()
        try:
            manager.to_backend(['a.onnx'], '.', dict(backend_config=dict(type='tensorrt')), device='cuda:0')
        except Exception as error:
            print(error)
        """
    )
    assert 'there is no Python module tensorrt' in ended.stdout and 'Fix: pip install tensorrt-cu12' in ended.stdout


def test_tensorrt_is_not_imported_before_it_is_used(in_a_fresh_process, tmp_path):
    (tmp_path / 'tensorrt.py').write_text('raise SystemExit("imported")\n')
    ended = in_a_fresh_process(OURS)
    assert ended.returncode == 0, ended.stderr


def test_a_tensorrt_without_its_libraries(in_a_fresh_process, tmp_path):
    """The message is ours, not that mmdeploy knows no such backend."""
    (tmp_path / 'tensorrt.py').write_text('raise ImportError("libnvinfer.so.10: cannot open shared object file")\n')
    code = f"""
    {OURS}
    from mmdeploy.backend.base import get_backend_manager
    get_backend_manager('tensorrt').build_wrapper(['e.engine'], 'cuda:0')
    """
    ended = in_a_fresh_process(code)
    assert 'TensorRT cannot be used: import tensorrt ends with "libnvinfer.so.10' in ended.stderr


# --- wrappers and builders -------------------------------------------------------------------------------------------


class Session:
    opened = []

    def __init__(self, engine, package, output_names, device):
        self.opened.append((engine, package, output_names, device))
        self.outputs = tuple(TensorSpec(name, 'float32', (1,)) for name in output_names or ['dets', 'labels'])

    def run_tensors(self, feeds):
        return {spec.name: feeds['input'] + place for place, spec in enumerate(self.outputs)}


@pytest.fixture
def session(monkeypatch):
    monkeypatch.setattr(mmdeploy_backend, 'TensorRTSession', Session)
    Session.opened = []
    return Session


def test_the_wrapper_gives_outputs_in_the_order_of_mmdeploy(session):
    wrapper = TensorRTManager.build_wrapper(['e.engine'], 'cuda:1', ['input'], ['labels', 'dets'])
    outputs = wrapper({'input': torch.zeros(1)})
    assert wrapper.output_to_list(outputs) == [torch.tensor([0.0]), torch.tensor([1.0])]
    assert list(outputs) == ['labels', 'dets']
    assert session.opened == [('e.engine', 'tensorrt', ['labels', 'dets'], 'cuda:1')]


def test_the_names_of_the_engine_where_mmdeploy_has_none(session):
    assert TensorRTManager.build_wrapper(['e.engine'], 'cuda:1').output_names == ['dets', 'labels']


@pytest.mark.parametrize('device', ['cpu', 'CUDA'])
def test_another_device(session, device):
    with pytest.raises(DeployError, match='--device cuda:0'):
        TensorRTManager.build_wrapper(['e.engine'], device)
    assert not session.opened


def deploy_config(**common):
    shapes = dict(min_shape=[1, 3, 320, 320], opt_shape=[1, 3, 800, 1344], max_shape=[2, 3, 1344, 1344])
    return Config(
        dict(
            onnx_config=dict(type='onnx', input_names=['input'], save_file='end2end.onnx'),
            codebase_config=dict(type='mmdet', task='ObjectDetection'),
            backend_config=dict(
                type=Backend.TENSORRT.value,
                common_config=common,
                model_inputs=[dict(input_shapes=dict(input=shapes))],
            ),
        )
    )


def write_graph(path, domain=''):
    """A graph of an image to an image, with a constant to fold."""
    nodes = [
        helper.make_node('Add', ['half', 'half'], ['one'], name='/add'),
        helper.make_node('Mul', ['input', 'one'], ['output'], name='/backbone/mul', domain=domain),
    ]
    sides = ['b', 3, 'h', 'w']
    graph = helper.make_graph(
        nodes,
        'g',
        [helper.make_tensor_value_info('input', TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info('output', TensorProto.FLOAT, sides)],
        [onnx.numpy_helper.from_array(torch.full((1,), 0.5).numpy(), 'half')],
    )
    opsets = [helper.make_opsetid('', 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return str(path)


@pytest.fixture
def graph(tmp_path):
    return write_graph(tmp_path / 'end2end.onnx')


@pytest.fixture
def built(monkeypatch):
    calls = []
    monkeypatch.setattr(mmdeploy_backend, 'require_version', lambda name: (10, 16, 1))
    monkeypatch.setattr(
        mmdeploy_backend, 'build_engine', lambda *paths, **settings: calls.append((*map(str, paths), settings))
    )
    return calls


@pytest.mark.parametrize('workspace, mib', [(0, None), (1 << 30, 1024), (None, None), (1 << 10, 1)])
def test_engines_are_built_as_the_deploy_config_says(built, graph, tmp_path, workspace, mib):
    common = {} if workspace is None else dict(max_workspace_size=workspace)
    config = deploy_config(fp16_mode=False, **common)
    files = TensorRTManager.to_backend([graph], str(tmp_path), config, device='cuda:1')
    assert files == [str(tmp_path / 'end2end.engine')]
    ((path, engine, settings),) = built
    assert (path, engine) == (graph, files[0])
    assert settings == dict(
        package='tensorrt',
        profiles={'input': ((1, 3, 320, 320), (1, 3, 800, 1344), (2, 3, 1344, 1344))},
        workspace_mib=mib,
        device=1,
    )
    assert [node.op_type for node in onnx.load(graph).graph.node] == ['Mul']  # constants are folded


@pytest.mark.parametrize('device', ['cpu', 'cuda:1'])
def test_tensorrt_for_rtx_builds_without_a_gpu(built, graph, tmp_path, device):
    (engine,) = TensorRTForRTXManager.to_backend([graph], str(tmp_path), deploy_config(), device=device)
    assert engine == str(tmp_path / 'end2end.engine')
    assert (built[0][2]['package'], built[0][2]['device']) == ('tensorrt_rtx', 0)


def test_shapes_without_names_are_those_of_the_inputs_in_order(built, graph, tmp_path):
    config = deploy_config()
    (inputs,) = config.backend_config.model_inputs
    inputs.input_shapes = [inputs.input_shapes['input']]
    TensorRTManager.to_backend([graph], str(tmp_path), config)
    assert list(built[0][2]['profiles']) == ['input']


@pytest.mark.parametrize('flag', ['fp16_mode', 'int8_mode'])
@pytest.mark.parametrize('version', [(10, 16, 1), (11, 4, 0)])
def test_precision_by_builder_flags_is_refused(built, graph, monkeypatch, tmp_path, flag, version):
    monkeypatch.setattr(mmdeploy_backend, 'require_version', lambda name: version)
    with pytest.raises(DeployError, match='--precision fp16'):
        TensorRTManager.to_backend([graph], str(tmp_path), deploy_config(**{flag: True}))
    assert not built


@pytest.mark.parametrize('version', [(8, 6, 1), (9, 3)])
def test_tensorrt_before_10_is_refused(built, graph, monkeypatch, tmp_path, version):
    monkeypatch.setattr(mmdeploy_backend, 'require_version', lambda name: version)
    with pytest.raises(DeployError, match='strongly typed networks came with TensorRT 10(.|\n)*tensorrt-cu12==10'):
        TensorRTManager.to_backend([graph], str(tmp_path), deploy_config())
    assert not built


def test_more_graphs_than_shapes(built, tmp_path):
    with pytest.raises(DeployError, match='shapes for 1 graphs, and there are 2'):
        TensorRTManager.to_backend(['a.onnx', 'b.onnx'], str(tmp_path), deploy_config())


def test_operators_of_a_plugin_library_are_named(built, tmp_path):
    path = write_graph(tmp_path / 'end2end.onnx', domain='mmdeploy')
    with pytest.raises(DeployError, match=r'mmdeploy::Mul: /backbone/mul(.|\n)*custom_imports'):
        TensorRTManager.to_backend([path], str(tmp_path), deploy_config())
    assert not built


def test_openvino_converts_and_runs(graph, tmp_path):
    pytest.importorskip('openvino')
    files = OpenVinoManager.to_backend([graph], str(tmp_path), deploy_config())
    assert files == [str(tmp_path / 'end2end.xml')] and (tmp_path / 'end2end.bin').is_file()
    wrapper = OpenVinoManager.build_wrapper(files, 'cpu', ['input'], ['output'])
    assert isinstance(wrapper, SessionWrapper)
    image = torch.rand(1, 3, 5, 7)
    torch.testing.assert_close(wrapper({'input': image}), {'output': image})
    assert OpenVinoManager.get_version().startswith('20')


IN_A_PROCESS = """
import sys
import torch.multiprocessing as mp
from mmdeploy.apis.core import PIPELINE_MANAGER
from mmdeploy.apis.utils import to_backend
from mmdeploy.utils import get_backend, load_config

mp.set_start_method('spawn', force=True)
(config,) = load_config(sys.argv[1])
PIPELINE_MANAGER.enable_multiprocess(True, [to_backend])
to_backend(get_backend(config), [sys.argv[2]], work_dir=sys.argv[3], deploy_cfg=config, device='cuda:0')
"""


def test_the_process_that_builds_uses_this_builder(fresh, graph, root, tmp_path):
    """As mmdeploy's tools/deploy.py starts it for TensorRT: a new process, which imports mmdeploy only."""
    (tmp_path / 'tensorrt.py').write_text('__version__ = "10.16.1"\nclass Logger:\n    ERROR, Severity = 1, int\n')
    config = root / 'configs' / 'deploy' / 'semantic-seg_tensorrt_dynamic-256x256-1024x2048.py'
    path = os.pathsep.join([str(tmp_path), str(root)])
    ended = fresh(IN_A_PROCESS, config, graph, tmp_path, PYTHONPATH=path)
    assert ended.returncode == 1
    assert 'DeployError: TensorRT builds on the GPU that' in ended.stderr


# --- what mmdeploy's own tools export by a deploy config for TensorRT ------------------------------------------------


def test_mmdeploys_own_tools_export_standard_operators(toy, toy_checkpoint, root, tmp_path, monkeypatch):
    """The graph serves other sizes than the traced one, and finds what PyTorch finds."""
    monkeypatch.setattr(mmdeploy_utils, 'check_backend_device', lambda **_: None)  # that this is a machine with a GPU
    config = load_config(toy.config)
    images = [cv2.imread(str(path)) for path in toy.images[:3]]
    traced = images[0][: images[0].shape[0] // 2]
    deploy_config = root / 'configs' / 'deploy' / 'instance-seg_tensorrt_dynamic-320x320-1344x1344.py'
    with quiet():
        torch2onnx(
            traced,
            str(tmp_path),
            'end2end.onnx',
            str(deploy_config),
            load_config(toy.config),
            str(toy_checkpoint),
            'cpu',
        )
    graph = onnx.load(tmp_path / 'end2end.onnx')
    assert {node.domain for node in graph.graph.node} == {''}
    assert {entry.domain for entry in graph.opset_import} == {''}

    reference = Reference(build_pytorch_model(config, str(toy_checkpoint)), config)
    assert reference.input(traced).shape != reference.input(images[0]).shape
    session = open_session('onnxruntime', tmp_path / 'end2end.onnx')
    predict = Predictor(describe_model(config, dataset_metainfo(config)), Network(session, 'instance'))
    with EqualScoresByPlace():
        parity = compare_detections((reference(image), predict(image)) for image in images)
    # of each image one may hang by the last bit of a score
    assert parity.detections > 100 and parity.same >= parity.detections - 3 and parity.extra <= 3
