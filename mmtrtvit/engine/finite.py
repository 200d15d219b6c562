"""Training and testing that stop at values that are infinite or not a number (NaN)."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn as nn
from mmengine.hooks import Hook

from ..checkpoint import not_finite
from ..errors import CheckpointError, TrainingError
from ..registry import HOOKS
from .heads import head_outputs_through
from .resume import latest_checkpoint

PATIENCE = 20
"""Iterations in a row that a loss scaler may skip: it halves its scale in each, from 65536 down to less than 1."""

SHOWN = 3
"""Number of losses, names and images that a message lists."""


def _few(items: Sequence[str]) -> str:
    return ', '.join(items[:SHOWN]) + (f' and {len(items) - SHOWN} more' if len(items) > SHOWN else '')


@HOOKS.register_module()
class FiniteHook(Hook):
    """End a training whose loss or weights are no longer finite, before it overwrites a checkpoint.

    With a loss scaler (``AmpOptimWrapper``) gradients that overflow are expected: the scaler skips the step and lowers
    its scale. Training then ends after :data:`PATIENCE` losses in a row that are not finite.

    Raises:
        TrainingError: Names iteration, losses, learning rate, images, and the last checkpoint.
    """

    priority = 'LOWEST'  # the weights to save may be changed by other hooks (EMA)

    def __init__(self) -> None:
        self._skipped = 0

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        losses = {
            name: float(torch.as_tensor(value).detach()) for name, value in (outputs or {}).items() if 'loss' in name
        }
        broken = [f'{name} is {value}' for name, value in losses.items() if not -float('inf') < value < float('inf')]
        self._skipped = self._skipped + 1 if broken else 0
        scaled = getattr(runner.optim_wrapper, 'loss_scaler', None) is not None
        if broken and (not scaled or self._skipped >= PATIENCE):
            in_a_row = f' ({self._skipped} iterations in a row)' if scaled else ''
            images = _images_of(data_batch)
            raise self._error(
                runner,
                f'The training has diverged: {_few(broken)} in iteration {runner.iter + 1}{in_a_row}'
                f'{_learning_rate(runner)}.' + (f' Its images: {_few(images)}.' if images else ''),
                fix=' leave out --amp,' * scaled
                + ' finite and positive mean and std of model.data_preprocessor,' * (runner.iter == 0),
            )

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Refuse to save weights that are not finite."""
        # sharded tensors are of other types
        weights = {
            name: value for name, value in checkpoint.get('state_dict', {}).items() if type(value) is torch.Tensor
        }
        broken = not_finite(weights)
        if broken:
            raise self._error(
                runner,
                f'The training has diverged: after iteration {runner.iter} {len(broken)} of {len(weights)} tensors '
                f'hold values that are infinite or not a number ({_few(broken)}){_learning_rate(runner)}. '
                'They are not saved.',
            )

    def _error(self, runner, message: str, fix: str = '') -> TrainingError:
        last = latest_checkpoint(runner.work_dir)
        again = f'go on from the last checkpoint, {last}, with --resume' if last else 'start again'
        return TrainingError(
            message,
            expected='finite losses and weights',
            fix=f'{again}, after a change:{fix} a lower learning rate (--cfg-options optim_wrapper.optimizer.lr=...), '
            'a longer warm-up, or gradient clipping (--cfg-options optim_wrapper.clip_grad.max_norm=1); '
            'python tools/check_data.py CONFIG looks for faults of the data',
        )


def _learning_rate(runner) -> str:
    try:
        rates = [rate for group in runner.optim_wrapper.get_lr().values() for rate in group]
    except (AttributeError, TypeError):
        return ''
    return f', at a learning rate of {max(rates):g}' if rates else ''


def _images_of(data_batch: Any) -> list[str]:
    samples = data_batch.get('data_samples', ()) if isinstance(data_batch, Mapping) else ()
    return [str(sample.img_path) for sample in samples if getattr(sample, 'img_path', None)]


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


@contextlib.contextmanager
def finite_outputs(model: nn.Module) -> Iterator[None]:
    """Refuse predictions from scores and boxes that are infinite or not a number: they would be left out silently.

    Args:
        model: A detector or segmentor, whose heads are watched.

    Raises:
        CheckpointError: If a head gives such values.
    """

    def check(name: str, outputs: Any) -> Any:
        if any(value.is_floating_point() and not value.isfinite().all() for value in _tensors(outputs)):
            raise CheckpointError(
                f'The network gives values that are infinite or not a number (in {name}), although its weights are '
                'finite.',
                expected='a checkpoint of a training that has not diverged',
                fix='give an earlier checkpoint, or train again with a lower learning rate or gradient clipping',
            )
        return outputs

    with head_outputs_through(model, check):
        yield
