"""Image classifiers: their configs, and with mmpretrain the way from photographs to a detector's backbone."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from mmtrtvit.engine.schedule import schedule_faults
from mmtrtvit.errors import CheckpointError, ConfigError, DeployError
from mmtrtvit.zoo.configs import find_classifiers
from mmtrtvit.zoo.families import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = find_classifiers(ROOT)
NAMES = [entry.path.stem for entry in SHIPPED]


def test_every_size_has_a_config():
    assert {path.stem for path in (ROOT / 'configs' / 'imagenet').glob('*.py')} == set(NAMES)
    sizes = {(name, arch) for name, family in FAMILIES.items() for arch in family.archs}
    assert {(entry.family, entry.arch) for entry in SHIPPED if entry.size == 224} == sizes
    finer = {(name, arch) for name, arch in sizes if 384 in FAMILIES[name].pretraining}
    assert {(entry.family, entry.arch) for entry in SHIPPED if entry.size == 384} == finer


@pytest.mark.parametrize('entry', SHIPPED, ids=NAMES)
def test_a_config_is_what_its_name_says(entry):
    config = entry.load()
    model = config.model
    with torch.device('meta'):
        backbone = MODELS.build(dict(model.backbone))
    assert backbone.arch['widths'] == FAMILIES[entry.family].type.arch_settings[entry.arch]['widths']
    assert backbone.out_channels == (model.head.in_channels,)
    assert not isinstance(backbone.final_norm, torch.nn.Identity)
    assert not any(parameter.requires_grad is False for parameter in backbone.parameters())
    assert model.head.num_classes == model.data_preprocessor.num_classes == 1000
    assert not schedule_faults(config, 1251)
    crops = [step.get('crop_size', step.get('scale')) for step in config.train_pipeline if 'Crop' in step.type]
    assert crops == [config.test_pipeline[2].crop_size] == [entry.size]
    assert config.load_from == (None if entry.size == 224 else f'work_dirs/{entry.path.stem[:-9]}_in1k/epoch_300.pth')
    # the rate is for the batch of 8 GPUs
    assert config.auto_scale_lr.base_batch_size == 8 * config.train_dataloader.batch_size


def test_the_recipe_of_the_paper():
    config = Config.fromfile(ROOT / 'configs' / 'imagenet' / 'trtvit_c_in1k.py')
    optim = config.optim_wrapper
    assert (optim.optimizer.lr, optim.optimizer.weight_decay, optim.clip_grad.max_norm) == (1e-3, 0.05, 1.0)
    assert (config.train_cfg.max_epochs, config.auto_scale_lr.base_batch_size) == (300, 1024)
    warm_up, cosine = config.param_scheduler
    assert (warm_up.end, warm_up.start_factor * 1e-3, cosine.eta_min) == (20, pytest.approx(5e-7), 5e-6)
    assert [(one.type, one.alpha) for one in config.model.train_cfg.augments] == [('Mixup', 0.8), ('CutMix', 1.0)]
    (augment,) = (step for step in config.train_pipeline if step.type == 'RandAugment')
    assert (augment.magnitude_level, augment.magnitude_std, augment.policies) == (9, 0.5, 'timm_increasing')


@pytest.mark.skipif('"mmpretrain" in sys.modules or __import__("importlib.util").util.find_spec("mmpretrain")')
def test_without_mmpretrain_one_message_says_how_to_get_it(tmp_path):
    command = [sys.executable, ROOT / 'tools' / 'train.py', ROOT / 'configs' / 'imagenet' / 'trtvit_a_in1k.py']
    ran = subprocess.run([*command, '--work-dir', tmp_path / 'run'], capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 2, ran.stderr
    assert 'mmpretrain is missing' in ran.stderr and 'Fix: ' in ran.stderr and 'Traceback' not in ran.stderr
    assert not (tmp_path / 'run').exists()


# --- with mmpretrain --------------------------------------------------------------------------------------------------

ARCH = dict(widths=(32, 32, 64, 64), depths=(1, 1, 1, 1), block_types=('C', 'C', 'C', 'M'))


@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
    """Folders of red and of blue images, no two of one size."""
    folder = tmp_path_factory.mktemp('photographs')
    numbers = np.random.default_rng(0)
    for split, count in dict(train=8, val=5).items():
        for name, channel in dict(blue=0, red=2).items():
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                image = numbers.integers(0, 90, (40 + 3 * index, 61 - 2 * index, 3)).astype(np.uint8)
                image[..., channel] += 120
                cv2.imwrite(str(folder / split / name / f'{index}.png'), image)
    return folder


@pytest.fixture(scope='module')
def trained(photographs, tmp_path_factory):
    """Config, checkpoint and runner of a small classifier that tells red from blue."""
    from mmtrtvit.apis import new_config, train

    folder = tmp_path_factory.mktemp('classifier')
    written = folder / 'written.py'
    new_config('trtvit_a_in1k', data=photographs, out=written, size=(32, 32), epochs=3, batch_size=4)
    config = folder / 'colours.py'
    config.write_text(
        f'_base_ = {str(written)!r}\n'
        f'model = dict(backbone=dict(arch=dict(_delete_=True, **{ARCH!r})), head=dict(in_channels=64))\n'
        'train_dataloader = dict(num_workers=0)\nval_dataloader = dict(num_workers=0)\n'
        'test_dataloader = dict(num_workers=0)\nrandomness = dict(seed=0)\n'
        'optim_wrapper = dict(optimizer=dict(lr=2e-3))\n'
    )
    runner = train(config, work_dir=str(folder / 'run'), variants=['ema'], cfg_options={'custom_hooks.0.momentum': 0.5})
    return config, folder / 'run' / 'epoch_3.pth', runner


@pytest.mark.pretrain
def test_what_is_tested_is_what_was_trained(trained, tmp_path):
    from mmtrtvit.apis import evaluate

    config, checkpoint, _ = trained
    plain = evaluate(config, str(checkpoint), work_dir=str(tmp_path / 'test'))
    averaged = evaluate(config, str(checkpoint), work_dir=str(tmp_path / 'test'), variants=['ema'])
    assert plain == averaged  # a checkpoint of a moving average holds the averaged weights
    assert plain['accuracy/top1'] > 60
    content = torch.load(checkpoint, weights_only=False)
    assert not torch.equal(content['state_dict']['head.fc.weight'], content['ema_state_dict']['module.head.fc.weight'])


@pytest.mark.pretrain
def test_a_resumed_run_goes_on(trained, tmp_path):
    from mmtrtvit.apis import train

    config, checkpoint, _ = trained
    runner = train(
        config,
        work_dir=str(tmp_path / 'more'),
        resume=str(checkpoint),
        variants=['ema'],
        cfg_options={'train_cfg.max_epochs': 4, 'custom_hooks.0.momentum': 0.5},
    )
    assert runner.epoch == 4 and runner.iter == 16


@pytest.mark.pretrain
def test_an_artefact_gives_pytorchs_scores(trained, photographs, tmp_path):
    from mmtrtvit.apis import evaluate, evaluate_artefact
    from mmtrtvit.apis.prediction import load_pytorch
    from mmtrtvit.deploy import deploy, load
    from mmtrtvit.prediction import predict

    config, checkpoint, _ = trained
    manifest, proof = deploy(config, str(checkpoint), work_dir=tmp_path / 'artefact', images=10, timed=False)
    assert proof.verdict == 'PASS' and proof.parity.images == proof.parity.same == 10
    assert manifest['task'] == 'classification' and manifest['classes'] == ['blue', 'red']
    top1 = evaluate(config, str(checkpoint), work_dir=str(tmp_path / 'test'))['accuracy/top1']
    assert proof.metrics['accuracy/top1'].pytorch == proof.metrics['accuracy/top1'].artefact == pytest.approx(top1)
    whole = evaluate_artefact(config, str(tmp_path / 'artefact'), work_dir=str(tmp_path / 'test'))
    assert whole['accuracy/top1'] == pytest.approx(top1)
    predictor, pytorch = load(tmp_path / 'artefact'), load_pytorch(config, str(checkpoint), device='cpu')
    for path in sorted((photographs / 'val').glob('*/*.png')):
        image = cv2.imread(str(path))
        found = predictor(image)
        assert found.scores.sum() == pytest.approx(1, abs=1e-5) and found.classes == ('blue', 'red')
        np.testing.assert_allclose(found.scores, pytorch(image).scores, atol=1e-5)
    assert predict(pytorch, photographs / 'val' / 'red', tmp_path / 'out').images == 5
    with pytest.raises(DeployError, match=re.escape('--shape 32x32')):
        deploy(config, str(checkpoint), work_dir=tmp_path / 'other', shapes=_shape('64x64'), backend='onnxruntime')


def _shape(text):
    from mmtrtvit.deploy.export.input_shapes import input_shapes

    return input_shapes(text)


@pytest.mark.pretrain
@pytest.mark.parametrize('method', ['retinanet', 'semfpn'])
def test_its_checkpoint_is_a_backbone_of_detectors_and_segmentors(trained, method):
    config, checkpoint, _ = trained
    network = Config.fromfile(ROOT / 'configs' / f'{method}_trtvit_a_toy.py')
    init = dict(type='Pretrained', checkpoint=str(checkpoint))
    backbone = MODELS.build(dict(network.model.backbone, arch=ARCH, init_cfg=init))
    backbone.init_weights()
    weights = torch.load(checkpoint, weights_only=False)['state_dict']
    ours = backbone.state_dict()
    assert len(ours) > 50
    for name, value in ours.items():
        assert torch.equal(value, weights[f'backbone.{name}']), name
    other = MODELS.build(dict(network.model.backbone, init_cfg=init))  # another size
    with pytest.raises(CheckpointError, match='does not belong'):
        other.init_weights()


@pytest.mark.pretrain
def test_a_start_from_other_classes(trained, photographs, tmp_path):
    from mmtrtvit.apis import new_config

    _, checkpoint, _ = trained
    with pytest.raises(CheckpointError, match='fits neither'):
        new_config('trtvit_a_in1k', data=photographs, out=tmp_path / 'other.py', checkpoint=checkpoint)
    with pytest.raises(ConfigError, match='a square'):
        new_config('trtvit_a_in1k', data=photographs, out=tmp_path / 'other.py', size=(32, 64))
    with pytest.raises(ConfigError, match='--batch-size 1000, but there are'):
        new_config('trtvit_a_in1k', data=photographs, out=tmp_path / 'other.py', batch_size=1000)
    assert not (tmp_path / 'other.py').exists()
