"""Schedules of the learning rate that do not fit the length of the training."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

LONG_WARM_UP = 0.5
"""Share of the training above which a warm-up is too long."""


@dataclasses.dataclass(frozen=True)
class Length:
    """The length of a training.

    Attributes:
        by_epoch: Whether its loop counts epochs.
        count: Epochs or iterations.
        steps: Iterations an epoch; ``None`` if they are not known.
    """

    by_epoch: bool
    count: int
    steps: int | None

    def of(self, by_epoch: bool) -> int | None:
        """The length in epochs or iterations, ``None`` if it cannot be told."""
        if by_epoch == self.by_epoch:
            return self.count
        return self.count * self.steps if self.by_epoch and self.steps else None


def training_length(config: Config, steps: int | None) -> Length | None:
    """The length of the training of a config.

    Args:
        config: A whole config.
        steps: Iterations an epoch.
    """
    loop = config.get('train_cfg') or {}
    for key in ('max_epochs', 'max_iters'):
        if isinstance(loop.get(key), int):
            return Length(key == 'max_epochs', loop[key], steps)
    return None


def schedule_faults(config: Config, steps: int | None = None) -> list[str]:
    """Schedules that end before or after the training, and warm-ups that take most of it.

    Args:
        config: A whole config.
        steps: Iterations an epoch.

    Returns:
        A message for each, with its remedy.
    """
    length = training_length(config, steps)
    schedulers = config.get('param_scheduler') or []
    if length is None or not isinstance(schedulers, (list, tuple)):  # several optimisers: by name
        return []
    found = []
    for number, scheduler in enumerate(schedulers):
        by_epoch = scheduler.get('by_epoch', True)
        place, unit, whole = f'param_scheduler.{number}', 'epoch' if by_epoch else 'iteration', length.of(by_epoch)
        if by_epoch and not length.by_epoch:
            found.append(
                f'{place} ({scheduler["type"]}) counts epochs, and a training of {length.count} iterations has none: '
                f'the learning rate never changes by it. Fix: by_epoch=False, and its settings in iterations'
            )
        elif whole is not None:
            found += [
                f'{place} ({scheduler["type"]}): {text}'
                for text in _faults_of(scheduler, place, unit, whole, ends=number == len(schedulers) - 1)
            ]
    return found


def _is_warm_up(scheduler: Mapping[str, Any]) -> bool:
    rises = scheduler.get('start_factor', 1 / 3) < scheduler.get('end_factor', 1.0)
    return str(scheduler['type']).rpartition('.')[2].startswith('Linear') and not scheduler.get('begin') and rises


def _faults_of(scheduler: Mapping[str, Any], place: str, unit: str, whole: int, ends: bool) -> Iterator[str]:
    """Faults of a schedule whose training has a whole length in its unit; ``ends``: no other follows it."""
    end = scheduler.get('end')
    if _is_warm_up(scheduler):
        if end is None or end > LONG_WARM_UP * whole:
            taken = 'has no end' if end is None else f'takes {end} {unit}s'
            yield (
                f'the warm-up {taken}, the whole training {whole} {unit}s. Fix: --cfg-options '
                f'{place}.end={max(1, whole // 10)}, or a longer training'
            )
        return
    milestones = scheduler.get('milestones')
    if end is not None and end != whole and (ends or end > whole):
        change = [f'{place}.end={whole}']
        if milestones:
            scaled = ','.join(str(round(step * whole / end)) for step in milestones)
            change.append(f'{place}.milestones=[{scaled}]')
        if scheduler.get('T_max'):
            change.append(f'{place}.T_max={whole - scheduler.get("begin", 0)}')
        fault = (
            f'{whole - end} of {whole} {unit}s are trained at its last rate'
            if end < whole
            else f'the training ends after {whole} {unit}s of {end}, before the rate has come down'
        )
        yield f'it ends after {end} {unit}s; {fault}. Fix: --cfg-options {" ".join(change)}'
        return
    if milestones and max(milestones) >= whole:
        late = ', '.join(str(step) for step in milestones if step >= whole)
        yield f'the training has {whole} {unit}s and never reaches its milestones {late}. Fix: earlier milestones'
    elif milestones and end is None and max(milestones) < whole / 2:
        rest = whole - max(milestones)
        yield (
            f'{rest} of {whole} {unit}s come after its last milestone, at the lowest rate. '
            f'Fix: --cfg-options {place}.milestones=..., later'
        )
    span, begin = scheduler.get('T_max'), scheduler.get('begin', 0)
    if span and span != (end or whole) - begin:
        yield (
            f'T_max is {span}, but it runs for {(end or whole) - begin} {unit}s: the rate '
            f'{"rises again" if span < (end or whole) - begin else "does not come down to its end"}. '
            f'Fix: --cfg-options {place}.T_max={(end or whole) - begin}'
        )
    steps = scheduler.get('total_steps')
    if steps and steps != whole:
        fix = f'--cfg-options {place}.total_steps={whole}'
        yield f'total_steps is {steps}, the training has {whole} {unit}s. Fix: {fix}'
