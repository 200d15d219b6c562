"""The benchmark of training iterations, on a tiny network: rows, memory, processes, messages."""

import json
import os

import pytest
import torch
from mmengine.config import Config

from mmtrtvit.benchmark import benchmark_training, random_batch, training
from mmtrtvit.benchmark.memory import forget_peak, memory
from mmtrtvit.engine.cpu_amp import amp_is_quicker
from mmtrtvit.errors import ConfigError, DeployError
from mmtrtvit.zoo.methods import METHODS

TINY = """
_base_ = {base!r}

model = dict(
    backbone=dict(
        arch=dict(_delete_=True, widths=(32, 32, 32, 64), depths=(1, 1, 1, 1), block_types=('C', 'C', 'C', 'M'))
    ),
    neck=dict(in_channels=[32, 32, 32, 64], out_channels=16),
    decode_head=dict(in_channels=[16] * 4, channels=16),
)
"""

OTHER = 'semfpn_trtvit_a_toy'


@pytest.fixture(scope='module')
def checkout(request, tmp_path_factory):
    """A checkout with one config, of a network of some ten thousand parameters."""
    root = tmp_path_factory.mktemp('checkout')
    (root / 'configs').mkdir()
    base = request.config.rootpath / 'configs' / 'semfpn_trtvit_a_ade20k.py'
    (root / 'configs' / base.name).write_text(TINY.format(base=str(base)))
    return root


@pytest.fixture(scope='module')
def outcome(checkout, tmp_path_factory):
    out = tmp_path_factory.mktemp('bench')
    settings = dict(methods=['semfpn'], size=64, iterations=3, threads=1)
    variants = ['plain', 'AMP, checkpointing']
    return benchmark_training(checkout, out=out, variants=variants, beside=[f'mmtrtvit::{OTHER}.py'], **settings), out


def test_rows_say_what_they_were_measured_on(outcome):
    result, out = outcome
    assert json.loads((out / 'training.json').read_text()) == result
    rows = result['training']
    expected = [('plain', False), *([('AMP, checkpointing', True)] if amp_is_quicker() else []), (OTHER, False)]
    assert [(row['name'], row['amp']) for row in rows] == expected
    assert all(row['checkpointing'] == row['amp'] for row in rows)
    # forward and backward pass of 2 images; the other network is of the usual size
    assert rows[-1]['macs'] > 10 * rows[0]['macs'] > 2 * 1e7
    for row in rows:
        assert (row['kind'], row['scope'], row['unit'], row['runs']) == ('measured', 'training iteration', 'ms', 3)
        assert (row['shape'], row['batch'], row['config']) == ('2x3x64x64', 2, 'configs/semfpn_trtvit_a_ade20k.py')
        assert row['machine']['torch_threads'] == 1 and row['versions']['torch'] == torch.__version__
        assert len(row['values']) == 3 and min(row['values']) > 0


def test_memory_is_that_of_a_fresh_process(outcome):
    for row in outcome[0]['training']:
        assert 0 < row['memory']['built'] < row['memory']['peak'] < 8 * 2**30


def test_peak_of_memory_is_seen_after_it_has_passed():
    forget_peak('cpu')
    before, _ = memory('cpu')
    block = bytearray(os.urandom(1)) * (256 * 2**20)
    del block
    now, peak = memory('cpu')
    assert peak - before > 200 * 2**20
    assert now - before < 100 * 2**20


def test_what_is_built(root, monkeypatch):
    monkeypatch.setattr('mmtrtvit.engine.cpu_amp.bfloat16_slowdown', lambda: 0.2)  # whatever this CPU has
    config = Config.fromfile(root / 'configs' / 'upernet_trtvit_a_toy.py')
    plain, wrapper = training.build_training(config, 96, checkpointing=False, amp=False, device=torch.device('cpu'))
    assert plain.training and not plain.backbone.with_cp
    assert plain.data_preprocessor.size == (96, 96)
    config.optim_wrapper.type = 'OptimWrapper'
    both, wrapper = training.build_training(config, 96, checkpointing=True, amp=True, device=torch.device('cpu'))
    assert both.backbone.with_cp
    assert type(wrapper).__name__ == ('AmpOptimWrapper' if torch.cuda.is_available() else 'CPUAmpOptimWrapper')
    assert config.optim_wrapper.type == 'OptimWrapper' and not config.model.backbone.get('with_cp')
    settings = dict(checkpointing=False, amp=False, device=torch.device('cpu'))
    last, _ = training.build_training(config, 96, channels_last=True, **settings)
    kernels = [module.weight for module in last.modules() if isinstance(module, torch.nn.Conv2d)]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


@pytest.mark.parametrize('method', METHODS)
def test_batches_are_random_but_reproducible(root, method):
    dataset = METHODS[method].dataset.lower()
    config = Config.fromfile(root / 'configs' / f'{method}_trtvit_a_{dataset}.py')
    one, same, other = (random_batch(config, 2, 64, 96, seed) for seed in (1, 1, 2))
    assert torch.equal(one['inputs'][1], same['inputs'][1]) and not torch.equal(one['inputs'][0], other['inputs'][0])
    assert not torch.equal(one['inputs'][0], one['inputs'][1])
    for image, sample in zip(one['inputs'], one['data_samples'], strict=True):
        assert image.shape == (3, 64, 96) and image.dtype == torch.uint8
        assert sample.img_shape == (64, 96)
        if dataset == 'coco':
            truth = sample.gt_instances
            assert truth.bboxes.min() >= 0 and (truth.bboxes[:, 2:] <= torch.tensor([96.0, 64.0])).all()
            areas = (truth.bboxes[:, 2:] - truth.bboxes[:, :2]).prod(1)
            assert torch.tensor(truth.masks.masks.sum((1, 2))) == pytest.approx(areas, rel=0.35)
            assert truth.labels.max() < 80
        else:
            assert sample.gt_sem_seg.data.shape == (1, 64, 96) and sample.gt_sem_seg.data.max() < 150


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(size=0), '--size 0'),
        (dict(iterations=0), '--iterations 0'),
        (dict(archs=['e']), '--archs e'),
        (dict(methods=['fcn']), '--methods fcn.*maskrcnn'),
        (dict(family='resnet'), '--family resnet'),
        (dict(variants=['quick']), "--variants 'quick'.*channels last"),
        (dict(beside=['none.py']), 'none.py'),
    ],
)
def test_bad_input(checkout, settings, message, tmp_path):
    with pytest.raises(ConfigError, match=f'(?s){message}'):
        benchmark_training(checkout, out=tmp_path / 'bench', **settings)
    assert not (tmp_path / 'bench').exists()


def test_a_process_that_fails_says_why(checkout, tmp_path):
    missing = next((checkout / 'configs').iterdir()).with_name('missing.py')
    trainer = training._Trainer(str(missing), training.VARIANTS['plain'], 2, 64, 1)
    try:
        with pytest.raises(ConfigError, match='missing.py'):
            trainer.ready()
    finally:
        trainer.close()
    assert not trainer.process.is_alive()


def test_a_process_that_is_killed_is_noticed(checkout):
    config = next((checkout / 'configs').iterdir())
    trainer = training._Trainer(str(config), training.VARIANTS['plain'], 2, 64, 1)
    try:
        trainer.process.kill()
        with pytest.raises(DeployError, match='enough memory'):
            trainer.ready()
    finally:
        trainer.close()
