"""Several processes compute what one does. On CPUs, where they talk by gloo; the scripts choose it by themselves."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmtrtvit.apis import evaluate, load_config
from mmtrtvit.checkpoint import read_checkpoint

HERE = Path(__file__).parent

# Each process takes seconds to import OpenMMLab: one test of what the scripts do is in every run, the others are not.
slow = pytest.mark.slow


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


@pytest.fixture
def script(root, tmp_path):
    """Run a shell script of ``tools/`` from another folder than the checkout."""

    def run(name, *args, **environment):
        done = subprocess.run(
            [str(root / 'tools' / name), *map(str, args)],
            cwd=tmp_path,
            env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable, 'PORT': free_port(), **environment},
            capture_output=True,
            text=True,
            timeout=600,
        )
        return done.returncode, done.stdout, done.stderr

    return run


# --- the same gradients and weights ----------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def two_ways(root, tmp_path_factory):
    """Results of each kind of network: one process, and two under each wrapper."""
    spec = importlib.util.spec_from_file_location('train_two_ways', HERE / 'train_two_ways.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp('two_ways')
    kinds = ['dense', str(root / 'configs' / 'semfpn_trtvit_a_toy.py')]
    out = folder / 'result'
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', f'--master_port={free_port()}'),
            *(str(HERE / 'train_two_ways.py'), str(out), *kinds),
        ],
        env={**os.environ, 'PYTHONPATH': str(root), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [torch.load(f'{out}.{rank}') for rank in (0, 1)]
    return {
        Path(kind).stem: dict(
            start=module.build(kind).state_dict(),
            one=module.train(kind),
            **{wrapper: [rank[kind, wrapper] for rank in ranks] for wrapper in ('ddp', 'fsdp')},
        )
        for kind in kinds
    }


EXACT = dict(rtol=0, atol=1e-8)


@slow
@pytest.mark.parametrize('network', ['dense', 'semfpn_trtvit_a_toy'])
@pytest.mark.parametrize('wrapper', ['ddp', 'fsdp'])
def test_two_processes_do_what_one_does_with_the_whole_batch(two_ways, network, wrapper):
    """Float64, BatchNorm in evaluation mode, three steps of AdamW."""
    result = two_ways[network]
    one, two = result['one'], result[wrapper]
    start = result['start']
    moved = [name for name, value in one['weights'].items() if not torch.allclose(value, start[name], **EXACT)]
    assert len(moved) >= len(one['gradients']) * 0.9
    for rank in two:
        for part in ('gradients', 'weights'):
            if part == 'gradients' and wrapper == 'fsdp':
                continue  # every process has a share of them only
            assert set(rank[part]) == set(one[part])
            for name, value in one[part].items():
                torch.testing.assert_close(rank[part][name], value, **EXACT, msg=f'{part} of {name}')
    # each process saw its own images
    assert two[0]['losses'][0] != two[1]['losses'][0]
    assert sum(rank['losses'][0] for rank in two) / 2 == pytest.approx(one['losses'][0], abs=1e-8)


# --- the scripts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['dist_train', 'dist_test', 'slurm_train', 'slurm_test'])
def test_a_missing_argument_is_one_message(script, name):
    for args in ([], ['c.py'], ['c.py', 'many'] if name == 'dist_train' else ['a', 'b']):
        status, out, err = script(f'{name}.sh', *args)
        assert status == 2 and not out
        assert err.startswith('Usage: ') and err.count('\n') == 1 and f'{name}.sh ' in err


def figures(out):
    """The figures in the last line of an evaluation's log."""
    line = [line for line in out.splitlines() if '(test)' in line][-1]
    return {name: float(value) for name, value in re.findall(r'(\S+): (-?[\d.]+)', line.split('(test)')[1])}


@pytest.mark.slow
def test_training_by_the_script(script, toy, tmp_path):
    """Four images on each process in place of eight on one; SyncBN in the config does no harm."""
    work_dir = tmp_path / 'work'
    options = ['train_cfg.max_epochs=1', 'sync_bn=torch', 'val_cfg=None', 'val_dataloader=None', 'val_evaluator=None']
    status, out, err = script('dist_train.sh', toy.config, 2, '--work-dir', work_dir, '--cfg-options', *options)
    assert status == 0, err[-3000:]
    assert out.count('processes talk by gloo instead of nccl') == 1
    assert out.count('SyncBatchNorm needs GPUs') == 1
    # 16 images, 2 processes with batches of 4
    assert re.search(r'Epoch\(train\) +\[1\]\[2/2\]', out)
    checkpoint = read_checkpoint(work_dir / 'epoch_1.pth')
    assert checkpoint['meta']['iter'] == 2
    assert not [name for name in checkpoint['state_dict'] if name.startswith('module.')]


@slow
def test_sharded_training_by_the_script(script, toy, tmp_path):
    """FSDP: a whole checkpoint, which a single process can evaluate and the same processes can resume."""
    work_dir = tmp_path / 'work'
    common = f'{toy.config} 2 --work-dir {work_dir} --variant fsdp --cfg-options optim_wrapper.clip_grad=None'.split()
    novalidation = ['val_cfg=None', 'val_dataloader=None', 'val_evaluator=None']
    status, _, err = script('dist_train.sh', *common, 'train_cfg.max_epochs=1', *novalidation)
    assert status == 0, err[-3000:]
    assert not list(work_dir.glob('.unfinished.*'))
    first = read_checkpoint(work_dir / 'epoch_1.pth')
    assert first['optimizer']['state']
    assert 'coco/bbox_mAP' in evaluate(toy.config, str(work_dir / 'epoch_1.pth'), work_dir=str(tmp_path / 'test'))
    status, out, err = script('dist_train.sh', *common, 'train_cfg.max_epochs=2', *novalidation, '--resume')
    assert status == 0, err[-3000:]
    assert 'Epoch(train) [1]' not in out and (work_dir / 'epoch_2.pth').is_file()


@pytest.mark.slow
def test_deepspeed_that_is_not_installed_is_told(script, toy, tmp_path):
    if importlib.util.find_spec('deepspeed'):
        pytest.skip('DeepSpeed is installed')
    options = ['--variant', 'deepspeed', '--cfg-options', 'optim_wrapper.clip_grad=None']
    status, _, err = script('dist_train.sh', toy.config, 1, '--work-dir', tmp_path / 'work', *options)
    assert status != 0
    assert err.count('Error: The strategy of the config is DeepSpeedStrategy, but DeepSpeed is not installed.') == 1
    assert 'AssertionError' not in err


@slow
def test_sharded_evaluation_of_boxes_and_masks(script, toy, toy_checkpoint, annotate, tmp_path):
    """Five images on two processes: the one that fills up the last round counts once."""
    # by the true annotations the AP of this network is 0 on some CPUs
    options = {'test_evaluator.ann_file': str(annotate({}))}
    listed = [f'{key}={value}' for key, value in options.items()]
    arguments = ('--work-dir', tmp_path / 'two', '--cfg-options', *listed)
    status, out, err = script('dist_test.sh', toy.config, toy_checkpoint, 2, *arguments)
    assert status == 0, err[-3000:]
    one = evaluate(toy.config, str(toy_checkpoint), work_dir=str(tmp_path / 'one'), cfg_options=options)
    two = figures(out)
    assert any(value > 0 for value in one.values())
    assert {key: two[key] for key in one} == one


@slow
def test_sharded_evaluation_of_pixels(script, root, tmp_path):
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS

    from mmtrtvit.datasets.toy import make_toy_dataset

    made = make_toy_dataset(tmp_path / 'toy', train=2, val=5, progress=False)
    config = tmp_path / 'segmentor.py'
    config.write_text(
        f'_base_ = {str(root / "configs" / "semfpn_trtvit_a_toy.py")!r}\n'
        f'data_root = {made.ade.as_posix() + "/"!r}\n'
        'model = dict(backbone=dict(arch=dict(_delete_=True, widths=(32, 32, 64, 64), depths=(1, 1, 1, 1), '
        "block_types=('C', 'C', 'C', 'M'))), neck=dict(in_channels=[32, 32, 64, 64]))\n"
        'test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root))\n'
    )
    settings = load_config(config)
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(settings.model)
    model.init_weights()
    torch.nn.init.normal_(model.decode_head.conv_seg.weight)
    checkpoint = tmp_path / 'random.pth'
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, checkpoint)
    status, out, err = script('dist_test.sh', config, checkpoint, 2, '--work-dir', tmp_path / 'two')
    assert status == 0, err[-3000:]
    one = evaluate(config, str(checkpoint), work_dir=str(tmp_path / 'one'))
    two = figures(out)
    assert one['mIoU'] > 0
    assert {key: two[key] for key in one} == one


SRUN = """#!{python}
import os, subprocess, sys
options = [word for word in sys.argv[1:] if word.startswith('--')]
count = next(int(word.split('=')[1]) for word in options if word.startswith('--ntasks='))
first = next(i for i, word in enumerate(sys.argv[1:], 1) if not word.startswith('--'))
print('srun', *sys.argv[1:first], flush=True)
slurm = dict(SLURM_NTASKS=str(count), SLURM_NODELIST='localhost')
tasks = [
    subprocess.Popen(sys.argv[first:], env=dict(os.environ, SLURM_PROCID=str(i), SLURM_LOCALID=str(i), **slurm))
    for i in range(count)
]
sys.exit(max(task.wait() for task in tasks))
"""


@pytest.fixture
def slurm(tmp_path):
    """``srun`` and ``scontrol`` of one machine: as many processes as are asked for, with Slurm's variables."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    for name, text in (('srun', SRUN.format(python=sys.executable)), ('scontrol', '#!/bin/sh\necho 127.0.0.1\n')):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {'PATH': f'{folder}{os.pathsep}{os.environ["PATH"]}', 'GPUS': '2', 'GRES': ''}


@slow
def test_evaluation_under_slurm(script, slurm, toy, toy_checkpoint, tmp_path):
    status, out, err = script(
        *('slurm_test.sh', 'part', 'job', toy.config, toy_checkpoint, '--work-dir', tmp_path / 'work'),
        **{**slurm, 'SRUN_ARGS': '--exclusive --quiet'},
    )
    assert status == 0, err[-3000:]
    asked = next(line for line in out.splitlines() if line.startswith('srun '))
    assert asked == (
        'srun --partition=part --job-name=job --ntasks=2 --ntasks-per-node=2 --cpus-per-task=5 --kill-on-bad-exit=1 '
        '--exclusive --quiet'
    )
    one = evaluate(toy.config, str(toy_checkpoint), work_dir=str(tmp_path / 'one'))
    assert {key: figures(out)[key] for key in one} == one


def test_training_under_slurm_asks_for_gpus(script, slurm, toy, tmp_path):
    """The processes are replaced: only what srun is asked for is looked at."""
    shutil.copy('/bin/echo', tmp_path / 'bin' / 'srun')
    environment = {**slurm, 'GPUS': '16'}
    del environment['GRES']
    status, out, _ = script('slurm_train.sh', 'part', 'job', 'c.py', '--amp', **environment)
    assert status == 0
    assert '--gres=gpu:8 --ntasks=16 --ntasks-per-node=8' in out
    assert out.rstrip().endswith('tools/train.py c.py --launcher slurm --amp')


@pytest.mark.gpu
def test_training_on_gpus(script, toy, tmp_path):
    """One GPU is enough: nccl, device ids, SyncBatchNorm and FSDP are those of many."""
    for name, args in (('ddp', []), ('fsdp', ['--variant', 'fsdp'])):
        options = ['--cfg-options', 'sync_bn=torch', 'optim_wrapper.clip_grad=None', 'optim_wrapper.type=OptimWrapper']
        status, out, err = script('dist_train.sh', toy.config, 1, '--work-dir', tmp_path / name, *args, *options)
        assert status == 0, err[-3000:]
        assert 'gloo' not in out and 'SyncBatchNorm needs GPUs' not in out
        assert read_checkpoint(tmp_path / name / 'epoch_2.pth')['optimizer']
