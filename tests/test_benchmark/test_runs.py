"""Results of training runs, as they are read from work dirs."""

import json
from pathlib import Path

import pytest
import torch.nn as nn
from mmengine.runner import Runner

from mmtrtvit.benchmark.runs import benchmark_runs, read_run
from mmtrtvit.engine.runner import build_runner
from mmtrtvit.errors import DataError


def write_run(folder, starts, config='semfpn_toy'):
    folder.mkdir()
    (folder / f'{config}.py').write_text('train_dataloader = dict(batch_size=4)\n')
    for number, rows in enumerate(starts):
        log = folder / f'2026112{number}_000000' / 'vis_data' / 'scalars.json'
        log.parent.mkdir(parents=True)
        log.write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
    return folder


def train_row(step, time):
    return dict(lr=1e-3, loss=0.5, time=time, iter=step, step=step)


def test_what_a_run_reached(tmp_path):
    first = [train_row(50, 0.2), train_row(100, 0.4), dict(mIoU=40.0, aAcc=80.0, time=0.1, step=100)]
    again = [train_row(100, 0.5), train_row(130, 1.0), {'mIoU': 81.5, 'aAcc': 95.25, 'time': 0.1, 'step': 130}]
    found = read_run(write_run(tmp_path / 'run', [first, again]))
    assert found == dict(
        config='semfpn_toy',
        iterations=130,
        images=520,
        seconds=pytest.approx(50 * 0.2 + 50 * 0.4 + 30 * 1.0),
        threads=None,
        metrics=dict(mIoU=81.5, aAcc=95.25),
        curve=[dict(step=100, mIoU=40.0, aAcc=80.0), dict(step=130, mIoU=81.5, aAcc=95.25)],
    )


def test_a_classifier_is_held_against_guessing(tmp_path):
    for name, images in dict(ants=1, bees=3).items():
        (tmp_path / 'val' / name).mkdir(parents=True)
        for number in range(images):
            (tmp_path / 'val' / name / f'{number}.jpg').touch()
    run = write_run(tmp_path / 'run', [[train_row(5, 0.2), {'accuracy/top1': 80.0, 'step': 1}]])
    dataset = dict(type='CustomDataset', data_root=str(tmp_path), data_prefix='val')
    (run / 'semfpn_toy.py').write_text(
        f'train_dataloader = dict(batch_size=4)\nval_dataloader = dict(dataset={dataset!r})\n'
    )
    found = read_run(run)
    assert found['guess'] == 75.0
    assert found['curve'] == [{'step': 1, 'accuracy/top1': 80.0}]


def test_threads_are_those_of_the_runs_own_log(tmp_path, monkeypatch):
    run = write_run(tmp_path / 'run', [[train_row(5, 0.2)], [train_row(9, 0.2), dict(mIoU=40.0, step=9)]])
    for name, threads in (('20261120_000000', 8), ('20261121_000000', 3)):
        monkeypatch.setattr('torch.get_num_threads', lambda threads=threads: threads)
        config = dict(model=nn.Linear(1, 1), work_dir=str(tmp_path / name), experiment_name=name)
        runner = build_runner(Runner, **config)
        text = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
        (run / name / f'{name}.log').write_text(text)
    (run / '20261129_000000').mkdir()  # of tools/test.py
    (run / '20261129_000000' / '20261129_000000.log').write_text('PyTorch uses 4 threads')
    assert read_run(run)['threads'] == 3
    monkeypatch.setattr('torch.get_num_threads', lambda: 7)
    result = benchmark_runs([run], str(tmp_path / 'out'))
    assert result['rows'][0]['threads'] == 3 and 'torch_threads' not in result['machine'][0]


def test_what_is_tested_afterwards_counts(tmp_path):
    run = write_run(tmp_path / 'run', [[train_row(50, 0.2), dict(mIoU=40.0, step=50)]])
    (run / '20261129_000000').mkdir()
    (run / '20261129_000000' / '20261129_000000.json').write_text('{"mIoU": 42.5, "time": 0.1}')
    assert read_run(run)['metrics'] == dict(mIoU=42.5)
    assert read_run(run)['iterations'] == 50


def test_runs_are_rows_and_lines(tmp_path, capsys):
    scores = {'coco/bbox_mAP': 0.506, 'coco/bbox_mAP_50': 0.827, 'coco/bbox_mAP_s': 0.1, 'step': 2}
    detector = write_run(tmp_path / 'a', [[train_row(900, 0.2), scores]], config='retinanet_toy')
    segmentor = write_run(tmp_path / 'b', [[train_row(60, 1.0), dict(mIoU=81.5, aAcc=95.25, step=60)]])
    result = benchmark_runs([detector, segmentor], str(tmp_path / 'out'))
    assert [row['config'] for row in result['rows']] == ['retinanet_toy', 'semfpn_toy']
    assert json.loads((tmp_path / 'out' / 'runs.json').read_text()) == result
    told = capsys.readouterr().out
    assert 'retinanet_toy: 900 iterations, 3 minutes, coco/bbox_mAP 0.506, coco/bbox_mAP_50 0.827\n' in told


@pytest.mark.parametrize(
    'starts', [[], [[train_row(5, 0.1)]], [[dict(mIoU=1.0, step=1)]]], ids=['none', 'train', 'val']
)
def test_runs_that_did_not_finish(tmp_path, starts):
    with pytest.raises(DataError, match='no run that was trained and evaluated'):
        benchmark_runs([write_run(tmp_path / 'run', starts)], str(tmp_path / 'out'))
    with pytest.raises(DataError, match='0 configs'):
        benchmark_runs([tmp_path / 'nowhere'], str(tmp_path / 'out'))
    assert not (tmp_path / 'out').exists()
