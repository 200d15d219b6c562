"""What a distributed run needs on a CPU is changed in its config; other runs are left alone."""

import pytest
from mmengine.config import Config

from mmtrtvit.engine import cpu_processes
from mmtrtvit.engine.cpu_processes import use_cpu_processes


@pytest.fixture
def started(monkeypatch):
    """What the process group is started with, in place of starting it."""
    calls = []
    monkeypatch.setattr(cpu_processes, 'get_device', lambda: 'cpu')
    monkeypatch.setattr(cpu_processes, 'set_multi_processing', lambda **options: None)
    monkeypatch.setattr(cpu_processes, 'init_dist', lambda launcher, **options: calls.append((launcher, options)))
    return calls


@pytest.fixture
def said(monkeypatch):
    """The lines that are logged."""
    lines = []
    monkeypatch.setattr(cpu_processes, 'print_log', lambda message, **options: lines.append(message))
    return lines


def config(**changes):
    return Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=60)), **changes))


def test_gloo_and_no_device_ids(started, said):
    changed = config()
    use_cpu_processes(changed)
    assert started == [('pytorch', dict(backend='gloo', timeout=60))]
    assert changed.model_wrapper_cfg == dict(type='MMDistributedDataParallel', broadcast_buffers=False, device_ids=None)
    assert len(said) == 1 and 'gloo instead of nccl' in said[0]


def test_own_wrappers_keep_their_settings(started):
    changed = config(find_unused_parameters=True)
    use_cpu_processes(changed)
    assert changed.model_wrapper_cfg.find_unused_parameters
    changed = config(model_wrapper_cfg=dict(type='MMSeparateDistributedDataParallel', broadcast_buffers=True))
    use_cpu_processes(changed)
    assert changed.model_wrapper_cfg == dict(
        type='MMSeparateDistributedDataParallel', broadcast_buffers=True, device_ids=None
    )


def test_strategies(started):
    fsdp = dict(type='FSDPStrategy', state_dict_cfg='full', model_wrapper=dict(type='X', use_orig_params=True))
    changed = config(runner_type='FlexibleRunner', strategy=fsdp)
    use_cpu_processes(changed)
    assert changed.strategy.model_wrapper == dict(type='X', use_orig_params=True, device_id='cpu')
    assert not changed.strategy.state_dict_cfg.state_dict_config.offload_to_cpu
    other = dict(type='DeepSpeedStrategy')
    changed = config(runner_type='FlexibleRunner', strategy=other)
    use_cpu_processes(changed)
    assert changed.strategy == other and 'model_wrapper_cfg' not in changed


def test_synchronised_norms_are_replaced(started, said):
    model = dict(backbone=dict(norm_cfg=dict(type='SyncBN', requires_grad=True)), heads=[dict(type='Head')])
    changed = config(model=model, sync_bn='torch')
    use_cpu_processes(changed)
    assert 'sync_bn' not in changed
    assert changed.model.backbone.norm_cfg == dict(type='BN', requires_grad=True)
    assert len([line for line in said if 'SyncBatchNorm needs GPUs' in line]) == 1
    said.clear()
    use_cpu_processes(config(model=dict(backbone=dict(norm_cfg=dict(type='LN')))))
    assert not [line for line in said if 'SyncBatchNorm' in line]


@pytest.mark.parametrize('launcher, device', [('none', 'cpu'), ('pytorch', 'cuda')])
def test_all_other_runs_are_left_alone(started, monkeypatch, launcher, device):
    monkeypatch.setattr(cpu_processes, 'get_device', lambda: device)
    settings = dict(launcher=launcher, sync_bn='torch', model=dict(norm_cfg=dict(type='SyncBN')))
    changed = Config(dict(settings))
    use_cpu_processes(changed)
    assert changed.to_dict() == settings and not started


def test_the_device_setter_of_torch_comes_back(fresh):
    """The process group is started for real, in a process of its own."""
    code = (
        'import torch; from mmengine.config import Config; from mmengine.dist import get_backend, get_world_size\n'
        'from mmtrtvit.engine import use_cpu_processes\n'
        'before = torch.cuda.set_device\n'
        "use_cpu_processes(Config(dict(launcher='pytorch')))\n"
        'assert torch.cuda.set_device is before\n'
        'print(get_backend(), get_world_size(), torch.multiprocessing.get_start_method())\n'
    )
    launch = dict(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT='0')
    done = fresh(code, **launch, CUDA_VISIBLE_DEVICES='')
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == 'gloo 1 fork'
