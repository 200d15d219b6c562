"""Small networks of every task: in PyTorch, behind the interface of an exported one, and as artefacts."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS, init_default_scope

from mmtrtvit.apis import load_config
from mmtrtvit.deploy.export.describe import describe_model
from mmtrtvit.deploy.proof.inference import build_pytorch_model, dataset_metainfo
from mmtrtvit.deploy.steps import quiet
from mmtrtvit.runtime.backends import BACKENDS, Session, TensorSpec
from mmtrtvit.runtime.manifest import write_manifest

OUTPUTS = {'detection': ['dets', 'labels'], 'instance': ['dets', 'labels', 'masks'], 'segmentation': ['output']}


class TorchSession(Session):
    """PyTorch's own network with the inputs and outputs of an exported one.

    Detectors get the size of the image from the input, as an exported graph does: padding is exactly 0.
    """

    def __init__(self, model: BaseModel, task: str) -> None:
        self.model = model
        self.task = task
        self.inputs = (TensorSpec('input', 'float32', (-1, 3, -1, -1)),)
        ranks = {'dets': 3, 'labels': 2, 'masks': 4, 'output': 4}
        self.outputs = tuple(TensorSpec(name, 'float32', (-1,) * ranks[name]) for name in OUTPUTS[task])
        self.batches: list[int] = []

    @torch.no_grad()
    def run(self, feeds):
        images = torch.from_numpy(feeds['input'])
        self.batches.append(len(images))
        if self.task == 'segmentation':
            return {'output': self.model.encode_decode(images, [dict(img_shape=images.shape[2:])]).numpy()}
        samples = []
        for image in images:
            rows, columns = image.abs().sum(0).nonzero().max(0).values + 1
            size = int(rows), int(columns)
            meta = dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0), batch_input_shape=images.shape[2:])
            samples.append(DetDataSample(metainfo=meta))
        features = self.model.extract_feat(images)
        if self.task == 'detection':
            found = self.model.bbox_head.predict(features, samples, rescale=False)
        else:
            heads = self.model.roi_head
            proposals = self.model.rpn_head.predict(features, samples, rescale=False)
            metas = [sample.metainfo for sample in samples]
            found = heads.predict_bbox(features, metas, proposals, heads.test_cfg, rescale=False)
        room = max(map(len, found)) + 3  # as exported: nothing, with score 0, behind the detections
        outputs = {
            'dets': np.zeros((len(images), room, 5), np.float32),
            'labels': np.zeros((len(images), room), np.int64),
        }
        for place, instances in enumerate(found):
            count = len(instances)
            outputs['dets'][place, :count, :4] = instances.bboxes.numpy()
            outputs['dets'][place, :count, 4] = instances.scores.numpy()
            outputs['labels'][place, :count] = instances.labels.numpy()
        if self.task == 'instance':
            logits = heads._mask_forward(features, bbox2roi([instances.bboxes for instances in found]))['mask_preds']
            labels = torch.cat([instances.labels for instances in found])
            chosen = logits[torch.arange(len(labels)), labels].sigmoid().split([len(instances) for instances in found])
            outputs['masks'] = np.zeros((len(images), room, *logits.shape[2:]), np.float32)
            for place, masks in enumerate(chosen):
                outputs['masks'][place, : len(masks)] = masks.numpy()
        return outputs


@dataclasses.dataclass
class Small:
    """A small network.

    Attributes:
        config: Its config; ``file`` where that lies.
        model: It, in PyTorch.
        checkpoint: Its weights.
        description: What a manifest says of it.
    """

    config: Config
    file: Path
    model: BaseModel
    checkpoint: Path
    description: dict

    @property
    def session(self) -> TorchSession:
        return TorchSession(self.model, self.description['task'])


SMALL_BACKBONE = 'arch=dict(_delete_=True, widths=(32, 32, 64, 64), depths=(1, 1, 2, 2), block_types="CCCM")'
LOADERS = """
data_root = {data!r}
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root))
"""
CONFIGS = {
    'detection': """
_base_ = {base!r}
model = dict(
    backbone=dict({backbone}),
    neck=dict(in_channels=[32, 32, 64, 64], out_channels=32),
    bbox_head=dict(in_channels=32, feat_channels=32, stacked_convs=1),
    test_cfg=dict(score_thr=0.05, max_per_img=50),
)
test_evaluator = dict(ann_file={data!r} + 'annotations/instances_val2017.json')
""",
    'segmentation': """
_base_ = {base!r}
model = dict(
    backbone=dict({backbone}),
    neck=dict(in_channels=[32, 32, 64, 64], out_channels=32),
    decode_head=dict(in_channels=[32] * 4, channels=32),
)
""",
}
FIXED_SIDE = 160
CONFIGS['fixed segmentation'] = f"""{CONFIGS['segmentation']}
model.update(data_preprocessor=dict(test_cfg=dict(_delete_=True, size=({FIXED_SIDE}, {FIXED_SIDE}))))
"""


@pytest.fixture(scope='session')
def small(root, toy, toy_checkpoint, tmp_path_factory) -> Callable[[str], Small]:
    """Make the small network of a task; its weights are random, so that what it gives is many and differs.

    A ``fixed segmentation`` network pads every image to the same size.
    """
    made: dict[str, Small] = {}

    def make(task: str) -> Small:
        if task in made:
            return made[task]
        folder = tmp_path_factory.mktemp(task.replace(' ', '_'))
        file, checkpoint = folder / 'small.py', folder / 'random.pth'
        if task == 'instance':
            file, checkpoint = toy.config, toy_checkpoint
        else:
            base, data = {
                'detection': ('retinanet_trtvit_a_toy.py', toy.data),
                'segmentation': ('semfpn_trtvit_a_toy.py', toy.data.parent / 'ade' / 'ADEChallengeData2016'),
            }[task.split()[-1]]
            text = (CONFIGS[task] + LOADERS).format(
                base=str(root / 'configs' / base), backbone=SMALL_BACKBONE, data=f'{data.as_posix()}/'
            )
            file.write_text(text)
            config = load_config(file)
            init_default_scope(config.default_scope)
            torch.manual_seed(0)
            model = MODELS.build(config.model)
            model.init_weights()
            last = model.decode_head.conv_seg if 'segmentation' in task else model.bbox_head.retina_cls
            torch.nn.init.normal_(last.weight, std=0.5)
            torch.nn.init.normal_(last.bias, std=0.5)
            torch.save({'state_dict': model.state_dict()}, checkpoint)
        with quiet():
            config = load_config(file)
            model = build_pytorch_model(config, str(checkpoint))
        made[task] = Small(config, file, model, checkpoint, describe_model(config, dataset_metainfo(config)))
        return made[task]

    return make


@pytest.fixture(scope='session')
def pictures(toy) -> list[np.ndarray]:
    """Images upright, across, of odd sides, larger and smaller than the network's input."""
    whole = [cv2.imread(str(path)) for path in toy.images]
    return [whole[0], whole[1][:97, :], cv2.resize(whole[2], (231, 317)), whole[3][10:61, 20:65]]


class WholeSegmentor(torch.nn.Module):
    """From a normalised input to logits of its size."""

    def __init__(self, model: BaseModel, labels: bool) -> None:
        super().__init__()
        self.model = model
        self.labels = labels

    def forward(self, images):
        logits = self.model.encode_decode(images, [dict(img_shape=images.shape[2:])])
        return logits.argmax(1, keepdim=True) if self.labels else logits


@pytest.fixture(scope='session')
def segmentor(small, tmp_path_factory) -> Callable[..., Path]:
    """Make an artefact of the small segmentor of fixed size, exported by PyTorch alone."""

    def make(backend: str = 'onnxruntime', labels: bool = False, precision: str = 'fp32') -> Path:
        network = small('fixed segmentation')
        folder = tmp_path_factory.mktemp('segmentor')
        path = folder / 'end2end.onnx'
        with quiet():
            torch.onnx.export(
                WholeSegmentor(network.model, labels).eval(),
                (torch.rand(1, 3, FIXED_SIDE, FIXED_SIDE),),
                str(path),
                input_names=['input'],
                output_names=['output'],
                dynamic_axes={'input': {0: 'batch'}, 'output': {0: 'batch'}},
                opset_version=17,
                dynamo=False,
            )
        if backend == 'openvino':
            from mmtrtvit.runtime.backends.openvino import save_ir

            save_ir(path, folder / BACKENDS[backend].engine)
        write_manifest(
            folder,
            {
                **network.description,
                'backend': backend,
                'precision': precision,
                'flavour': 'native',
                'engine': BACKENDS[backend].engine,
                'inputs': {'input': {'dtype': 'float32', 'shape': ['batch', 3, FIXED_SIDE, FIXED_SIDE]}},
                'outputs': {'output': {'dtype': 'float32', 'shape': ['batch', 7, FIXED_SIDE, FIXED_SIDE]}},
            },
        )
        return folder

    return make
