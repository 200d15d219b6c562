"""Several processes without a GPU: gloo in place of nccl, no device ids, no SyncBatchNorm."""

import contextlib
import logging
from collections.abc import Iterator, MutableMapping, Sequence

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import init_dist, is_distributed
from mmengine.logging import print_log
from mmengine.utils.dl_utils import set_multi_processing

SYNCED_NORMS = {'SyncBN': 'BN', 'MMSyncBN': 'BN', 'naiveSyncBN': 'BN'}
"""Norms that are computed over all processes, on GPUs only, and their replacements on a CPU."""

CPU_WRAPPERS = {
    'DDPStrategy': (dict(type='MMDistributedDataParallel', broadcast_buffers=False), dict(device_ids=None)),
    **dict.fromkeys(
        ('FSDPStrategy', 'mmtrtvit.ResumableFSDPStrategy'),
        (dict(type='MMFullyShardedDataParallel'), dict(device_id='cpu')),
    ),
}
"""The wrapper of the model: mmengine's default, and the settings that name no GPU. No strategy means DDPStrategy."""

FULL_STATE_ON_CPU = dict(
    state_dict_type='FULL_STATE_DICT',
    state_dict_config=dict(type='FullStateDictConfig', rank0_only=True, offload_to_cpu=False),
    optim_state_dict_config=dict(type='FullOptimStateDictConfig', rank0_only=True, offload_to_cpu=False),
)
"""mmengine's ``state_dict_cfg='full'`` without the move to the CPU: there, torch frees tensors it has not copied."""


@contextlib.contextmanager
def _no_device_to_set() -> Iterator[None]:
    """Ignore the CUDA device that mmengine's launchers set before they start the process group."""
    set_device = torch.cuda.set_device
    torch.cuda.set_device = lambda device: None
    try:
        yield
    finally:
        torch.cuda.set_device = set_device


def _replace_synced_norms(settings: object) -> int:
    """Make every norm config in ``settings`` one that works on a CPU; return how many there were."""
    if isinstance(settings, MutableMapping):
        found = isinstance(settings.get('type'), str) and settings['type'] in SYNCED_NORMS
        if found:
            settings['type'] = SYNCED_NORMS[settings['type']]
        return found + sum(_replace_synced_norms(value) for value in settings.values())
    if isinstance(settings, Sequence) and not isinstance(settings, str):
        return sum(_replace_synced_norms(value) for value in settings)
    return 0


def _drop_synced_norms(config: Config) -> None:
    strategy = config.get('strategy') or {}
    wanted = [holder.pop('sync_bn') for holder in (config, strategy) if holder.get('sync_bn')]
    replaced = _replace_synced_norms(config.get('model'))
    if wanted or replaced:
        print_log(
            'SyncBatchNorm needs GPUs: every process takes the BatchNorm statistics of its own images.',
            logger='current',
            level=logging.WARNING,
        )


def _wrap_without_devices(config: Config) -> None:
    """Name the wrapper that mmengine would choose, without a GPU's number, which it fills in otherwise."""
    strategy = config.get('strategy') or {}
    kind = strategy.get('type', 'DDPStrategy')
    if kind not in CPU_WRAPPERS:
        return
    holder, key = (strategy, 'model_wrapper') if strategy else (config, 'model_wrapper_cfg')
    default, no_device = CPU_WRAPPERS[kind]
    if 'find_unused_parameters' in config and not strategy:
        default = {**default, 'find_unused_parameters': config.find_unused_parameters}
    holder[key] = {**(holder.get(key) or default), **no_device}
    if strategy.get('state_dict_cfg') == 'full':
        strategy['state_dict_cfg'] = FULL_STATE_ON_CPU


def use_cpu_processes(config: Config) -> None:
    """Let a distributed run start where torch sees no GPU; do nothing for any other run.

    The process group is started here with gloo, since mmengine's launchers set a CUDA device first. The config is
    changed so that the model is wrapped without device ids, and so that no norm is synchronised.

    Args:
        config: The config of the run, with ``launcher`` set; changed in place.
    """
    if config.get('launcher', 'none') == 'none' or get_device() != 'cpu':
        return
    environment = config.get('env_cfg', {})
    settings = dict(environment.get('dist_cfg') or {})
    asked = settings.pop('backend', 'nccl')
    # before the process group, which would make `spawn` the way to start processes
    set_multi_processing(**environment.get('mp_cfg', {}), distributed=True)
    if not is_distributed():
        with _no_device_to_set():
            init_dist(config.launcher, backend='gloo', **settings)
    if asked != 'gloo':
        print_log(f'torch sees no GPU: processes talk by gloo instead of {asked}.', logger='current')
    _drop_synced_norms(config)
    _wrap_without_devices(config)
