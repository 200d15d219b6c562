"""Checkpoints that load by name, with a report, and never silently in part."""

import dataclasses
import difflib
import importlib
import logging
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
import torch.nn as nn
from mmengine.logging import HistoryBuffer, print_log
from mmengine.model import is_model_wrapper
from torch.hub import get_dir, load_state_dict_from_url

from .errors import CheckpointError
from .file_kinds import file_kind

_SHOWN = 6
"""Number of names of each kind that a report prints."""

_NOTHING_FROZEN = {'frozen_stages': -1, 'norm_eval': False}
"""Settings of a backbone for training from scratch."""


def _history_method(owner: type, name: str) -> Callable:
    """``getattr`` of a checkpoint: it reaches the statistics of mmengine's ``HistoryBuffer`` and nothing else."""
    if owner is HistoryBuffer and name in ('mean', 'max', 'min', 'current'):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f'getattr({owner!r}, {name!r}) in a checkpoint')


def _under_name(function: Callable, module: str, name: str) -> Callable:
    """``function`` as torch's list of allowed functions finds it (older torch takes no name beside a function)."""

    def call(*args: Any) -> Any:
        return function(*args)

    call.__module__, call.__name__, call.__qualname__ = module, name, name
    return call


# numpy._core is there in NumPy 1.26, too, but does not import its modules by itself
_MULTIARRAY = importlib.import_module('numpy._core.multiarray' if hasattr(np, '_core') else 'numpy.core.multiarray')

_ALLOWED = (
    *(HistoryBuffer, np.ndarray, np.dtype),
    *{type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64, np.uint32)},
    *(_under_name(_history_method, module, 'getattr') for module in ('builtins', '__builtin__')),
    # NumPy 2 has moved them; the checkpoint may be of the other version.
    *(
        _under_name(getattr(_MULTIARRAY, name), module, name)
        for module in ('numpy._core.multiarray', 'numpy.core.multiarray')
        for name in ('_reconstruct', 'scalar')
    ),
)
"""Functions and types that a checkpoint may call, beside those that torch allows by itself."""


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load(weights_only=True)`` read the objects that mmengine writes beside the weights.

    mmengine keeps the training log in every checkpoint: ``HistoryBuffer`` objects, their NumPy arrays, and (by
    ``getattr``) their statistics. torch >= 2.6 refuses them by default. Only these are allowed; any other code
    in a checkpoint stays refused.
    """
    torch.serialization.add_safe_globals(list(_ALLOWED))


def _part(name: str) -> str:
    """The part of a network that a tensor belongs to: ``'stages.2'`` of ``'stages.2.0.conv1.conv.weight'``."""
    return '.'.join(name.split('.')[:2])


@dataclasses.dataclass(frozen=True)
class LoadReport:
    """Comparison of a checkpoint's names and shapes with a model's.

    Attributes:
        source: Origin of the checkpoint.
        loaded: Names that are in both with the same shape.
        missing: Names of the model that the checkpoint lacks.
        new: Names that it lacks as a whole because published weights have no such parts; see :func:`load_backbone`.
        unexpected: Names of the checkpoint that the model lacks.
        reshaped: ``(name, shape in the checkpoint, shape in the model)`` where the shapes differ.
    """

    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    new: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """True if every parameter and buffer of the model is filled, those of new parts aside."""
        return not self.missing and not self.reshaped

    @property
    def foreign(self) -> tuple[str, ...]:
        """Unexpected names inside a part that the model has, such as a tenth block of a stage of nine."""
        parts = {_part(name) for name in (*self.loaded, *self.missing, *(name for name, *_ in self.reshaped))}
        return tuple(name for name in self.unexpected if _part(name) in parts)

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing) + len(self.new) + len(self.reshaped)
        lines = [
            f'{self.source}: {len(self.loaded)} of {total} tensors of the model loaded, {len(self.missing)} missing, '
            f'{f"{len(self.new)} new, " if self.new else ""}{len(self.reshaped)} of another shape; '
            f'{len(self.unexpected)} in the file have no place in the model'
        ]
        shapes = [f'{name} {list(theirs)} -> {list(ours)}' for name, theirs, ours in self.reshaped]
        kinds = {'missing': self.missing, 'new': self.new, 'other shape': shapes, 'unexpected': self.unexpected}
        for kind, names in kinds.items():
            lines += [f'  {kind}: {name}' for name in names[:_SHOWN]]
            if len(names) > _SHOWN:
                lines.append(f'  {kind}: ... and {len(names) - _SHOWN} more')
        return '\n'.join(lines)


def read_checkpoint(path: str | Path, or_else: str = '') -> Mapping[str, Any]:
    """Read a checkpoint as data: nothing in it is executed.

    Args:
        path: A local file, or an address (``https://...``), which is kept in torch's download cache.
        or_else: An alternative to the address, for the message if it does not work.

    Returns:
        The checkpoint as saved, tensors on the CPU.

    Raises:
        CheckpointError: If it is missing, truncated, or not a checkpoint; the message says what the file is.
    """
    allow_mmengine_checkpoints()
    if '://' in str(path):
        return _fetch(str(path), or_else)
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'There is no checkpoint at {path}.', expected=_nearby(path), fix=_GIVE_A_CHECKPOINT)
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # an unpickler may raise anything for other bytes
        raise _unreadable(path, error) from error
    if not isinstance(checkpoint, Mapping):
        raise CheckpointError(f'{path} holds a {type(checkpoint).__name__}, not a checkpoint.', fix=_GIVE_A_CHECKPOINT)
    return checkpoint


_GIVE_A_CHECKPOINT = 'give the path of a checkpoint, such as work_dirs/NAME/epoch_12.pth'


def _fetch(address: str, or_else: str) -> Mapping[str, Any]:
    """Fetch a checkpoint; a file that is not one leaves the cache, so that the next try fetches it again."""
    kept = Path(get_dir()) / 'checkpoints' / Path(urlparse(address).path).name
    try:
        # mmengine's own loader would execute the code of a fetched file (weights_only=False).
        return load_state_dict_from_url(address, map_location='cpu', weights_only=True)
    except Exception as error:  # whatever the network and its libraries raise
        message = f'The checkpoint {address} could not be fetched: {error}'
        if kept.is_file():
            message = f'{address} could not be fetched: {_unreadable(kept, error)}'.split('\n')[0]
            kept.unlink()
        raise CheckpointError(
            message,
            fix='check the address and the connection, or download it by hand and give the local path'
            + (f', or {or_else}' if or_else else ''),
        ) from error


def _nearby(path: Path) -> str:
    """The checkpoints in a folder, or those beside a missing file that are called alike."""
    folder = path if path.is_dir() else path.parent
    names = sorted(file.name for file in folder.glob('*.pth')) if folder.is_dir() else []
    if not path.is_dir():
        names = difflib.get_close_matches(path.name, names, n=3)
    return f'perhaps {", ".join(str(folder / name) for name in names[-3:])}' if names else ''


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    """The error for a file that torch cannot read, whatever it is."""
    size = f'{path} ({path.stat().st_size} bytes) cannot be read as a checkpoint'
    expected = 'a file written by torch.save with weights and plain data in it, complete to its end'
    code = re.search(r'GLOBAL (\S+) (?:was not an allowed|whose module)', str(error))
    if code:
        return CheckpointError(
            f'{size}: it holds more than weights and plain data. Reading it would run {code[1]}.',
            expected=expected,
            fix="if you trust its origin, save the weights alone where it was made, torch.save({'state_dict': "
            'model.state_dict()}, FILE), and give that file',
        )
    kind = file_kind(path)
    if kind:
        return CheckpointError(f'{size}: it is {kind[0]}.', expected=expected, fix=kind[1])
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if 'weights_only' in reason:  # torch's advice is to load it the unsafe way
        reason = 'torch.save has not written these bytes.'
    return CheckpointError(
        f'{size}: {reason}',
        expected=expected,
        fix='copy or download it again, or use the checkpoint before it',
    )


def weights_of(checkpoint: Mapping, prefix: str | None = None) -> dict[str, torch.Tensor]:
    """The named tensors of a checkpoint.

    Args:
        checkpoint: As read. The weights are under ``state_dict`` or ``model``, or it is them.
        prefix: Keep only names that start with it, and take it off. ``None`` keeps all names.

    Returns:
        Name to tensor. A leading ``module.`` (from DataParallel) is taken off.

    Raises:
        CheckpointError: If no name starts with ``prefix``.
    """
    weights = checkpoint.get('state_dict', checkpoint.get('model', checkpoint))
    named = weights.items() if isinstance(weights, Mapping) else ()
    weights = {name: value for name, value in named if isinstance(name, str) and isinstance(value, torch.Tensor)}
    if weights and all(name.startswith('module.') for name in weights):
        weights = {name.removeprefix('module.'): value for name, value in weights.items()}
    if prefix is None:
        return weights
    chosen = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    if not chosen:
        raise CheckpointError(
            f'No name in the checkpoint starts with {prefix!r}.',
            expected=f'names such as {", ".join(list(weights)[:3]) or "(the checkpoint has none)"}',
            fix='correct or leave out `prefix`',
        )
    return chosen


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside a wrapper for several processes or GPUs, which puts ``module.`` before every name."""
    return model.get_submodule('module') if is_model_wrapper(model) else model


def not_finite(weights: Mapping[str, torch.Tensor]) -> list[str]:
    """Names of the tensors that hold values that are infinite or not a number."""
    return [
        name
        for name, value in weights.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point() and not value.isfinite().all()
    ]


def check_finite(weights: Mapping[str, torch.Tensor], source: str) -> None:
    """Make sure that all weights are numbers.

    Args:
        weights: Name to tensor.
        source: Their origin, for the message.

    Raises:
        CheckpointError: If a tensor holds values that are infinite or not a number; names the first few.
    """
    broken = not_finite(weights)
    if broken:
        others = f' and {len(broken) - _SHOWN} more' if len(broken) > _SHOWN else ''
        raise CheckpointError(
            f'{source}: {len(broken)} of {len(weights)} tensors hold values that are infinite or not a number: '
            f'{", ".join(broken[:_SHOWN])}{others}.',
            expected='finite weights: the training had diverged when this checkpoint was written',
            fix='give an earlier checkpoint, or train again with a lower learning rate or gradient clipping '
            '(--cfg-options optim_wrapper.clip_grad.max_norm=1)',
        )


def compare(
    model: nn.Module, weights: Mapping[str, torch.Tensor], source: str, new_parts: Sequence[str] = ()
) -> LoadReport:
    """Say how ``weights`` fit ``model`` without changing it.

    Tensors of ``new_parts`` (modules of these names, at any depth) are not missing if ``weights`` has none of
    them: they then come from a network without these parts. If it has some, the others count as missing.

    BatchNorm's ``num_batches_tracked`` counters do not count: they do not affect the result.
    """
    ours = {name: value for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    counted = [name for name in ours if not name.endswith('num_batches_tracked')]
    common = [name for name in counted if name in weights]
    new = [name for name in counted if not set(new_parts).isdisjoint(name.split('.'))]
    if any(name in weights for name in new):
        new = []
    return LoadReport(
        source=source,
        loaded=tuple(name for name in common if weights[name].shape == ours[name].shape),
        missing=tuple(name for name in counted if name not in weights and name not in new),
        unexpected=tuple(name for name in weights if name not in ours),
        reshaped=tuple(
            (name, tuple(weights[name].shape), tuple(ours[name].shape))
            for name in common
            if weights[name].shape != ours[name].shape
        ),
        new=tuple(new),
    )


def check_checkpoint(
    model: nn.Module,
    path: str | Path,
    *,
    allow_mismatch: bool = False,
    prefix: str | None = None,
    allow_other_parts: bool = False,
    new_parts: Sequence[str] = (),
) -> tuple[LoadReport, dict[str, torch.Tensor]]:
    """Read a checkpoint and make sure that it fits ``model``, without loading it.

    Args:
        model: The network to be filled.
        path: As in :func:`read_checkpoint`.
        allow_mismatch: Accept tensors that are missing, unexpected or have another shape.
        prefix: As in :func:`weights_of`.
        allow_other_parts: Accept unexpected tensors of parts that the model lacks, such as a classifier.
        new_parts: Accept that the checkpoint has nothing of these parts; as in :func:`compare`.

    Returns:
        The report, and the tensors that fit (same name and shape).

    Raises:
        CheckpointError: If it cannot be read or holds values that are not finite, if nothing in it fits, or if it is
            not the model's, name by name and shape by shape, and ``allow_mismatch`` is false. The message holds the
            report.
    """
    weights = weights_of(read_checkpoint(path), prefix)
    check_finite(weights, str(path))
    report = compare(unwrapped(model), weights, str(path), new_parts)
    fits = report.complete and not (report.foreign if allow_other_parts else report.unexpected)
    print_log(str(report), logger='current', level=logging.INFO if fits else logging.WARNING)
    if not fits and (not allow_mismatch or not report.loaded):
        raise CheckpointError(
            f'The checkpoint does not belong to this network.\n{report}',
            expected='every parameter of the network in the checkpoint, by name and shape, and no others',
            fix='give the config that the checkpoint was trained with (same arch, same number of classes); to load '
            'only what fits, for instance to fine-tune on other classes, add --allow-mismatch (in an init_cfg: '
            'allow_mismatch=True)',
        )
    fitting = {name: weights[name] for name in report.loaded}
    counters = {name for name in weights if name.endswith('num_batches_tracked')} - set(report.unexpected)
    return report, {**fitting, **{name: weights[name] for name in counters}}


def load_checkpoint(model: nn.Module, path: str | Path, **options: Any) -> LoadReport:
    """Load a checkpoint by name and return the report; arguments and errors as :func:`check_checkpoint`."""
    report, fitting = check_checkpoint(model, path, **options)
    unwrapped(model).load_state_dict(fitting, strict=False)
    return report


PROVENANCE_KEY = 'conversion'
"""Key of that note in ``meta`` of a checkpoint."""


def provenance_of(checkpoint: Mapping) -> Mapping | None:
    """The note of ``tools/convert_weights.py`` in a checkpoint; ``None`` where another program made it."""
    meta = checkpoint.get('meta')
    found = meta.get(PROVENANCE_KEY) if isinstance(meta, Mapping) else None
    return found if isinstance(found, Mapping) else None


def check_provenance(backbone: object, checkpoint: Mapping, source: str) -> None:
    """Make sure that a backbone has the settings of its weights that names and shapes cannot tell.

    Next-ViT's keys and values are pooled in one of two ways with the same weights: loaded into the other one, a network
    runs without an error and gives wrong features.

    Args:
        backbone: The backbone to fill; a setting that it lacks as an attribute is not compared.
        checkpoint: As read.
        source: Its origin, for the message.

    Raises:
        CheckpointError: If a setting differs; the message names it.
    """
    told = provenance_of(checkpoint) or {}
    for name, trained in told.get('settings', {}).items():
        built = getattr(backbone, name, trained)
        if built != trained:
            raise CheckpointError(
                f'{source} was trained with {name}={trained!r}, the backbone is built with {name}={built!r}: every '
                'name and shape fits, and the features would be wrong.',
                expected=f'{name}={trained!r}',
                fix=f'set {name}={trained!r} in the backbone of the config',
            )


def read_pretrained(backbone: nn.Module, checkpoint: str | Path) -> Mapping[str, Any]:
    """Read the checkpoint that ``init_cfg`` of a backbone names.

    Raises:
        CheckpointError: As :func:`read_checkpoint`. The message says how to get the file, or to do without.
    """
    # Frozen parts would stay random.
    released = {key: value for key, value in _NOTHING_FROZEN.items() if getattr(backbone, key, value) != value}
    options = ' '.join(f'model.backbone.{key}={value}' for key, value in {'init_cfg': None, **released}.items())
    from_scratch = f'train from scratch: --cfg-options {options}'
    if '://' not in str(checkpoint) and not Path(checkpoint).is_file():
        raise CheckpointError(
            f'There are no pretrained weights at {checkpoint}.',
            expected='the file that init_cfg of the backbone names; its page in docs/ says where weights are published',
            fix=f'python tools/convert_weights.py SOURCE --family FAMILY --out {checkpoint}, or {from_scratch}',
        )
    return read_checkpoint(checkpoint, or_else=from_scratch)


def load_backbone(
    backbone: nn.Module, checkpoint: str, prefix: str | None = None, allow_mismatch: bool = False
) -> LoadReport:
    """Load ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix=..., allow_mismatch=...)``.

    Without ``prefix`` the checkpoint may be of the backbone itself or of a network that has it as
    ``backbone``. Its other parts (a classifier, heads, a stage that is not built) are
    reported and left out. Parts that only networks for dense prediction have, the backbone's ``new_parts``, may be
    missing as a whole: published weights are those of a classifier. It is reported, and stays as it was initialised.

    A converted checkpoint says what settings its weights were trained with; a backbone with others is refused, unless
    ``allow_mismatch`` is given.
    """
    content = read_pretrained(backbone, checkpoint)
    if not allow_mismatch:
        check_provenance(backbone, content, checkpoint)
    weights = weights_of(content)
    if prefix is None and any(name.startswith('backbone.') for name in weights):
        prefix = 'backbone.'
    return load_checkpoint(
        backbone,
        checkpoint,
        prefix=prefix,
        allow_mismatch=allow_mismatch,
        allow_other_parts=True,
        new_parts=getattr(backbone, 'new_parts', ()),
    )
