"""The console shows what matters of a run, the log file keeps all."""

import contextlib
import io

import torch
from mmengine.dataset import DefaultSampler
from mmengine.model import BaseModel
from mmengine.runner import Runner

from mmtrtvit.engine.runner import build_runner


class Chatty(torch.utils.data.Dataset):
    """A data set that prints, as pycocotools does."""

    def __init__(self):
        print('loading annotations into memory...')

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return torch.ones(2)


class Norm(BaseModel):
    def __init__(self):
        super().__init__()
        self.norm = torch.nn.LayerNorm(2)

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.norm(torch.stack(inputs)).square().mean())


def test_the_first_iteration_is_near_the_top(tmp_path):
    console = io.StringIO()
    with contextlib.redirect_stdout(console):
        runner = build_runner(
            Runner,
            Norm(),
            loops=['train'],
            work_dir=str(tmp_path),
            train_dataloader=dict(
                batch_size=2,
                dataset=dict(type=Chatty),
                sampler=dict(type=DefaultSampler, shuffle=False),
                collate_fn=lambda batch: dict(inputs=batch),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(
                optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1), paramwise_cfg=dict(norm_decay_mult=0)
            ),
            default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
            experiment_name='runner',
        )
        runner.train()
    lines = console.getvalue().splitlines()
    assert 'Config and log: ' in lines[0]
    assert any('Epoch(train)' in line for line in lines[:6]), lines
    for text in ('paramwise_options', 'loading annotations', 'Hooks will be executed', 'System environment'):
        assert text not in console.getvalue()
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'paramwise_options -- norm.weight:weight_decay' in log and 'Hooks will be executed' in log
