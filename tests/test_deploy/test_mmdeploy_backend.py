"""mmdeploy's backend ``tensorrt``: replaced from TensorRT 10 on, left alone before."""

import cv2
import onnx
import pytest
import torch
from mmdeploy.apis import torch2onnx
from mmdeploy.apis.utils import utils as mmdeploy_utils
from mmdeploy.backend.base import BACKEND_MANAGERS, BACKEND_WRAPPER, get_backend_manager
from mmdeploy.core import FUNCTION_REWRITER, SYMBOLIC_REWRITER
from mmdeploy.utils import IR, Backend
from mmengine.config import Config

from mmtrtvit.apis import load_config
from mmtrtvit.deploy import compare_detections, mmdeploy_backend
from mmtrtvit.deploy.export.describe import describe_model
from mmtrtvit.deploy.proof.equal_scores import EqualScoresByPlace
from mmtrtvit.deploy.proof.images import dataset_metainfo
from mmtrtvit.deploy.proof.reference import Reference, build_pytorch_model
from mmtrtvit.deploy.steps import quiet
from mmtrtvit.errors import DeployError
from mmtrtvit.runtime import Network, Predictor
from mmtrtvit.runtime.backends import open_session
from mmtrtvit.runtime.backends.base import TensorSpec


@pytest.fixture
def registries(monkeypatch):
    """mmdeploy's registries as they are without a TensorRT, given back afterwards."""
    monkeypatch.setattr(BACKEND_MANAGERS, '_module_dict', dict(BACKEND_MANAGERS._module_dict))
    monkeypatch.setattr(BACKEND_WRAPPER, '_module_dict', dict(BACKEND_WRAPPER._module_dict))


@pytest.mark.usefixtures('registries')
@pytest.mark.parametrize('version', [None, (8, 6, 1), (9, 3)])
def test_nothing_is_replaced_before_10(monkeypatch, version):
    before = get_backend_manager('tensorrt')
    monkeypatch.setattr(mmdeploy_backend, 'installed_version', lambda name: version)
    assert not mmdeploy_backend.register()
    assert get_backend_manager('tensorrt') is before


@pytest.mark.usefixtures('registries')
@pytest.mark.parametrize('version', [(10, 0, 1), (10, 16, 1), (11, 4)])
def test_it_is_replaced_from_10_on(monkeypatch, version):
    monkeypatch.setattr(mmdeploy_backend, 'installed_version', lambda name: version)
    monkeypatch.setattr(mmdeploy_backend, 'require_version', lambda name: version)
    assert mmdeploy_backend.register()
    manager = get_backend_manager('tensorrt')
    assert manager is mmdeploy_backend.CurrentTensorRTManager
    assert BACKEND_WRAPPER.module_dict['tensorrt'] is mmdeploy_backend.TensorRTWrapper
    assert manager.is_available() and not manager.is_available(with_custom_ops=True)
    assert manager.get_version() == '.'.join(map(str, version))
    assert mmdeploy_backend.register()  # a second time changes nothing
    assert get_backend_manager('tensorrt') is manager


@pytest.mark.usefixtures('registries')
def test_a_tensorrt_that_cannot_be_imported_leaves_mmdeploy_alone(monkeypatch):
    def broken(name):
        raise ImportError('libnvinfer.so.10')

    before = dict(BACKEND_MANAGERS._module_dict)
    monkeypatch.setattr(mmdeploy_backend, 'installed_version', lambda name: (10, 16))
    monkeypatch.setattr(mmdeploy_backend.importlib, 'import_module', broken)
    assert not mmdeploy_backend.register()
    assert before == BACKEND_MANAGERS._module_dict


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
    wrapper = mmdeploy_backend.CurrentTensorRTManager.build_wrapper(
        ['e.engine'], 'cuda:1', ['input'], ['labels', 'dets']
    )
    outputs = wrapper({'input': torch.zeros(1)})
    assert wrapper.output_to_list(outputs) == [torch.tensor([0.0]), torch.tensor([1.0])]
    assert list(outputs) == ['labels', 'dets']
    assert session.opened == [('e.engine', 'tensorrt', ['labels', 'dets'], 'cuda:1')]


def test_the_names_of_the_engine_where_mmdeploy_has_none(session):
    assert mmdeploy_backend.TensorRTWrapper('e.engine').output_names == ['dets', 'labels']


@pytest.mark.parametrize('device', ['cpu', 'CUDA'])
def test_another_device(session, device):
    with pytest.raises(DeployError, match='--device cuda:0'):
        mmdeploy_backend.CurrentTensorRTManager.build_wrapper(['e.engine'], device)
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


@pytest.fixture
def built(monkeypatch):
    calls = []
    monkeypatch.setattr(
        mmdeploy_backend, 'build_engine', lambda *paths, **settings: calls.append((*map(str, paths), settings))
    )
    return calls


@pytest.mark.parametrize('workspace, mib', [(0, None), (1 << 30, 1024), (None, None)])
def test_engines_are_built_as_the_deploy_config_says(built, tmp_path, workspace, mib):
    common = {} if workspace is None else dict(max_workspace_size=workspace)
    files = mmdeploy_backend.CurrentTensorRTManager.to_backend(
        [str(tmp_path / 'end2end.onnx')], str(tmp_path), deploy_config(fp16_mode=False, **common), device='cuda:1'
    )
    assert files == [str(tmp_path / 'end2end.engine')]
    ((graph, engine, settings),) = built
    assert (graph, engine) == (str(tmp_path / 'end2end.onnx'), files[0])
    assert settings == dict(
        profiles={'input': ((1, 3, 320, 320), (1, 3, 800, 1344), (2, 3, 1344, 1344))}, workspace_mib=mib, device=1
    )


def test_shapes_without_names_are_those_of_the_inputs_in_order(built, tmp_path):
    config = deploy_config()
    (inputs,) = config.backend_config.model_inputs
    inputs.input_shapes = [inputs.input_shapes['input']]
    mmdeploy_backend.CurrentTensorRTManager.to_backend(['a.onnx'], str(tmp_path), config)
    assert list(built[0][2]['profiles']) == ['input']


@pytest.mark.parametrize('flag', ['fp16_mode', 'int8_mode'])
@pytest.mark.parametrize('version', [(10, 16, 1), (11, 4, 0)])
def test_precision_by_builder_flags_is_refused(built, monkeypatch, tmp_path, flag, version):
    monkeypatch.setattr(mmdeploy_backend, 'require_version', lambda name: version)
    with pytest.raises(DeployError, match='--precision fp16'):
        mmdeploy_backend.CurrentTensorRTManager.to_backend(['a.onnx'], str(tmp_path), deploy_config(**{flag: True}))
    assert not built


def test_more_graphs_than_shapes(built, tmp_path):
    with pytest.raises(DeployError, match='shapes for 1 graphs, and there are 2'):
        mmdeploy_backend.CurrentTensorRTManager.to_backend(['a.onnx', 'b.onnx'], str(tmp_path), deploy_config())


# --- what mmdeploy's own tools export by a deploy config for TensorRT ------------------------------------------------


@pytest.mark.parametrize('version', [None, (10, 16, 1)])
def test_mmdeploys_own_tools_export_standard_operators(toy, toy_checkpoint, root, tmp_path, monkeypatch, version):
    """The graph serves other sizes than the traced one, and finds what PyTorch finds."""
    monkeypatch.setattr(mmdeploy_backend, 'installed_version', lambda name: version)
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


def test_with_tensorrt_8_mmdeploys_rewriters_stay(monkeypatch):
    """Its plugin library is there then, and they are what it was made for."""
    anchors = 'mmdet.models.task_modules.prior_generators.AnchorGenerator.single_level_grid_priors'

    def in_force(version):
        monkeypatch.setattr(mmdeploy_backend, 'installed_version', lambda name: version)
        env = dict(backend=Backend.TENSORRT, ir=IR.ONNX, tensorrt=None, mmdeploy='1.3.1')
        records = [*FUNCTION_REWRITER._registry.get_records(env), *SYMBOLIC_REWRITER._registry.get_records(env)]
        return {name: record['_object'].__module__ for name, record in records}

    plugins, standard = in_force((8, 6, 1)), in_force((10, 16, 1))
    assert plugins['torch.topk'] == standard['torch.topk'] == 'mmdeploy.pytorch.functions.topk'
    assert plugins[anchors].startswith('mmdeploy.') and anchors not in standard
    extractor = 'mmdet.models.roi_heads.roi_extractors.single_level_roi_extractor.SingleRoIExtractor.forward'
    assert plugins[extractor].startswith('mmdeploy.') and extractor not in standard
    align = 'mmcv.ops.roi_align.__self__'
    assert plugins[align].startswith('mmdeploy.') and standard[align].startswith('mmtrtvit.')
    assert in_force(None) == standard
