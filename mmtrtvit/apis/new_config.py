"""Writing a config for a data set of one's own."""

import copy
import dataclasses
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..atomic import atomic_file
from ..checkpoint import LoadReport, compare, read_checkpoint, weights_of
from ..config import load_config
from ..datasets.class_folders import ClassFolders
from ..datasets.findings import Finding, raise_errors
from ..datasets.own import OwnData, read_own_data
from ..datasets.preflight import find_faults
from ..errors import CheckpointError, ConfigError
from ..shipped import shipped_root
from ..zoo.config_text import config_text, nested
from ..zoo.configs import Classifier, Entry, find_classifiers, find_configs
from ..zoo.recipe import NORM, Choice, Code, choose_schedule, choose_size, model_changes
from .class_layers import build_without_memory, starts_anew
from .new_classifier import check_length, new_classifier


@dataclasses.dataclass(frozen=True)
class NewConfig:
    """A config that was written.

    Attributes:
        path: The file.
        data: The data set.
        choices: Its settings, with the reason for each.
        notes: Warnings about the data, and the fate of the tensors of a checkpoint.
    """

    path: Path
    data: OwnData | ClassFolders
    choices: list[Choice]
    notes: list[str]

    def report(self) -> str:
        """Classes, settings with their reasons, notes and the next commands, as text."""
        images = ', '.join(f'{count} images of {split}' for split, count in self.data.images.items())
        lines = [f'{self.path}: {len(self.data.classes)} classes ({", ".join(self.data.classes)}), {images}']
        lines += [f'  {choice}' for choice in self.choices]
        lines += [f'Note: {note}' for note in self.notes]
        lines += ['Next:', f'  python tools/check_data.py {self.path}', f'  python tools/train.py {self.path}']
        return '\n'.join(lines)


def new_config(
    config: str,
    *,
    data: str | os.PathLike,
    out: str | os.PathLike,
    size: tuple[int, int] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    checkpoint: str | os.PathLike | None = None,
) -> NewConfig:
    """Write a config that trains a shipped detector, segmentor or classifier on a data set of one's own.

    Args:
        config: A shipped config for COCO, ADE20K or ImageNet: its name or its path.
        data: The ``--out`` of ``tools/convert_dataset.py``; for a classifier a folder with ``train`` and ``val``, each
            with a folder of images for each class.
        out: The file to write.
        size: Width and height that images are fitted into; by default those of the images, at most those of ``config``.
        epochs: Passes over the images; by default as their number suggests.
        batch_size: Images an iteration.
        checkpoint: Start from it: weights of the same detector with other classes, or of a backbone.

    Returns:
        The config that was written.

    Raises:
        ConfigError, DataError, CheckpointError: If the input cannot be used. Nothing is written then.
    """
    classifier = _classifier(config)
    if classifier is not None:
        path = _new_file(Path(out))
        options = dict(size=size, epochs=epochs, batch_size=batch_size, checkpoint=checkpoint)
        return NewConfig(path, *new_classifier(classifier, data=data, path=path, **options))
    entry, path = _shipped(config), _new_file(Path(out))
    own = read_own_data(data)
    base = entry.load()
    _check_method(entry, own)
    _check_numbers(entry, own, size, epochs, batch_size)
    kind = 'objects' if own.annotations is not None else 'label maps'
    largest = next(step['scale'] for step in base.test_pipeline if step['type'] == 'Resize')
    size, size_choice = choose_size(own, tuple(largest), size)
    pipeline = [dict(type='Resize', scale=size, keep_ratio=True)]
    start: dict[str, Any] = {}
    notes: list[str] = []
    if checkpoint is None:
        changes, choices = model_changes(base, own, pipeline, scratch=True, norms=True)
        if not entry.backbones.licence.startswith('none'):
            notes.append(
                f'{entry.title} has published weights, which learn faster: {entry.backbones.page}, then --from'
            )
    else:
        changes, choices, start, told = _start_from(Path(checkpoint), base, own, pipeline)
        notes.append(told)
    schedule, chosen = choose_schedule(own.images['train'], kind, checkpoint is None, batch_size, epochs)
    text = config_text(
        base=entry.path.name,
        title=f'{entry.about.title} on {entry.title}',
        data=own,
        size=size,
        changes=changes,
        schedule=schedule,
        choices=([size_choice, *choices], chosen),
        masks=entry.method == 'maskrcnn',
        start=start,
    )
    notes += [f'{finding.message} {finding.fix}' for finding in _faults(text, path.name, own)]
    with atomic_file(path) as temporary:
        temporary.write_text(text)
    return NewConfig(path, own, [size_choice, *choices, *chosen], notes)


def _is_of(path: Path, entry: Path) -> bool:
    """True if a path, or a name, is that of a shipped config."""
    # 'configs/NAME.py' is that of the package where the working directory has no such file
    same = path.resolve() == entry.resolve() if path.is_file() else path.stem == entry.stem
    return same and path.suffix in ('', '.py')


def _classifier(name: str) -> Classifier | None:
    """The shipped config of a classifier of a name or a path; None if it is something else."""
    return next((entry for entry in find_classifiers(shipped_root()) if _is_of(Path(name), entry.path)), None)


def _shipped(name: str) -> Entry:
    """The shipped config of a name or a path."""
    entries = find_configs(shipped_root())
    for entry in entries:
        if _is_of(Path(name), entry.path):
            return entry
    methods = dict.fromkeys(entry.method for entry in entries)
    raise ConfigError(
        f'{name} is not one of the configs of mmtrtvit for COCO, ADE20K or ImageNet.',
        expected='a name or path such as '
        + ', '.join(next(entry.path.name for entry in entries if entry.method == method) for method in methods),
        fix='docs/model_zoo.md lists them; a config of your own is changed by hand, or by --cfg-options',
    )


def _new_file(path: Path) -> Path:
    if path.suffix != '.py':
        raise ConfigError(f'--out {path}', expected='a file that ends in .py', fix='correct it')
    if path.exists():
        raise ConfigError(f'{path} exists.', expected='a new file', fix='choose another --out, or remove it')
    shipped = shipped_root() / 'configs'
    taken = {file.stem: file for folder in (shipped, shipped / 'imagenet') for file in folder.glob('*.py')}
    if path.stem in taken:
        raise ConfigError(
            f'{path.stem} is the name of a config of mmtrtvit: their work dirs would be the same.',
            expected='a name of its own',
            fix=f'--out {path.with_name("my_" + path.name)}',
        )
    return path


def _check_method(entry: Entry, own: OwnData) -> None:
    if (own.annotations is None) != (entry.about.dataset == 'ADE20K'):
        held, fitting = (
            ('label maps', 'semfpn_* or upernet_*')
            if own.annotations is None
            else ('objects', 'retinanet_*, fasterrcnn_* or maskrcnn_*')
        )
        raise ConfigError(
            f'{own.folder} holds {held}, which {entry.name} cannot learn from.',
            expected=f'{fitting}',
            fix='choose one of these configs',
        )
    if entry.method == 'maskrcnn' and not own.has_masks:
        raise ConfigError(
            f'The objects of {own.folder} have no masks, which {entry.name} learns from.',
            expected='a detector of boxes',
            fix=f'{entry.name.replace("maskrcnn", "fasterrcnn")} or {entry.name.replace("maskrcnn", "retinanet")}',
        )


def _check_numbers(
    entry: Entry, own: OwnData, size: tuple[int, int] | None, epochs: int | None, batch: int | None
) -> None:
    check_length(own.images['train'], epochs, batch)
    if size and min(size) < 32:
        raise ConfigError(f'--size {size[0]}x{size[1]}', expected='32 pixels or more a side', fix='correct it')
    if entry.method == 'upernet' and min(batch or 2, own.images['train']) < 2:
        raise ConfigError(
            'UperNet learns from two images or more at a time: its coarsest map has one pixel an image, and BatchNorm '
            'needs more than one value.',
            expected='--batch-size 2 or more',
            fix=f'--batch-size 2, or {entry.name.replace("upernet", "semfpn")}',
        )


def _model_with(base: Config, changes: Mapping[str, Any]) -> Config:
    """The shipped config with changes to its model."""
    plain = {key: NORM if isinstance(value, Code) and value == 'norm' else value for key, value in changes.items()}
    config = copy.deepcopy(base)
    config.merge_from_dict(dict(model=nested(plain)))
    return config


def _start_from(
    path: Path, base: Config, own: OwnData, pipeline: list[Mapping]
) -> tuple[dict[str, Any], list[Choice], dict[str, Any], str]:
    """Changes, choices, settings and a note for a start from a checkpoint.

    The checkpoint may be of the network that this tool writes (with norms), of the shipped config (without), or of a
    backbone alone.
    """
    content = read_checkpoint(path)
    weights = weights_of(content)
    reports: list[LoadReport] = []
    for norms in (True, False):
        changes, choices = model_changes(base, own, pipeline, scratch=False, norms=norms)
        config = _model_with(base, {**changes, 'backbone.init_cfg': None})
        report = compare(build_without_memory(config.model, config.default_scope), weights, str(path))
        anew = starts_anew(report, config)
        reports.append(report)
        if anew is not None:
            trained = (content.get('meta') or {}).get('dataset_meta') or {}
            changes['backbone.init_cfg'] = None
            told = f'{path}: {len(report.loaded)} tensors are loaded'
            told += f', {len(anew)} start anew as they depend on the classes: {", ".join(anew)}' if anew else ''
            if not anew and list(trained.get('classes') or own.classes) != list(own.classes):
                told += f'; its classes had other names: {", ".join(trained["classes"])}'
            start = dict(load_from=str(path.resolve()), new_classes=True)
            choices.insert(
                0, Choice('start', str(path), 'a detector or segmentor of the same kind' if anew else 'as is')
            )
            return changes, choices, start, told
    backbone = build_without_memory(base.model, base.default_scope).backbone
    prefix = 'backbone.' if any(name.startswith('backbone.') for name in weights) else None
    report = compare(backbone, weights_of(content, prefix), str(path), getattr(backbone, 'new_parts', ()))
    if report.complete and not report.foreign:
        changes, choices = model_changes(base, own, pipeline, scratch=False, norms=True)
        changes['backbone.init_cfg'] = dict(_delete_=True, type='Pretrained', checkpoint=str(path.resolve()))
        choices.insert(0, Choice('start', str(path), 'fills the backbone; neck and heads are new'))
        return changes, choices, {}, f'{path}: {len(report.loaded)} tensors of the backbone are loaded'
    best = min(reports, key=lambda report: len(report.missing) + len(report.unexpected) + len(report.reshaped))
    raise CheckpointError(
        f'The checkpoint fits neither {base.model.type} nor its backbone.\n{best}',
        expected='weights of the same config with any number of classes, or of its backbone',
        fix='give the CONFIG that it was trained with (the same method and size)',
    )


def _faults(text: str, name: str, own: OwnData) -> list[Finding]:
    """Warnings about a config and its data, as ``tools/check_data.py`` finds them without reading images.

    Raises:
        DataError: If the data cannot be used.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(text)
        config = load_config(path)
    build_without_memory(config.model, config.default_scope)
    found = find_faults(config, list(own.images))
    raise_errors(found)
    return [finding for finding in found if finding.severity == 'warning']
