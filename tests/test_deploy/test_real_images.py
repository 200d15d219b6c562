"""The COCO config on real images: the artefact finds what PyTorch finds."""

import pickle

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from mmtrtvit.apis import evaluate, evaluate_artefact, load_config
from mmtrtvit.deploy import compare_detections, deploy, load
from mmtrtvit.deploy.export.describe import describe_model
from mmtrtvit.deploy.proof.equal_scores import EqualScoresByPlace
from mmtrtvit.deploy.proof.images import dataset_metainfo
from mmtrtvit.deploy.proof.reference import Reference, build_pytorch_model
from mmtrtvit.deploy.steps import quiet
from mmtrtvit.runtime import Detections, Predictor
from mmtrtvit.testing.untrained import spread_outputs

pytestmark = [pytest.mark.realdata, pytest.mark.slow]

SMALLER = {'test_dataloader.dataset.pipeline.1.scale': (512, 320)}
QUICK = {
    **SMALLER,
    'test_dataloader.dataset.indices': 3,
    'test_dataloader.num_workers': 0,
    'test_dataloader.persistent_workers': False,
}


@pytest.fixture(scope='module')
def config(root, real_data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MMTRTVIT_DATA_ROOT', str(real_data))
        yield root / 'configs' / 'maskrcnn_trtvit_a_coco.py'


@pytest.fixture(scope='module')
def images(real_data):
    """Images upright, across, and of other proportions."""
    by_shape = {}
    for path in sorted((real_data / 'coco' / 'val2017').iterdir()):
        image = cv2.imread(str(path))
        by_shape.setdefault(image.shape[:2], image)
    shapes = sorted(by_shape, key=lambda shape: shape[0] / shape[1])
    return [by_shape[shapes[place]] for place in (0, len(shapes) // 2, -1)]


@pytest.fixture(scope='module')
def checkpoint(config, images, tmp_path_factory):
    torch.manual_seed(0)
    init_default_scope('mmdet')
    settings = load_config(config)
    model = MODELS.build(settings.model)
    model.init_weights()
    spread_outputs(model, settings, images)
    path = tmp_path_factory.mktemp('coco') / 'random.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    return str(path)


@pytest.fixture(scope='module')
def exported(config, checkpoint, dynamic_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp('coco_artefact')
    manifest, proof = deploy(
        config,
        checkpoint,
        deploy_cfg=dynamic_config,
        work_dir=folder,
        images=1,
        timed=False,
        cfg_options=SMALLER,
    )
    return folder, manifest, proof.parity


def test_export(exported):
    _, manifest, parity = exported
    assert parity.passed and parity.detections >= 20
    assert len(manifest['classes']) == 80 and manifest['operators']['LayerNormalization'] == 2 * 6


def test_images_of_different_size(config, checkpoint, exported, images):
    assert len({image.shape for image in images}) == len(images)
    with quiet():
        model = build_pytorch_model(load_config(config), checkpoint)
    predict = load(exported[0])
    settings = load_config(config)  # the size of the real recipe
    large = Predictor(describe_model(settings, dataset_metainfo(settings)), predict.network)
    sides = [(Reference(model, load_config(config, SMALLER)), predict)] * 3
    sides[1] = Reference(model, settings), large
    with EqualScoresByPlace():
        pairs = [tuple(side(image) for side in both) for image, both in zip(images, sides, strict=True)]
    parity = compare_detections(pairs)
    assert parity.detections >= 60 and parity.same == parity.detections and parity.extra == 0, parity


def test_evaluation_of_both(config, checkpoint, exported, tmp_path):
    found = {}
    metrics = [
        evaluate(config, checkpoint, work_dir=str(tmp_path), out=str(tmp_path / 'ours.pkl'), cfg_options=QUICK),
        evaluate_artefact(
            config, str(exported[0]), work_dir=str(tmp_path), out=str(tmp_path / 'theirs.pkl'), cfg_options=QUICK
        ),
    ]
    assert metrics[0] == pytest.approx(metrics[1], abs=0.002)
    for name in ('ours', 'theirs'):
        samples = pickle.loads((tmp_path / f'{name}.pkl').read_bytes())
        found[name] = [
            Detections(*(np.asarray(sample['pred_instances'][key]) for key in ('bboxes', 'scores', 'labels')), None, ())
            for sample in samples
        ]
    parity = compare_detections(zip(found['ours'], found['theirs'], strict=True))
    assert parity.images == 3 and parity.passed and parity.detections >= 60, parity
