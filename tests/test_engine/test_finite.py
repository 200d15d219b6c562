"""Training and testing end at values that are not finite, and keep the last good checkpoint."""

import types

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmtrtvit.checkpoint import read_checkpoint
from mmtrtvit.engine import AtomicCheckpointHook, FiniteHook
from mmtrtvit.engine.finite import PATIENCE, finite_outputs
from mmtrtvit.errors import CheckpointError, TrainingError


class Slope(BaseModel):
    """``loss = (weight * x) ** 2``; a chosen iteration breaks the loss, or the weight alone."""

    def __init__(self, broken_loss=None, broken_weight=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.broken_loss, self.broken_weight, self.iteration = broken_loss, broken_weight, 0

    def forward(self, inputs, data_samples, mode='tensor'):
        self.iteration += 1
        loss = (self.weight * torch.stack(inputs)).square().mean()
        if self.iteration == self.broken_loss:
            loss = loss * float('inf')
        if self.iteration == self.broken_weight:
            self.weight.register_hook(lambda gradient: gradient * float('nan'))
        return dict(loss_slope=loss)


def collate(batch):
    samples = [types.SimpleNamespace(img_path=f'{number}.jpg') for number in range(len(batch))]
    return dict(inputs=batch, data_samples=samples)


def run(work_dir, model, by_epoch=True):
    """Three epochs of two iterations, a checkpoint after each."""
    Runner(
        model,
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=2,
            dataset=[torch.ones(1)] * 4,
            sampler=dict(type=DefaultSampler, shuffle=False),
            collate_fn=collate,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=3) if by_epoch else dict(by_epoch=False, max_iters=6),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.125)),
        default_hooks=dict(
            logger=None,
            checkpoint=dict(type=AtomicCheckpointHook, interval=1 if by_epoch else 2, by_epoch=by_epoch),
        ),
        custom_hooks=[dict(type=FiniteHook)],
        experiment_name=work_dir.name,
    ).train()


def checkpoints(folder):
    return sorted(path.name for path in folder.glob('*.pth'))


def test_a_run_without_a_fault_goes_to_its_end(tmp_path):
    run(tmp_path, Slope())
    assert checkpoints(tmp_path) == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    with pytest.raises(TrainingError) as caught:
        run(tmp_path, Slope(broken_loss=3))
    said = str(caught.value)
    assert 'loss is inf, loss_slope is inf in iteration 3, at a learning rate of 0.125' in said
    assert '0.jpg, 1.jpg' in said and f'{tmp_path / "epoch_1.pth"}, with --resume' in said
    assert checkpoints(tmp_path) == ['epoch_1.pth']


@pytest.mark.parametrize('by_epoch', [True, False])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, by_epoch):
    """The loss of the fourth iteration is finite, its gradient is not."""
    with pytest.raises(TrainingError, match=r'1 of 1 tensors hold values .* \(weight\).*They are not saved'):
        run(tmp_path, Slope(broken_weight=4), by_epoch)
    assert checkpoints(tmp_path) == ['epoch_1.pth' if by_epoch else 'iter_2.pth']
    assert read_checkpoint(next(tmp_path.glob('*.pth')))['state_dict']['weight'].isfinite().all()


def test_without_a_checkpoint_one_starts_again(tmp_path):
    with pytest.raises(TrainingError, match='start again'):
        run(tmp_path, Slope(broken_loss=1))


def scaled_run(losses, tmp_path):
    wrapper = types.SimpleNamespace(loss_scaler=object(), get_lr=lambda: {'lr': [0.1]})
    hook = FiniteHook()
    for iteration, loss in enumerate(losses):
        runner = types.SimpleNamespace(optim_wrapper=wrapper, iter=iteration, work_dir=str(tmp_path))
        hook.after_train_iter(runner, iteration, {}, dict(loss=torch.tensor(loss), acc=torch.tensor(torch.nan)))


def test_a_loss_scaler_may_skip_some_iterations_but_not_go_on_forever(tmp_path):
    scaled_run([torch.inf] * (PATIENCE - 1) + [1.0] + [torch.nan] * (PATIENCE - 1), tmp_path)
    with pytest.raises(TrainingError, match=rf'iteration {PATIENCE} \({PATIENCE} iterations in a row\).*'):
        scaled_run([torch.inf] * (PATIENCE + 5), tmp_path)


class Head(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, features):
        return [features], (features * self.value, None)

    def loss_by_feat(self):
        """Makes it a head."""


@pytest.mark.parametrize('value', [torch.nan, torch.inf, -torch.inf])
def test_predictions_that_are_not_finite_are_refused(value):
    network = torch.nn.ModuleDict({'bbox_head': Head(value)})
    with finite_outputs(network), pytest.raises(CheckpointError, match=r'\(in bbox_head\), although its weights'):
        network['bbox_head'](torch.ones(2))
    network['bbox_head'](torch.ones(2))
    with finite_outputs(torch.nn.ModuleDict({'head': Head(2.0)})) as _:
        pass


def test_heads_that_call_their_own_forward_are_watched_too():
    """As those of mmseg, for which PyTorch runs no hooks."""
    network = torch.nn.ModuleDict({'decode_head': Head(torch.nan)})
    with finite_outputs(network), pytest.raises(CheckpointError, match='in decode_head'):
        network['decode_head'].forward(torch.ones(2))
    assert 'forward' not in vars(network['decode_head'])


def test_it_is_registered():
    assert HOOKS.get('mmtrtvit.FiniteHook') is FiniteHook
