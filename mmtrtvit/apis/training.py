"""Training a config with mmengine's runner."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner, find_latest_checkpoint

from ..checkpoint import allow_mmengine_checkpoints, check_checkpoint, read_checkpoint
from ..datasets.preflight import check_data
from ..errors import CheckpointError, ConfigError
from .config import load_config, set_work_dir
from .errors import library_errors_explained


def use_amp(config: Config) -> None:
    """Train in mixed precision: float16 with loss scaling on a GPU, bfloat16 on a CPU.

    Raises:
        ConfigError: If the config has an optimiser wrapper that this cannot replace.
    """
    wrapper = config.optim_wrapper
    if wrapper.get('type', 'OptimWrapper') not in ('OptimWrapper', 'AmpOptimWrapper', 'mmtrtvit.CPUAmpOptimWrapper'):
        raise ConfigError(
            f'--amp cannot be used with optim_wrapper.type={wrapper.type!r}.',
            expected='OptimWrapper',
            fix='leave out --amp, or set optim_wrapper.type=OptimWrapper',
        )
    if torch.cuda.is_available():
        wrapper.type = 'AmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')
    else:
        wrapper.type = 'mmtrtvit.CPUAmpOptimWrapper'
        wrapper.pop('loss_scale', None)


def use_auto_scale_lr(config: Config) -> None:
    """Scale the learning rate to the batch that is really used.

    Raises:
        ConfigError: If the config does not say which batch its learning rate is for.
    """
    if 'base_batch_size' not in config.get('auto_scale_lr', {}):
        raise ConfigError(
            '--auto-scale-lr: the config does not say which batch its learning rate is for.',
            expected='auto_scale_lr = dict(base_batch_size=16) or the like in the config',
            fix='add it, or set the learning rate by --cfg-options optim_wrapper.optimizer.lr=...',
        )
    config.auto_scale_lr.enable = True


def set_resume(config: Config, resume: str | None) -> None:
    """Resume from a checkpoint, or from the latest one of the work dir with ``'auto'``.

    Raises:
        CheckpointError: If the checkpoint cannot be read or has no training state.
    """
    if resume is None:
        return
    config.resume = True
    config.load_from = None if resume == 'auto' else resume
    path = find_latest_checkpoint(config.work_dir) if resume == 'auto' else resume
    if path and 'optimizer' not in read_checkpoint(path):
        raise CheckpointError(
            f'{path} holds weights but no training state (no optimizer).',
            expected='a checkpoint written in training, with its optimizer and schedule',
            fix=f'start a new run from its weights: --cfg-options load_from={path}',
        )


def train(
    config: str | os.PathLike,
    *,
    work_dir: str | None = None,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    cfg_options: Mapping | None = None,
    launcher: str = 'none',
    allow_mismatch: bool = False,
) -> Runner:
    """Train a config.

    Args:
        config: The config file.
        work_dir: Where logs and checkpoints go; ``work_dirs/<config name>`` by default.
        resume: ``'auto'`` for the latest checkpoint of the work dir, or a checkpoint.
        amp: Train in mixed precision.
        auto_scale_lr: Scale the learning rate to the batch that is really used.
        cfg_options: Changes to the config, dotted key to value.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        allow_mismatch: Accept a ``load_from`` checkpoint that does not fill the whole network.

    Returns:
        The runner, after training.

    Raises:
        ConfigError, DataError, CheckpointError: For input that cannot be used, before training starts.
    """
    cfg = load_config(config, cfg_options)
    cfg.launcher = launcher
    set_work_dir(cfg, Path(config), work_dir)
    if amp:
        use_amp(cfg)
    if auto_scale_lr:
        use_auto_scale_lr(cfg)
    allow_mmengine_checkpoints()
    set_resume(cfg, resume)
    check_data(cfg, ['train', 'val'])
    with library_errors_explained():
        runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
        if cfg.get('load_from'):
            check_checkpoint(runner.model, cfg.load_from, allow_mismatch=allow_mismatch)
        runner.train()
    return runner
