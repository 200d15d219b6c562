"""What the tests of the export share: functions exported by mmdeploy, and one whole artefact."""

import dataclasses
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from mmdeploy.apis.onnx import export as export_onnx
from mmdeploy.core import RewriterContext
from mmdeploy.utils import IR
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmtrtvit.deploy  # noqa: F401  registers the rewriters
from mmtrtvit.apis import evaluate
from mmtrtvit.deploy import deploy
from mmtrtvit.deploy.export.onnx_graph import operators
from mmtrtvit.deploy.proof.proof import Proof
from mmtrtvit.deploy.steps import quiet


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


@dataclasses.dataclass(frozen=True)
class Deployed:
    """What :func:`mmtrtvit.deploy.deploy` returned, and where it put the artefact."""

    folder: Path
    manifest: dict
    proof: Proof


@pytest.fixture(scope='session')
def dynamic_config(root) -> Path:
    return root / 'configs' / 'deploy' / 'instance-seg_onnxruntime_dynamic.py'


@pytest.fixture(scope='session')
def deployed(toy, toy_checkpoint, dynamic_config, tmp_path_factory) -> Deployed:
    """The small detector, exported with batch, height and width free, into a folder with a file of someone else."""
    folder = tmp_path_factory.mktemp('artefact')
    (folder / 'notes.txt').write_text('keep me')
    manifest, proof = deploy(
        toy.config, str(toy_checkpoint), deploy_cfg=dynamic_config, work_dir=folder, images=3, timed=False
    )
    return Deployed(folder, manifest, proof)


@pytest.fixture(scope='session')
def annotate(toy, toy_checkpoint, tmp_path_factory) -> Callable[[dict], Path]:
    """Make an annotation file of the test split by which the small detector, never trained to its end, is half right.

    Every other one of its surest detections is the truth. By the true annotations its AP is 0, and so would be that
    of any artefact.
    """

    def make(cfg_options: dict) -> Path:
        folder = tmp_path_factory.mktemp('annotated')
        evaluate(
            toy.config,
            str(toy_checkpoint),
            work_dir=str(folder / 'work'),
            out=str(folder / 'found.pkl'),
            cfg_options=cfg_options,
        )
        content = json.loads((toy.data / 'annotations' / 'instances_val2017.json').read_text())
        category_ids = [category['id'] for category in content['categories']]
        content['annotations'] = []
        for sample in pickle.loads((folder / 'found.pkl').read_bytes()):
            found = sample['pred_instances']
            for index in range(0, 40, 2):
                x1, y1, x2, y2 = found['bboxes'][index].tolist()
                rle = found['masks'][index]
                content['annotations'].append(
                    dict(
                        id=len(content['annotations']) + 1,
                        image_id=sample['img_id'],
                        category_id=category_ids[int(found['labels'][index])],
                        bbox=[x1, y1, x2 - x1, y2 - y1],
                        area=(x2 - x1) * (y2 - y1),
                        segmentation={'size': rle['size'], 'counts': rle['counts'].decode()},
                        iscrowd=0,
                    )
                )
        path = folder / 'annotated.json'
        path.write_text(json.dumps(content))
        return path

    return make
