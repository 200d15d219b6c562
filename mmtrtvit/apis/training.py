"""Training a config with mmengine's runner."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch.nn as nn
from mmengine.config import Config, ConfigDict
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, RUNNERS
from mmengine.runner import Runner

from ..checkpoint import allow_mmengine_checkpoints, check_checkpoint, read_checkpoint, unwrapped
from ..config import describe_batches, load_config, set_work_dir
from ..datasets.loading import name_images_in_errors
from ..datasets.preflight import check_data
from ..engine import use_cpu_processes
from ..engine.cpu_amp import use_amp
from ..engine.resume import check_optimizer, check_training_state, latest_checkpoint
from ..engine.runner import build_runner
from ..engine.schedule import schedule_faults
from ..engine.shared_norms import SharedNormHook
from ..errors import ConfigError, DataError, library_errors_explained
from ..models import PyramidBackbone
from .class_layers import only_classes_differ


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

    The order of the images follows the checkpoint's seed, unless the config has one. With ``'auto'`` and no checkpoint
    yet, the run is a new one, from ``load_from`` if the config has it.

    Args:
        config: The config, changed in place; ``resume`` in it counts where the argument is ``None``.
        resume: A checkpoint, ``'auto'``, or ``None``.

    Raises:
        CheckpointError: If the checkpoint cannot be read or has no training state.
    """
    if resume is None and config.get('resume'):
        resume = config.get('load_from') or 'auto'
    if resume is None:
        return
    path = latest_checkpoint(config.work_dir) if resume == 'auto' else resume
    config.resume = path is not None
    if path is None:
        print_log(f'There is nothing to resume in {config.work_dir}: this is a new run.', logger='current')
        return
    config.load_from = path
    if 'runner_type' in config and Path(path).is_dir():  # sharded by the strategy, which reads it itself
        return
    checkpoint = read_checkpoint(path)
    check_training_state(checkpoint, path)
    # the data loader is built, and its order chosen, before mmengine reads the seed of the checkpoint
    seed = checkpoint['meta'].get('seed')
    if seed is not None and (config.get('randomness') or {}).get('seed') is None:
        config.randomness = {**(config.get('randomness') or {}), 'seed': seed}


def check_start(runner: Runner, path: str, resumed: bool, allow_mismatch: bool) -> None:
    """Make sure that a run can start from a checkpoint.

    Args:
        runner: The runner, before training.
        path: The checkpoint.
        resumed: Whether the run goes on with the checkpoint's training state.
        allow_mismatch: Accept a checkpoint that does not fill the whole network, unless it is resumed.

    Raises:
        CheckpointError: If it is another network's, or its optimiser's state is of another optimiser.
    """
    # a FlexibleRunner builds its network only when it trains
    network = runner.model if isinstance(runner.model, nn.Module) else MODELS.build(runner.model)
    check_checkpoint(network, path, allow_mismatch=allow_mismatch and not resumed)
    if resumed and isinstance(runner.optim_wrapper, OptimWrapper):  # a FlexibleRunner builds it later as well
        check_optimizer(runner.optim_wrapper.optimizer, read_checkpoint(path)['optimizer'], path)


def forget_pretrained(model: nn.Module | ConfigDict) -> None:
    """Skip pretrained weights of the backbone that a checkpoint of the whole network would overwrite.

    Their file may be gone by now. The config that the run has already written still names it.
    """
    if not isinstance(model, nn.Module):  # of a FlexibleRunner, which builds it later
        model.backbone.init_cfg = None
        return
    for module in model.modules():
        if isinstance(module, PyramidBackbone):
            module.pretrained = None


def stop_when_diverging(config: Config) -> None:
    """Let configs of other packages end as well when loss or weights are not finite."""
    hooks = [*(config.get('default_hooks') or {}).values(), *(config.get('custom_hooks') or ())]
    if not any(hook and str(hook.get('type')).endswith('FiniteHook') for hook in hooks):
        config.custom_hooks = [*(config.get('custom_hooks') or ()), dict(type='mmtrtvit.FiniteHook')]


def use_atomic_checkpoints(config: Config) -> None:
    """Let configs that have mmengine's ``CheckpointHook`` write their checkpoints whole or not at all as well."""
    hook = config.get('default_hooks', {}).get('checkpoint')
    if hook and hook.get('type') == 'CheckpointHook' and '://' not in str(hook.get('out_dir') or config.work_dir):
        hook.type = 'mmtrtvit.AtomicCheckpointHook'


class Started(Hook):
    """Tells whether a training has got past its first iteration: until then an error is the config's, not the run's."""

    def __init__(self) -> None:
        self._stage = 'Building what the config describes'

    def stage(self) -> str:
        """The step in progress; empty after the first iteration."""
        return self._stage

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self._stage = self._stage and 'The first iteration'

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._stage = ''


WHOLE = (
    *('train_cfg.max_epochs', 'train_cfg.max_iters', 'train_cfg.val_interval', 'optim_wrapper.accumulative_counts'),
    *('train_dataloader.batch_size', 'val_dataloader.batch_size', 'auto_scale_lr.base_batch_size'),
)
POSITIVE = ('optim_wrapper.optimizer.lr', 'optim_wrapper.clip_grad.max_norm')
"""Settings of a training that are whole numbers from 1 on, and those that are above 0, where they are given."""


def check_numbers(config: Config) -> None:
    """Make sure that something is trained: that counts are whole numbers, and rates above 0.

    Raises:
        ConfigError: Names the first setting that is not.
    """
    for key in (*WHOLE, *POSITIVE):
        value = config
        for part in key.split('.'):
            value = value.get(part) if isinstance(value, Mapping) or value is config else None
        whole = key in WHOLE
        if value is not None and (type(value) not in ((int,) if whole else (int, float)) or not value > 0):
            raise ConfigError(
                f'{key}={value!r}: nothing could be trained.',
                expected='a whole number from 1 on' if whole else 'a number above 0',
                fix=f'correct it in the config, or by --cfg-options {key}=...',
            )


SHARDING = {
    'FSDPStrategy': ('fsdp', "mmengine would clip every process's share of the gradients by itself"),
    'DeepSpeedStrategy': ('deepspeed', 'DeepSpeed clips by strategy.gradient_clipping'),
}
"""Strategies that split the training state: the variant that sets them, and why ``clip_grad`` cannot be used."""


def check_strategy(config: Config) -> None:
    """Make sure that a strategy that splits the training state can do what the config says.

    Raises:
        ConfigError: If there is only one process, or the optimiser's wrapper is to clip gradients.
    """
    kind = str((config.get('strategy') or {}).get('type')).removeprefix('mmtrtvit.Resumable')
    if kind not in SHARDING:
        return
    variant, why_not = SHARDING[kind]
    if config.get('launcher', 'none') == 'none':
        raise ConfigError(
            f'{kind} (--variant {variant}) splits the training state over several processes, and this is one.',
            expected='tools/dist_train.sh, tools/slurm_train.sh, or --launcher',
            fix=f'tools/dist_train.sh CONFIG GPUS --variant {variant}, or leave out the variant',
        )
    if config.optim_wrapper.pop('clip_grad', None):
        raise ConfigError(
            f'optim_wrapper.clip_grad cannot be used with {kind}: {why_not}.',
            fix='add --cfg-options optim_wrapper.clip_grad=None',
        )


def check_batches(runner: Runner) -> None:
    """Make sure that the training data fill a batch.

    Raises:
        DataError: If an epoch has none.
    """
    if isinstance(runner, Runner) and not len(runner.train_dataloader):
        raise DataError(
            f'The {len(runner.train_dataloader.dataset)} training images fill no batch, and incomplete ones are '
            'left out (drop_last).',
            fix='lower train_dataloader.batch_size, or set drop_last=False there and in its batch_sampler',
        )


def describe_run(runner: Runner) -> str:
    """One line on network, data and length of a run: what is about to be trained."""
    model, loop = runner.model, runner._train_loop
    if not isinstance(model, nn.Module) or not hasattr(loop, 'max_iters'):  # FlexibleRunner: later
        return 'The run is built when it starts.'
    network = unwrapped(model)
    trained = [p.numel() for p in network.parameters() if p.requires_grad]
    data = [f'{len(runner.train_dataloader.dataset)} training images']
    if runner._val_loop is not None:
        data.append(f'{len(runner.val_dataloader.dataset)} validation images')
    loader = runner.train_dataloader
    batch = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', 1)  # a sampler of whole batches
    epochs = f'{runner.max_epochs} epochs, ' if loop.max_epochs > 1 else ''
    return (
        f'{type(network).__name__} with {type(getattr(network, "backbone", network)).__name__}: '
        f'{sum(trained) / 1e6:.1f} M parameters to train; {", ".join(data)}; {epochs}{loop.max_iters} iterations of '
        f'{batch} images' + (f' in each of {get_world_size()} processes' if get_world_size() > 1 else '')
    )


def warn_of_schedule(runner: Runner) -> None:
    """Say at the start how the schedule of the learning rate does not fit the length of the training."""
    steps = None  # a FlexibleRunner builds its data only when it trains
    if isinstance(runner, Runner) and 'max_epochs' in (runner.cfg.get('train_cfg') or {}):
        steps = len(runner.train_loop.dataloader)
    for fault in schedule_faults(runner.cfg, steps):
        runner.logger.warning(fault)


def train(
    config: str | os.PathLike,
    *,
    work_dir: str | None = None,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    variants: Sequence[str] = (),
    cfg_options: Mapping | None = None,
    launcher: str = 'none',
    allow_mismatch: bool = False,
) -> Runner:
    """Train a config.

    Args:
        config: The config file.
        work_dir: Folder for logs and checkpoints; ``work_dirs/<config name>`` by default.
        resume: ``'auto'`` for the latest checkpoint of the work dir, or a checkpoint.
        amp: Train in mixed precision.
        auto_scale_lr: Scale the learning rate to the batch that is really used.
        variants: Variants of the config, such as ``layer-decay``; see :func:`~mmtrtvit.config.find_variant`.
        cfg_options: Changes to the config, dotted key to value.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        allow_mismatch: Accept a ``load_from`` checkpoint that does not fill the whole network.

    Returns:
        The runner, after training.

    Raises:
        ConfigError, DataError, CheckpointError: For input that cannot be used, before training starts.
        TrainingError: If loss or weights are no longer finite.
    """
    cfg = load_config(config, cfg_options, variants)
    cfg.launcher = launcher
    check_strategy(cfg)
    check_numbers(cfg)
    set_work_dir(cfg, Path(config), work_dir)
    if amp:
        use_amp(cfg)
    if auto_scale_lr:
        use_auto_scale_lr(cfg)
    allow_mmengine_checkpoints()
    set_resume(cfg, resume)
    allow_mismatch = allow_mismatch or only_classes_differ(cfg)
    use_atomic_checkpoints(cfg)
    stop_when_diverging(cfg)
    check_data(cfg, ['train', 'val'])
    started = Started()
    with library_errors_explained(describe_batches(cfg, 'train'), started.stage):
        use_cpu_processes(cfg)
        runner = build_runner(RUNNERS.build if 'runner_type' in cfg else Runner.from_cfg, cfg, loops=('train', 'val'))
        check_batches(runner)
        if isinstance(runner, Runner):
            for loop in filter(None, (runner._train_loop, runner._val_loop)):
                name_images_in_errors(loop.dataloader.dataset)
        runner.logger.info(describe_run(runner))
        start, resumed = cfg.get('load_from'), bool(cfg.get('resume'))
        if start and not ('runner_type' in cfg and Path(start).is_dir()):
            check_start(runner, start, resumed, allow_mismatch)
        if start and (resumed or not allow_mismatch):
            forget_pretrained(runner.model)
        warn_of_schedule(runner)
        runner.register_hook(SharedNormHook())
        runner.register_hook(started, priority='LOWEST')
        runner.train()
    return runner
