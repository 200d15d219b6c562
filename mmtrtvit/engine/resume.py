"""The training state of a checkpoint, compared with the optimiser that goes on from it."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch.optim import Optimizer

from ..errors import CheckpointError

STATE = ('optimizer', 'meta', 'message_hub')
"""Keys of a checkpoint, beside its weights, that a training goes on from."""


def latest_checkpoint(work_dir: str | os.PathLike) -> str | None:
    """The checkpoint that ``last_checkpoint`` of a work dir names, also where the work dir was moved since.

    Args:
        work_dir: The work dir.

    Returns:
        Its path, ``None`` where there is none yet.
    """
    note = Path(work_dir) / 'last_checkpoint'
    if not note.is_file():
        return None
    path = Path(note.read_text().strip())
    moved = note.with_name(path.name)
    return str(moved if moved.exists() and not path.exists() else path)


def check_training_state(checkpoint: Mapping, path: str) -> None:
    """Make sure that a checkpoint can be resumed at all.

    Args:
        checkpoint: As read.
        path: Its file, for messages.

    Raises:
        CheckpointError: If it has no optimizer, epoch, iteration or log.
    """
    meta = checkpoint.get('meta')
    missing = [key for key in STATE if not isinstance(checkpoint.get(key), Mapping)]
    missing += [f'meta.{key}' for key in ('epoch', 'iter') if isinstance(meta, Mapping) and key not in meta]
    if missing:
        raise CheckpointError(
            f'{path} holds weights but no training state (no {", no ".join(missing)}).',
            expected='a checkpoint written in training, with its optimizer and schedule',
            fix=f'start a new run from its weights: --cfg-options load_from={path}',
        )


def check_optimizer(optimizer: Optimizer, state: Mapping, path: str) -> None:
    """Make sure that an optimiser's state belongs to this optimiser and its parameters.

    PyTorch loads state of other shapes without a word; a later step then reads beyond its end, or fails.

    Args:
        optimizer: The optimiser of this run.
        state: The ``optimizer`` of the checkpoint.
        path: The checkpoint's file, for messages.

    Raises:
        CheckpointError: If the parameter groups or the shapes differ, or it is the state of another optimiser.
    """
    faults = list(_faults(optimizer, state))
    if faults:
        raise CheckpointError(
            f'{path} cannot be resumed: {faults[0]}.',
            expected='the optimizer and the parameter groups (paramwise_cfg, --variant) that it was trained with',
            fix='resume with the config and the variants of that run, or start a new run from its weights: '
            f'--cfg-options load_from={path}',
        )


def _faults(optimizer: Optimizer, state: Mapping) -> Iterator[str]:
    ours, theirs = optimizer.param_groups, state.get('param_groups')
    if not isinstance(theirs, list) or not isinstance(state.get('state'), Mapping):
        yield 'its optimizer has no parameter groups or no state'
        return
    sizes = [[len(group['params']) for group in groups] for groups in (theirs, ours)]
    if sizes[0] != sizes[1]:
        counts = [f'{len(groups)} parameter groups with {sum(groups)} parameters' for groups in sizes]
        grouped = ', grouped in another way' if counts[0] == counts[1] else ''
        yield f'its optimizer has {counts[0]}, that of this run {counts[1]}{grouped}'
        return
    # flags that later versions of PyTorch have added are filled in by it
    settings = [key for key, value in optimizer.defaults.items() if not isinstance(value, bool) and value is not None]
    lacking = [key for key in settings if any(key not in group for group in theirs)]
    if lacking:
        yield (f'its optimizer has no {", no ".join(lacking)}, so it is not the {type(optimizer).__name__} of this run')
    parameters = [parameter for group in ours for parameter in group['params']]
    numbers = [number for group in theirs for number in group['params']]
    for number, parameter in zip(numbers, parameters, strict=True):
        for name, value in (state['state'].get(number) or {}).items():
            if isinstance(value, torch.Tensor) and value.dim() and value.shape != parameter.shape:
                yield (
                    f'{name} of parameter {number} in its optimizer is {tuple(value.shape)}, the parameter '
                    f'{tuple(parameter.shape)}'
                )
                return
