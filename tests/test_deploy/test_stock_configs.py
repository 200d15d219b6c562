"""Unchanged configs of mmdet and mmseg, with backbones that are not this package's, pass their proof."""

import copy

import pytest
import torch
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope

from mmtrtvit.config import load_config
from mmtrtvit.deploy import deploy
from mmtrtvit.deploy.export.input_shapes import input_shapes
from mmtrtvit.deploy.proof.images import sample_images
from mmtrtvit.deploy.steps import quiet
from mmtrtvit.testing.untrained import spread_outputs

pytestmark = pytest.mark.slow

CONFIGS = [
    'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    'mmseg::sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py',
    'mmseg::upernet/upernet_r50_4xb4-80k_ade20k-512x512.py',
]


def save_untrained(path, checkpoint):
    """Save the untrained network of a config, with outputs that differ."""
    config = load_config(path)
    init_default_scope(config.default_scope)
    torch.manual_seed(0)
    config.model.pop('pretrained', None)  # the address of weights
    config.model.backbone.init_cfg = None
    with quiet():
        model = revert_sync_batchnorm(MODELS.build(copy.deepcopy(config.model)))
        model.init_weights()
        spread_outputs(model, config, sample_images(config, 3))
    torch.save({'state_dict': model.state_dict()}, checkpoint)


@pytest.fixture(scope='module', params=CONFIGS, ids=lambda path: path.split('/')[1].split('_r50')[0])
def network(request, tmp_path_factory):
    """A stock config, and a checkpoint of its untrained network."""
    checkpoint = tmp_path_factory.mktemp('stock') / 'untrained.pth'
    save_untrained(request.param, checkpoint)
    return request.param, checkpoint


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_it_passes_its_proof(network, tmp_path, monkeypatch, backend):
    pytest.importorskip(backend)
    monkeypatch.chdir(tmp_path)  # outside of the checkout, without data
    config, checkpoint = network
    options = dict(backend=backend, shapes=input_shapes('96x128'), images=3, timed=False)
    manifest, proof = deploy(config, str(checkpoint), work_dir='artefact', **options)
    assert manifest['backbone']['type'] in ('ResNet', 'ResNetV1c')
    parity = proof.parity
    if config.startswith('mmdet'):
        # one of an image may hang by the last bit of a score, which depends on the processor
        assert parity.detections >= 100 and parity.same + parity.ties >= parity.detections - 3
        assert parity.boxes.median < 0.01
    else:
        assert proof.passed, proof.failures
        assert len(parity.classes) >= 4


OTHERS = {
    'timm': (
        dict(type='mmseg.TIMMBackbone', model_name='resnet18', pretrained=False, out_indices=(1, 2, 3, 4)),
        [64, 128, 256, 512],
    ),
    'mmpretrain': (
        dict(
            type='mmpretrain.ConvNeXt',
            arch=dict(depths=[1, 1, 1, 1], channels=[16, 32, 64, 128]),
            out_indices=(0, 1, 2, 3),
            gap_before_final_norm=False,
        ),
        [16, 32, 64, 128],
    ),
}
"""Backbones of packages that are not required, and the channels of their maps."""


@pytest.mark.parametrize('package', OTHERS)
def test_backbones_of_other_packages(root, tmp_path, monkeypatch, package):
    pytest.importorskip(package)
    config, checkpoint = tmp_path / 'other.py', tmp_path / 'untrained.pth'
    backbone, channels = OTHERS[package]
    model = dict(backbone=dict(backbone, _delete_=True), neck=dict(in_channels=channels))
    text = f'_base_ = {str(root / "configs" / "semfpn_trtvit_a_toy.py")!r}\nmodel = {model}\n'
    if package == 'mmpretrain':
        text += "custom_imports = dict(imports=['mmtrtvit', 'mmpretrain.models'])\n"
    config.write_text(text)
    save_untrained(config, checkpoint)
    monkeypatch.chdir(tmp_path)
    options = dict(backend='onnxruntime', shapes=input_shapes('96x128'), images=3, timed=False)
    manifest, proof = deploy(config, str(checkpoint), work_dir='artefact', **options)
    assert manifest['backbone']['type'] == backbone['type']
    assert proof.passed, proof.failures
