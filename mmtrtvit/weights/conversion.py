"""Converting a checkpoint of another implementation, by name, whole or not at all, with a report."""

import argparse
import json
import logging
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from mmengine.logging import MMLogger
from rich.console import Console

from ..atomic import atomic_file
from ..checkpoint import PROVENANCE_KEY, check_finite, provenance_of, read_checkpoint, weights_of
from ..errors import CheckpointError, ConfigError
from ..models.backbones.next_vit import KV_POOLS
from ..runtime.manifest import sha256
from ..version import __version__
from .names import Renamed, shown
from .report import ConversionReport
from .sources import CONVERTIBLE, OURS, Convertible, Source

SUFFIXES = ('.pth', '.pt')
"""Endings of the checkpoints that are written."""

_SECTIONS = ('state_dict', 'model')
"""Keys under which a checkpoint with more in it has its weights; the first one that is there counts."""

_CLASSIFIER_NORM = 'the norm before the classifier; dense prediction has no place for it'
_NEW_NORM = 'new in dense prediction, in no classifier: stays as initialised'


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(
            f'{path} is a safetensors file, and the package that reads them is not installed.',
            fix='pip install safetensors, or save the weights with torch.save and give that file',
        ) from error
    try:
        return load_file(path)
    except Exception as error:  # the library's own kinds
        raise CheckpointError(
            f'{path} ({path.stat().st_size} bytes) cannot be read as safetensors: {error}',
            fix='copy or download it again',
        ) from error


def _read(path: Path) -> Mapping:
    """The content of a checkpoint file; nothing in it is executed."""
    if '://' in str(path) or ':/' in str(path):
        raise CheckpointError(f'{path} is an address.', expected='a local file', fix='download it first')
    if path.suffix == '.safetensors' and path.is_file():
        return _read_safetensors(path)
    # The authors' training scripts save their command line beside the weights; a Namespace is plain data.
    torch.serialization.add_safe_globals([argparse.Namespace])
    return read_checkpoint(path)


def _split(checkpoint: Mapping, path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The weights of a checkpoint, and the name and type of everything beside them."""
    section = next((name for name in _SECTIONS if name in checkpoint), None)
    within = checkpoint if section is None else checkpoint[section]
    beside = {} if section is None else {key: value for key, value in checkpoint.items() if key != section}
    if isinstance(within, Mapping):
        beside |= {name: value for name, value in within.items() if not isinstance(value, torch.Tensor)}
    weights = {name: value.detach() for name, value in weights_of(checkpoint).items()}
    check_finite(weights, str(path))
    return weights, {str(name): type(value).__name__ for name, value in beside.items()}


def _has(weights: Mapping, mark: str) -> bool:
    return any(re.match(mark, name) for name in weights)


def detect(weights: Mapping[str, torch.Tensor], path: str | os.PathLike, family: str) -> str:
    """Tell from their names which implementation of a family weights come from.

    Args:
        weights: Name to tensor.
        path: Their file, for messages.
        family: A name in :data:`~mmtrtvit.weights.sources.CONVERTIBLE`.

    Raises:
        CheckpointError: If they match none of them, are from another family, or were converted already.
    """
    found = {
        (name, source)
        for name, about in CONVERTIBLE.items()
        for source, known in about.sources.items()
        if _has(weights, known.mark)
    }
    ours = [source for name, source in found if name == family]
    if len(ours) == 1:
        return ours[0]
    about = CONVERTIBLE[family]
    if found and not ours:
        other, source = sorted(found)[0]
        title = CONVERTIBLE[other].sources[source].title or f'{CONVERTIBLE[other].title} ({source})'
        raise CheckpointError(
            f'{path} is a checkpoint of {title}, not of {about.title}.',
            fix=f'give --family {other}, or another file',
        )
    if _has(weights, OURS):
        raise CheckpointError(
            f'{path} has the names of this package already.',
            fix="load it as it is: init_cfg=dict(type='Pretrained', checkpoint=...)",
        )
    raise CheckpointError(
        f'{path}: its {len(weights)} names, such as {shown(list(weights)) or "(there are none)"}, are of no '
        f'implementation of {about.title} that is known.',
        expected=f'a checkpoint of {", ".join(about.sources)}',
        fix='check --family; for a detector or segmentor, save the weights of the backbone alone',
    )


def _shapes(about: Convertible, arch: str, **settings: bool) -> dict[str, torch.Size]:
    with torch.device('meta'):
        return {name: value.shape for name, value in about.backbone(arch=arch, **settings).state_dict().items()}


def _faults(weights: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Size]) -> list[str]:
    """Differences from the expected weights. The norm before the classifier and counters may be missing."""
    optional = re.compile(r'final_norm\..*|.*\.num_batches_tracked')
    missing = [name for name in expected if name not in weights and not optional.fullmatch(name)]
    reshaped = [name for name in weights if name in expected and weights[name].shape != expected[name]]
    return [
        *(f'{name} is missing' for name in missing),
        *(f'{name} has no place' for name in weights if name not in expected),
        *(f'{name} is {list(weights[name].shape)}, not {list(expected[name])}' for name in reshaped),
    ]


def _find_arch(renamed: Renamed, about: Convertible, source: Source, path: Path, arch: str | None) -> str:
    """The size of the weights, which has to be ``arch`` where one is given."""

    def expected(name: str) -> dict[str, torch.Size]:
        shapes = _shapes(about, name, final_norm=True)
        return {name: shape for name, shape in shapes.items() if not source.anew(name, renamed.weights)}

    faults = {name: _faults(renamed.weights, expected(name)) for name in about.backbone.arch_settings}
    fitting = [name for name, found in faults.items() if not found]
    if fitting and arch in (None, *fitting):
        return fitting[0]
    nearest = arch or min(faults, key=lambda name: len(faults[name]))
    raise CheckpointError(
        f'{path} is not {about.title} of size {nearest!r}: {shown(faults[nearest])}.',
        expected=f'one of the sizes {", ".join(faults)}, complete, by name and shape',
        fix=f'give --arch {fitting[0]}, or leave --arch out'
        if fitting
        else 'convert an unchanged network of these sizes',
    )


def _as_initialised(about: Convertible, arch: str, names: Collection[str]) -> dict[str, torch.Tensor]:
    """The tensors of these names in a network that is initialised from seed 0: a checkpoint is always complete."""
    if not names:
        return {}
    logger = MMLogger.get_current_instance()
    level = logger.level
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = about.backbone(arch=arch)
        logger.setLevel(logging.WARNING)  # init_weights logs every parameter
        try:
            network.init_weights()
        finally:
            logger.setLevel(level)
    return {name: value for name, value in network.state_dict().items() if name in names}


def _check_arguments(
    path: Path, family: str, out: Path, source: str | None, arch: str | None, kv_pool: str | None
) -> None:
    """Check the arguments before anything is read.

    Raises:
        ConfigError: If an argument cannot be used; the message names it.
    """
    if family not in CONVERTIBLE:
        raise ConfigError(
            f'--family {family} is unknown.', expected=f'one of {", ".join(CONVERTIBLE)}', fix='correct --family'
        )
    about = CONVERTIBLE[family]
    known = {
        '--source': (source, tuple(about.sources)),
        '--arch': (arch, tuple(about.backbone.arch_settings)),
        '--kv-pool': (kv_pool, tuple(KV_POOLS) if family == 'nextvit' else ()),
    }
    for option, (value, choices) in known.items():
        if value is not None and value not in choices:
            raise ConfigError(
                f'{option} {value} does not exist for {about.title}.',
                expected=f'one of {", ".join(choices)}' if choices else '',
                fix=f'correct {option}, or leave it out',
            )
    if out.suffix not in SUFFIXES or out.is_dir():
        raise ConfigError(
            f'--out {out} is {"a folder" if out.is_dir() else "not the name of a checkpoint"}.',
            expected=f'a file that ends in {" or ".join(SUFFIXES)}',
            fix='correct --out',
        )
    if out.exists() and path.exists() and out.samefile(path):
        raise ConfigError(f'--out {out} is the source itself.', fix='choose another name')


def _write(checkpoint: Mapping, report: ConversionReport, out: Path) -> Path:
    """Write the checkpoint, then the report beside it, each whole or not at all; returns the path of the report."""
    beside = out.with_suffix('.json')
    try:
        with atomic_file(out) as temporary:
            torch.save(checkpoint, temporary)
        with atomic_file(beside) as temporary:
            temporary.write_text(json.dumps(report.to_dict(), indent=1) + '\n', encoding='utf-8')
    except (OSError, RuntimeError) as error:  # torch raises the latter where it cannot write
        raise ConfigError(
            f'{out} cannot be written: {next(iter(str(error).splitlines()), type(error).__name__)}',
            fix='choose another --out, make room, or change the permissions of its folder',
        ) from error
    return beside


def convert_weights(
    path: str | os.PathLike,
    family: str,
    out: str | os.PathLike,
    source: str | None = None,
    arch: str | None = None,
    kv_pool: str | None = None,
) -> ConversionReport:
    """Convert a checkpoint of another implementation into one that ``init_cfg=dict(type='Pretrained')`` loads.

    Args:
        path: A file of ``torch.save`` or safetensors. It is read as data; code in it is not executed.
        family: ``'nextvit'``, ``'efficientformer'``, ``'turbovit'``, or ``'trtvit'``, which a ResNet fills in part.
        out: The checkpoint to write; the report goes beside it under the same name with ``.json``.
        source: The implementation it comes from, such as ``'timm'``; by default its names tell.
        arch: Its size; by default the shapes tell.
        kv_pool: Pooling of Next-ViT's keys and values in training, if it differs from that of the published weights.

    Returns:
        The report.

    Raises:
        ConfigError: If an argument cannot be used, or ``out`` cannot be written.
        CheckpointError: If the file cannot be read, or a tensor is missing, unknown or of another shape. Nothing is
            written.
    """
    path, out = Path(path), Path(out)
    _check_arguments(path, family, out, source, arch, kv_pool)
    console, about = Console(highlight=False), CONVERTIBLE[family]

    console.print(f'[1/3] Reading {path}', markup=False, soft_wrap=True)
    checkpoint = _read(path)
    if provenance_of(checkpoint):
        raise CheckpointError(
            f'{path} was converted already.', fix="load it: init_cfg=dict(type='Pretrained', checkpoint=...)"
        )
    weights, beside = _split(checkpoint, path)
    digest = sha256(path)

    found = detect(weights, path, family)
    if source not in (None, found):
        raise CheckpointError(
            f'{path} has the names of {found}, not of {source}.', fix='correct --source or leave it out'
        )
    console.print(f'[2/3] Renaming {len(weights)} tensors of {found} as {about.title} has them here')
    renamed = about.sources[found].rename(weights, str(path))
    arch = _find_arch(renamed, about, about.sources[found], path, arch)
    settings = {**about.sources[found].settings, **({'kv_pool': kv_pool} if kv_pool else {})}
    classifier = _shapes(about, arch, final_norm=True)
    new = [name for name in _shapes(about, arch) if name not in classifier]
    anew = {name: about.sources[found].anew(name, renamed.weights) for name in _shapes(about, arch)}
    anew = {name: reason for name, reason in anew.items() if reason}
    report = ConversionReport(
        file=path.name,
        sha256=digest,
        source=found,
        family=family,
        arch=arch,
        settings=settings,
        params=sum(value.numel() for value in renamed.weights.values()),
        mapped=renamed.mapped,
        dropped=renamed.dropped,
        missing={
            **{name: anew.get(name, _CLASSIFIER_NORM) for name in classifier if name not in renamed.weights},
            **dict.fromkeys(new, _NEW_NORM),
        },
        beside=beside,
    )
    console.print(f'[3/3] Writing {out}', markup=False, soft_wrap=True)
    meta = {PROVENANCE_KEY: {**report.provenance(), 'mmtrtvit': __version__}}
    weights = renamed.weights | _as_initialised(about, arch, anew)
    written = _write({'meta': meta, 'state_dict': weights}, report, out)
    console.print(f'{report}\nEvery name: {written}', markup=False, soft_wrap=True)
    return report
