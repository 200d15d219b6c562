"""Training: it goes on where it stopped, in the precision and at the rate that were asked for."""

import shutil

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmtrtvit.apis import train
from mmtrtvit.apis.training import set_resume, use_amp, use_auto_scale_lr
from mmtrtvit.checkpoint import read_checkpoint
from mmtrtvit.errors import CheckpointError, ConfigError, DataError, TrainingError

QUICK = {'train_cfg.max_epochs': 1, 'val_dataloader.dataset.indices': 1}


class Watcher(Hook):
    """Keeps what happens in each iteration, and the type of the features and the weights."""

    def before_train(self, runner):
        self.first_iteration, self.rates, self.losses, self.types = runner.iter, [], [], set()
        runner.model.backbone.register_forward_hook(self.note)
        Watcher.last = self

    def note(self, backbone, inputs, features):
        if backbone.training:
            self.types |= {feature.dtype for feature in features}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.rates.append(runner.optim_wrapper.get_lr()['lr'][0])

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(outputs['loss'].item())


@pytest.fixture(autouse=True)
def watcher():
    HOOKS.register_module(name='Watcher', module=Watcher, force=True)
    yield
    HOOKS.module_dict.pop('Watcher', None)


WATCHED = {'custom_hooks': [dict(type='Watcher')]}


def weights_of(path):
    return read_checkpoint(path)['state_dict']


def assert_same_weights(ours, theirs):
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-6, msg=name)


def test_a_run_leaves_checkpoints_config_and_log(toy, toy_run):
    assert {'epoch_1.pth', 'epoch_2.pth', 'last_checkpoint', toy.config.name} <= {
        path.name for path in toy_run.iterdir()
    }
    assert list(toy_run.glob('*/*.log'))
    first, second = weights_of(toy_run / 'epoch_1.pth'), weights_of(toy_run / 'epoch_2.pth')
    moved = [name for name in first if not torch.equal(first[name], second[name])]
    assert len(moved) == len(first)


def test_resumed_is_as_if_never_stopped(toy, toy_run, tmp_path):
    runner = train(toy.config, work_dir=str(tmp_path), resume=str(toy_run / 'epoch_1.pth'), cfg_options=WATCHED)
    assert (runner.epoch, runner.iter, Watcher.last.first_iteration) == (2, 8, 4)
    assert not (tmp_path / 'epoch_1.pth').exists()
    assert_same_weights(weights_of(tmp_path / 'epoch_2.pth'), weights_of(toy_run / 'epoch_2.pth'))
    # the warm-up goes on: a tenth of the rate at first, all of it in the tenth iteration
    assert Watcher.last.rates == pytest.approx([5e-4 * (0.1 + 0.1 * iteration) for iteration in range(4, 8)])


def test_auto_resume_with_nothing_to_resume_then_with_something(toy, tmp_path):
    runner = train(toy.config, work_dir=str(tmp_path), resume='auto', cfg_options={**WATCHED, **QUICK})
    assert Watcher.last.first_iteration == 0 and runner.iter == 4
    runner = train(
        toy.config, work_dir=str(tmp_path), resume='auto', cfg_options={**WATCHED, 'val_dataloader.dataset.indices': 1}
    )
    assert Watcher.last.first_iteration == 4 and runner.epoch == 2


@pytest.mark.slow
def test_pretrained_weights_are_not_needed_where_a_checkpoint_fills_the_network(toy, toy_run, tmp_path):
    gone = {'model.backbone.init_cfg': [dict(type='Pretrained', checkpoint=str(tmp_path / 'gone.pth'))]}
    options = {**gone, **QUICK, 'load_from': str(toy_run / 'epoch_1.pth')}
    runner = train(toy.config, work_dir=str(tmp_path / 'loaded'), cfg_options=options)
    assert runner.iter > 0
    # what is written still says where the network comes from
    assert 'gone.pth' in (tmp_path / 'loaded' / toy.config.name).read_text()
    with pytest.raises(CheckpointError, match='no pretrained weights at .*gone.pth'):
        train(toy.config, work_dir=str(tmp_path / 'new'), cfg_options={**gone, **QUICK}, resume='auto')


def test_weights_without_training_state_are_not_resumed(toy, toy_checkpoint, toy_run, tmp_path):
    with pytest.raises(CheckpointError, match=r'spread.pth holds weights but no training state .*\n.*\n.*load_from='):
        train(toy.config, work_dir=str(tmp_path), resume=str(toy_checkpoint))
    with pytest.raises(CheckpointError, match='There is no checkpoint'):
        train(toy.config, work_dir=str(tmp_path), resume=str(tmp_path / 'none.pth'))
    (tmp_path / 'cut.pth').write_bytes((toy_run / 'epoch_1.pth').read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r'cut.pth \(5000 bytes\) cannot be read'):
        train(toy.config, work_dir=str(tmp_path), resume=str(tmp_path / 'cut.pth'))


def test_resuming_another_network_or_optimizer_is_refused(toy, toy_run, tmp_path):
    """mmengine only logs other shapes, and gives the optimiser state of them: the process died by SIGSEGV."""
    shutil.copytree(toy_run, tmp_path / 'run')
    before = sorted(path.name for path in (tmp_path / 'run').glob('*.pth'))
    for options, allowed, said in [
        ({'model.roi_head.bbox_head.fc_out_channels': 48}, True, 'other shape: roi_head.bbox_head'),
        (
            {'optim_wrapper.optimizer': dict(_delete_=True, type='SGD', lr=1e-3, momentum=0.9)},
            False,
            'it is not the SGD',
        ),
        ({'optim_wrapper.paramwise_cfg': dict(_delete_=True, norm_decay_mult=0.0)}, True, 'parameter groups with'),
    ]:
        with pytest.raises(CheckpointError, match=said):
            train(
                toy.config,
                work_dir=str(tmp_path / 'run'),
                resume='auto',
                cfg_options=options,
                allow_mismatch=allowed,
            )
    assert sorted(path.name for path in (tmp_path / 'run').glob('*.pth')) == before


def test_a_new_run_with_resume_keeps_its_load_from(tmp_path):
    """A job that is queued again and again has --resume from the start."""
    config = Config(dict(work_dir=str(tmp_path), load_from='pretrained.pth'))
    set_resume(config, 'auto')
    assert (config.resume, config.load_from) == (False, 'pretrained.pth')


def test_a_work_dir_that_was_moved_is_resumed(toy_run, tmp_path):
    shutil.copy(toy_run / 'epoch_2.pth', tmp_path)
    (tmp_path / 'last_checkpoint').write_text('/somewhere/else/epoch_2.pth')
    config = Config(dict(work_dir=str(tmp_path), resume=True))
    set_resume(config, None)
    assert (config.resume, config.load_from) == (True, str(tmp_path / 'epoch_2.pth'))


def test_a_training_that_diverges_ends_and_keeps_its_last_checkpoint(toy, toy_run, tmp_path):
    shutil.copytree(toy_run, tmp_path / 'run')
    options = {
        'load_from': str(toy_run / 'epoch_2.pth'),
        'optim_wrapper.optimizer': dict(_delete_=True, type='SGD', lr=1e30),
        'param_scheduler': [],
    }
    with pytest.raises(TrainingError, match=r'diverged: .*loss.* is nan.* in iteration 2, .*\n.*\n.*epoch_2.pth'):
        train(toy.config, work_dir=str(tmp_path / 'run'), cfg_options={**QUICK, **options})
    assert all(torch.isfinite(value).all() for value in weights_of(tmp_path / 'run' / 'epoch_2.pth').values())


def test_auto_resume_names_the_broken_checkpoint(tmp_path):
    (tmp_path / 'epoch_1.pth').write_bytes(b'cut')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    with pytest.raises(CheckpointError, match='epoch_1.pth'):
        set_resume(Config(dict(work_dir=str(tmp_path))), 'auto')


@pytest.mark.skipif(torch.cuda.is_available(), reason='with a GPU, mixed precision is float16 on it')
def test_amp_is_bfloat16_inside_and_float32_outside(toy, tmp_path, monkeypatch):
    monkeypatch.setattr('mmtrtvit.engine.cpu_amp.bfloat16_slowdown', lambda: 0.2)  # whatever this CPU has
    runner = train(toy.config, work_dir=str(tmp_path), amp=True, cfg_options={**WATCHED, **QUICK})
    assert Watcher.last.types == {torch.bfloat16}
    assert len(Watcher.last.losses) == 4 and torch.isfinite(torch.tensor(Watcher.last.losses)).all()
    assert {parameter.dtype for parameter in runner.model.parameters()} == {torch.float32}
    saved = weights_of(tmp_path / 'epoch_1.pth').values()
    assert torch.bfloat16 not in {value.dtype for value in saved}
    assert all(torch.isfinite(value).all() for value in saved)


def test_without_amp_it_is_float32(toy, tmp_path):
    """The rate is scaled to the batch in the same run: 4 images in place of 8."""
    options = {'auto_scale_lr.base_batch_size': 8}
    train(toy.config, work_dir=str(tmp_path), auto_scale_lr=True, cfg_options={**WATCHED, **QUICK, **options})
    assert Watcher.last.types == {torch.float32}
    assert Watcher.last.rates[0] == pytest.approx(0.5 * 0.1 * 5e-4)


def test_amp_and_auto_scale_lr_say_what_they_need():
    with pytest.raises(ConfigError, match="--amp cannot be used with optim_wrapper.type='ApexOptimWrapper'"):
        use_amp(Config(dict(optim_wrapper=dict(type='ApexOptimWrapper'))))
    for config in ({}, {'auto_scale_lr': dict(enable=True)}):
        with pytest.raises(ConfigError, match='--auto-scale-lr: .*\n.*base_batch_size'):
            use_auto_scale_lr(Config(config))


def test_weights_of_another_network_are_refused(toy, toy_run, tmp_path):
    options = {**WATCHED, **QUICK, 'load_from': str(toy_run / 'epoch_1.pth')}
    options['model.roi_head.bbox_head.fc_out_channels'] = 48
    with pytest.raises(CheckpointError, match=r'does not belong(.|\n)*other shape: roi_head.bbox_head') as error:
        train(toy.config, work_dir=str(tmp_path), cfg_options=options)
    assert '--allow-mismatch' in str(error.value) and not list(tmp_path.glob('*.pth'))
    runner = train(toy.config, work_dir=str(tmp_path), cfg_options=options, allow_mismatch=True)
    assert runner.model.roi_head.bbox_head.fc_cls.in_features == 48


def test_weights_are_really_loaded(toy, toy_run, tmp_path):
    options = {**QUICK, 'load_from': str(toy_run / 'epoch_2.pth'), 'optim_wrapper.optimizer.lr': 1e-30}
    train(toy.config, work_dir=str(tmp_path), cfg_options=options)
    ours, theirs = weights_of(tmp_path / 'epoch_1.pth'), weights_of(toy_run / 'epoch_2.pth')
    for name, value in ours.items():
        if 'running_' not in name and 'num_batches' not in name:
            assert torch.equal(value, theirs[name]), name


@pytest.mark.parametrize(
    'options, said',
    [
        ({'train_dataloader.dataset.data_root': 'no/such/root/'}, 'data root no/such/root/ does not exist'),
        ({'train_dataloader.dataset.ann_file': 'annotations/none.json'}, 'no annotation file .*none.json'),
        ({'val_evaluator.ann_file': 'none.json'}, 'no annotation file none.json'),
        ({'train_dataloader.dataset.data_prefix.img': 'none/'}, 'no folder .*none'),
    ],
)
def test_data_is_checked_before_anything_is_built(toy, tmp_path, options, said):
    with pytest.raises(DataError, match=said) as error:
        train(toy.config, work_dir=str(tmp_path), cfg_options=options)
    assert 'MMTRTVIT_DATA_ROOT' in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    'key, value',
    [
        ('train_cfg.max_epochs', 0),
        ('train_cfg.val_interval', 0),
        ('train_dataloader.batch_size', 'two'),
        ('train_dataloader.batch_size', True),
        ('optim_wrapper.optimizer.lr', 0.0),
        ('optim_wrapper.optimizer.lr', float('nan')),
        ('optim_wrapper.clip_grad', dict(max_norm=-1)),  # would climb
    ],
)
def test_numbers_that_train_nothing(toy, tmp_path, key, value):
    with pytest.raises(ConfigError, match=rf'{key}.*: nothing could be trained'):
        train(toy.config, work_dir=str(tmp_path / 'run'), cfg_options={key: value})
    assert not (tmp_path / 'run').exists()


def test_an_error_of_the_first_iteration_is_told_with_its_place(toy, tmp_path):
    """mmdet's FPN asserts without a text."""
    options = {**QUICK, 'model.backbone.out_indices': (0, 1)}
    with pytest.raises(
        ConfigError, match=r'The first iteration failed: AssertionError\n\(mmdet/.*fpn.py, line .*: assert'
    ):
        train(toy.config, work_dir=str(tmp_path), cfg_options=options)
