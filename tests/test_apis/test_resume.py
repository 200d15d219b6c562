"""A run that is killed at any moment leaves whole checkpoints, and goes on as if it had not been stopped."""

import json
import multiprocessing
import signal
from pathlib import Path

import pytest
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmtrtvit.apis import train
from mmtrtvit.checkpoint import read_checkpoint
from mmtrtvit.errors import ConfigError

# A worker loads (and flips) the images, and starts anew every epoch.
OPTIONS = {
    'train_cfg.max_epochs': 3,
    'val_cfg': None,
    'val_dataloader': None,
    'val_evaluator': None,
    'train_dataloader.num_workers': 1,
}


HERE = Path(__file__).parent


@pytest.fixture(scope='module')
def clean_processes():
    """Processes that have OpenMMLab imported and nothing else done: a training of this one must not be forked."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['mmtrtvit.apis', 'mmdet.apis'])
    return context


@pytest.fixture(scope='module')
def run(clean_processes):
    """Train in a process of its own and return its exit code."""

    def run(config, work_dir, **arguments):
        process = clean_processes.Process(
            target=train, args=(str(config),), kwargs=dict(work_dir=str(work_dir), **arguments)
        )
        process.start()
        process.join(300)
        if process.exitcode is None:
            process.kill()
        return process.exitcode

    return run


@pytest.fixture
def killing_config(toy, tmp_path, monkeypatch):
    """The path of a config of runs that end themselves."""

    def write(moment):
        monkeypatch.syspath_prepend(HERE)
        config = tmp_path / toy.config.name
        config.write_text(
            f'_base_ = {str(toy.config)!r}\n'
            "custom_imports = dict(imports=['mmtrtvit', 'killer'])\n"
            f"custom_hooks = [dict(type='Killer', moment={moment!r})]\n"
        )
        return config

    return write


def loss_curve(work_dir):
    """Loss of each iteration; what a resumed run did again replaces what was lost."""
    curve = {}
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            if 'loss' in (entry := json.loads(line)):
                curve[entry['step']] = entry['loss']
    return curve


def assert_same_weights(ours, theirs, name='epoch_3.pth'):
    """Exactly: on a CPU the same operations on the same numbers give the same bits."""
    ours, theirs = (read_checkpoint(folder / name)['state_dict'] for folder in (ours, theirs))
    assert set(ours) == set(theirs)
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.fixture(scope='module')
def uninterrupted(toy, run, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('uninterrupted')
    assert run(toy.config, work_dir, cfg_options=OPTIONS) == 0
    assert sorted(loss_curve(work_dir)) == list(range(1, 13))
    return work_dir


@pytest.mark.slow
@pytest.mark.parametrize(
    'moment, keep', [('mid-epoch', 3), ('half written', 1), ('half written', 3), ('not renamed', 1), ('not named', 1)]
)
def test_killed_and_resumed(toy, uninterrupted, run, killing_config, tmp_path, moment, keep):
    work_dir = tmp_path / 'work'
    options = {**OPTIONS, 'default_hooks.checkpoint.max_keep_ckpts': keep}
    assert run(killing_config(moment), work_dir, cfg_options=options) == -signal.SIGKILL

    # whatever has a checkpoint's name is one
    for path in work_dir.glob('epoch_*.pth'):
        assert read_checkpoint(path)['meta']['epoch'] == int(path.stem[-1])
    assert (work_dir / 'last_checkpoint').read_text() == str(work_dir / 'epoch_1.pth')
    assert (work_dir / 'epoch_1.pth').is_file()
    assert bool(list(work_dir.glob('.unfinished.*'))) == (moment in ('half written', 'not renamed'))

    assert run(toy.config, work_dir, resume='auto', cfg_options=options) == 0
    assert loss_curve(work_dir) == loss_curve(uninterrupted)
    assert_same_weights(work_dir, uninterrupted)
    assert not list(work_dir.glob('.unfinished.*'))
    assert (work_dir / 'last_checkpoint').read_text() == str(work_dir / 'epoch_3.pth')
    assert (work_dir / 'epoch_2.pth').is_file() == (keep == 3)


@pytest.mark.slow
def test_the_seed_of_the_checkpoint_is_taken_where_the_config_has_none(toy, tmp_path):
    """mmengine would read it after the data loader has chosen its order."""
    options = {**OPTIONS, 'train_cfg.max_epochs': 2, 'randomness': dict(seed=None)}
    first = train(toy.config, work_dir=str(tmp_path / 'first'), cfg_options=options)
    again = train(
        toy.config,
        work_dir=str(tmp_path / 'again'),
        resume=str(tmp_path / 'first' / 'epoch_1.pth'),
        cfg_options=options,
    )
    assert again.seed == first.seed
    assert again.train_dataloader.batch_sampler.sampler.seed == first.seed
    assert_same_weights(tmp_path / 'again', tmp_path / 'first', 'epoch_2.pth')


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(InfiniteSampler, 'skip'), reason='this mmengine loads all images again to skip them')
def test_iterations_without_epochs(toy, tmp_path):
    """Exact without workers: with them, images come in the same order but are augmented by other random numbers."""
    options = {
        'train_cfg': dict(_delete_=True, type='IterBasedTrainLoop', max_iters=6),
        **dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator')),
        'train_dataloader.sampler.type': 'InfiniteSampler',
        'train_dataloader.batch_sampler': None,
        'default_hooks.checkpoint.by_epoch': False,
        'default_hooks.checkpoint.interval': 3,
        'log_processor.by_epoch': False,
    }
    train(toy.config, work_dir=str(tmp_path / 'whole'), cfg_options=options)
    train(
        toy.config,
        work_dir=str(tmp_path / 'resumed'),
        resume=str(tmp_path / 'whole' / 'iter_3.pth'),
        cfg_options=options,
    )
    assert_same_weights(tmp_path / 'resumed', tmp_path / 'whole', 'iter_6.pth')


class FullDisk(Hook):
    """Lets the next checkpoint be written to a device that is always full."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if not (path := Path(runner.work_dir, '.unfinished.epoch_2.pth')).is_symlink():
            path.symlink_to('/dev/full')


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='no /dev/full')
def test_a_full_disk_is_one_message_and_can_be_mended(toy, tmp_path):
    HOOKS.register_module(name='FullDisk', module=FullDisk, force=True)
    try:
        with pytest.raises(ConfigError, match=r'The disk is full.\n.*--resume'):
            train(
                toy.config,
                work_dir=str(tmp_path),
                cfg_options={**OPTIONS, 'train_cfg.max_epochs': 2, 'custom_hooks': [dict(type='FullDisk')]},
            )
    finally:
        HOOKS.module_dict.pop('FullDisk')
    assert {path.name for path in tmp_path.glob('*.pth')} == {'epoch_1.pth'}
    assert not list(tmp_path.glob('.unfinished.*'))
    options = {**OPTIONS, 'train_cfg.max_epochs': 2}
    assert train(toy.config, work_dir=str(tmp_path), resume='auto', cfg_options=options).epoch == 2
    assert read_checkpoint(tmp_path / 'epoch_2.pth')['meta']['epoch'] == 2


def test_a_work_dir_that_becomes_unwritable_is_one_message(toy, tmp_path, monkeypatch):
    def refuse(self, obj, filepath):
        raise PermissionError(13, 'Permission denied', str(filepath))

    monkeypatch.setattr(LocalBackend, 'put', refuse)
    with pytest.raises(ConfigError, match=r'epoch_1.pth cannot be written or read: permission denied.\n.*--work-dir'):
        train(toy.config, work_dir=str(tmp_path), cfg_options={**OPTIONS, 'train_cfg.max_epochs': 1})
    assert not list(tmp_path.glob('**/*.pth')) and not (tmp_path / 'last_checkpoint').exists()
