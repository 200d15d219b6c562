"""What the tests of the export share: functions exported by mmdeploy, and small networks of every method."""

import copy
import dataclasses
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from mmdeploy.apis.onnx import export as export_onnx
from mmdeploy.core import RewriterContext
from mmdeploy.utils import IR
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

import mmtrtvit.deploy  # noqa: F401  registers the rewriters
from mmtrtvit.apis import load_config
from mmtrtvit.deploy.export.onnx_graph import operators
from mmtrtvit.deploy.proof.images import sample_images
from mmtrtvit.deploy.steps import quiet
from mmtrtvit.testing.untrained import spread_outputs


@pytest.fixture(scope='module', autouse=True)
def in_the_scope_of_mmdet():
    """For what a module makes once: the scope of an earlier module is still set when that is made."""
    init_default_scope('mmdet')


@pytest.fixture(autouse=True)
def seeded_and_on_one_core():
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    init_default_scope('mmdet')
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope='session')
def rewriting() -> Callable[..., RewriterContext]:
    """Make a context in which mmdeploy's rewriters for ONNX Runtime are in force, on tensors that have values."""

    def make(flavour: str = 'native') -> RewriterContext:
        config = Config(
            dict(
                onnx_config=dict(
                    type='onnx',
                    opset_version=17,
                    input_names=['input'],
                    dynamic_axes=dict(input={0: 'b', 2: 'h', 3: 'w'}),
                ),
                backend_config=dict(type='onnxruntime'),
                codebase_config=dict(type='mmdet', task='ObjectDetection', flavour=flavour),
            )
        )
        return RewriterContext(cfg=config, backend='onnxruntime', ir=IR.ONNX, opset=17)

    return make


@pytest.fixture(scope='session', params=['native', 'portable'])
def flavour(request) -> str:
    """Each of the two forms of a graph."""
    return request.param


@dataclasses.dataclass
class Exported:
    """A function that was exported to ONNX."""

    graph: onnx.ModelProto
    session: onnxruntime.InferenceSession

    @property
    def operators(self) -> dict[str, int]:
        return operators(self.graph)

    def __call__(self, *inputs: torch.Tensor) -> list[np.ndarray]:
        names = [value.name for value in self.session.get_inputs()]
        return self.session.run(None, dict(zip(names, (value.numpy() for value in inputs), strict=True)))


@pytest.fixture
def exported(tmp_path) -> Callable[..., Exported]:
    """Export a module or function through mmdeploy, as a whole network is exported."""

    def export(function, *inputs, dynamic_axes=None) -> Exported:
        if not isinstance(function, torch.nn.Module):
            module = torch.nn.Module()
            module.forward = function
            function = module
        names = ['input', *(f'input{number}' for number in range(1, len(inputs)))]
        with quiet():
            export_onnx(
                function.eval(),
                inputs,
                str(tmp_path / 'function'),
                backend='onnxruntime',
                context_info=dict(deploy_cfg=Config(dict())),
                input_names=names,
                dynamic_axes=dynamic_axes,
                opset_version=17,
            )
        path = str(tmp_path / 'function.onnx')
        graph = onnx.load(path)
        onnx.checker.check_model(graph)
        return Exported(graph, onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider']))

    return export


ARCH = dict(_delete_=True, widths=(32, 32, 64, 64), depths=(1, 1, 2, 2), block_types=('C', 'C', 'C', 'M'))


@pytest.fixture(scope='module')
def networks(toy, toy_checkpoint, root, tmp_path_factory):
    """Method to config and checkpoint of a small network whose predictions differ."""
    folder = tmp_path_factory.mktemp('methods')
    (folder / 'toy').symlink_to(toy.data.parent)
    made = {'maskrcnn': (toy.config, toy_checkpoint)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MMTRTVIT_DATA_ROOT', str(folder))
        for method in ('fasterrcnn', 'retinanet', 'semfpn', 'upernet'):
            config = folder / f'{method}.py'
            base = root / 'configs' / f'{method}_trtvit_a_toy.py'
            heads = {'decode_head': {}, 'auxiliary_head': {}} if method == 'upernet' else {'neck': {}}
            channels = {name: dict(in_channels=[32, 32, 64, 64]) for name in heads if name != 'auxiliary_head'}
            channels.update({name: dict(in_channels=64) for name in heads if name == 'auxiliary_head'})
            config.write_text(f'_base_ = {str(base)!r}\nmodel = dict(backbone=dict(arch={ARCH}), **{channels})\n')
            made[method] = config, folder / f'{method}.pth'
            _save_spread(load_config(config), folder / f'{method}.pth')
        yield made


def _save_spread(config, path):
    init_default_scope(config.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(config.model))
    model.init_weights()
    spread_outputs(model, config, sample_images(config, 5))
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, path)
