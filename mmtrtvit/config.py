"""Reading a config file the way a command line needs it."""

import contextlib
import copy
import difflib
import importlib.util
import io
import linecache
import os
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.utils import import_modules_from_strings

from . import environment
from .config_keys import check_keys
from .errors import ConfigError, UserError
from .shipped import shipped_root

VARIANTS = Path('_base_') / 'variants'
"""Folder of the variants below a folder of configs."""


def find_variant(name: str, path: Path) -> Path:
    """The file of a variant: a file as it is given, or a name in ``_base_/variants`` of a folder of configs.

    Args:
        name: A name such as ``layer-decay``, or a file.
        path: The config that it is for. Its own folder and those above it are looked in first, then the configs of the
            package (in the checkout, or in the installed wheel).

    Raises:
        ConfigError: If there is none; the message lists all variants.
    """
    if name.endswith('.py') and Path(name).is_file():
        return Path(name)
    roots = [*path.resolve().parents, shipped_root() / 'configs']
    known = {file.stem: file for root in reversed(roots) for file in sorted((root / VARIANTS).glob('*.py'))}
    if name not in known:
        raise ConfigError(
            f'There is no variant {name}.',
            expected=f'one or more of {", ".join(sorted(known))}, or a config file',
            fix='correct --variant',
        )
    return known[name]


def find_config(path: str | os.PathLike) -> Path:
    """The file of a config: a path, or ``package::path`` below the configs that an OpenMMLab package comes with.

    Args:
        path: Such as ``configs/retinanet_trtvit_b_coco.py`` or ``mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py``.

    Raises:
        ConfigError: If there is none. The message names files that are near.
    """
    package, separator, name = str(path).partition('::')
    path = _configs_of(package) / name if separator else Path(path)
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [file.name for file in path.parent.glob('*.py')], n=3)
        raise ConfigError(
            f'There is no config file {path}.',
            expected=f'perhaps {", ".join(str(path.parent / name) for name in near)}'
            if near
            else 'a file such as configs/maskrcnn_trtvit_b_coco.py',
            fix='correct the path; paths are relative to where the command runs',
        )
    return path


def _configs_of(package: str) -> Path:
    """The folder of the configs that a package comes with."""
    if package == 'mmtrtvit':
        return shipped_root() / 'configs'
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    folder = Path(found.origin).parent / '.mim' / 'configs' if found and found.origin else None
    if folder is None or not folder.is_dir():
        raise ConfigError(
            f'There is no package {package} with configs.',
            expected='PACKAGE::PATH, such as mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
            fix='correct the name, or install the package',
        )
    return folder


def _drop_nones(config: Config | dict, changes: Mapping) -> None:
    """Remove entries of ``config`` that are None where ``changes`` has a dict: the two cannot be merged."""
    for key, value in changes.items():
        if isinstance(value, Mapping) and key in config:
            if config[key] is None:
                config.pop(key)
            elif isinstance(config[key], dict):
                _drop_nones(config[key], value)


def _drop_none_above(config: Config, dotted: str) -> None:
    """Remove an entry that is None where an option sets a key below it, such as ``init_cfg.type``."""
    part: object = config
    for key in dotted.split('.')[:-1]:
        if not isinstance(part, (Config, dict)) or key not in part:
            return
        if part[key] is None:
            part.pop(key)
            return
        part = part[key]


def load_config(path: str | os.PathLike, cfg_options: Mapping | None = None, variants: Sequence[str] = ()) -> Config:
    """Read a config with its ``_base_`` files, and change it by ``--variant`` and then by ``--cfg-options``.

    Args:
        path: The config file; see :func:`find_config`.
        cfg_options: Dotted key to value, as mmengine's ``DictAction`` parses it.
        variants: Names or files of variants, merged one after the other; see :func:`find_variant`.

    Returns:
        The config.

    Raises:
        ConfigError: If the file or a variant does not exist or cannot be read, or if nothing reads a key of
            ``cfg_options``.
        EnvironmentProblem: If a part is missing without which the network cannot be built.
    """
    environment.require(networks=True)
    path = find_config(path)
    files = [find_variant(name, path) for name in variants]
    try:
        config = Config.fromfile(path)
        for file in files:
            changes = Config.fromfile(file).to_dict()
            _drop_nones(config, changes)
            config.merge_from_dict(changes)
        if cfg_options:
            check_keys(config, cfg_options)
            for key in cfg_options:
                _drop_none_above(config, key)
            # a copy: merging removes `_delete_` from its argument
            config.merge_from_dict(copy.deepcopy(dict(cfg_options)))
            if any(key.startswith('custom_imports') for key in cfg_options):
                import_modules_from_strings(**config.custom_imports)  # those of files were imported with them
            _refuse_unread_pipeline(config, cfg_options)
    except UserError:
        raise
    except Exception as error:  # a config is a program: anything may be raised in it
        raise _unreadable(path, error) from error
    if not isinstance(config.get('model'), Mapping):
        raise ConfigError(
            f'The config {path} has no `model`.',
            expected='a whole config, such as those in configs/, or a file with one as its `_base_`',
            fix='give the config that the network was trained with',
        )
    drop_worker_settings(config)
    if config.get('default_scope') == 'mmpretrain':
        environment.require_part('mmpretrain')
    if 'data_preprocessor' in config and 'data_preprocessor' not in config.model:
        config.model.data_preprocessor = config.data_preprocessor  # mmpretrain's configs have it beside the model
    _import_datasets(config.get('default_scope'))
    return config


def _import_datasets(scope: str | None) -> None:
    """Import the data sets of a config's package here, where the lines that this prints can be held back.

    mmdet and mmseg report an optional package that is missing, on standard output and whatever the level of the log is.
    """
    if scope in ('mmdet', 'mmseg'):
        # a package that cannot be imported is an error where it is used
        with contextlib.suppress(ImportError), contextlib.redirect_stdout(io.StringIO()):
            importlib.import_module(f'{scope}.datasets')


CONFIG_SUFFIXES = ('.py', '.json', '.yml', '.yaml')


def _unreadable(path: Path, error: Exception) -> ConfigError:
    """The error for a config that cannot be read, with the file and line at fault where they can be told."""
    if path.suffix not in CONFIG_SUFFIXES:
        swapped = ' and a checkpoint comes after it' if path.suffix in ('.pth', '.pt') else ''
        return ConfigError(
            f'{path} is not a config.',
            expected=f'a file that ends in {", ".join(CONFIG_SUFFIXES)}',
            fix=f'the config is the first argument{swapped}',
        )
    file, line = path, None
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == '_file2dict':  # of the config, then of those that it inherits
            file = Path(frame.f_locals.get('filename', file))
        elif frame.f_code.co_filename == str(file):
            line = number
    if isinstance(error, SyntaxError):
        line = error.lineno
    reason = f'{type(error).__name__}: {getattr(error, "msg", None) or error}'
    if isinstance(error, RecursionError):
        reason = 'its `_base_` leads back to itself'
    linecache.checkcache(str(file))
    place = [] if file.resolve() == path.resolve() else [f'in {file}']
    place += [f'line {line}: {linecache.getline(str(file), line).strip()}'] if line else []
    return ConfigError(
        f'The config {path} cannot be read: {reason}' + (f' ({", ".join(place)})' if place else ''),
        fix='correct the file, the file that it names in `_base_`, or what --variant or --cfg-options gave',
    )


def drop_worker_settings(config: Config) -> None:
    """Take settings for workers out of data loaders that have none, where PyTorch would refuse them; say so once."""
    for key in ('persistent_workers', 'prefetch_factor'):
        loaders = [
            name
            for name in ('train_dataloader', 'val_dataloader', 'test_dataloader')
            if (loader := config.get(name)) and not loader.get('num_workers') and loader.get(key)
        ]
        for name in loaders:
            del config[name][key]
        if loaders:
            print_log(f'{key} of {", ".join(loaders)} is left out: num_workers is 0.', logger='current')


def _refuse_unread_pipeline(config: Config, cfg_options: Mapping) -> None:
    """Refuse a change to the variable ``test_pipeline`` that does not reach the test data sets.

    Raises:
        ConfigError: If an option changes the variable, and the pipeline of a test data set is another.
    """
    changed = [key for key in cfg_options if key.partition('.')[0] == 'test_pipeline']
    if changed and config.get('test_dataloader') and pipeline_of(config) != config.test_pipeline:
        options = ', '.join(f'test_dataloader.dataset.pipeline{key.removeprefix("test_pipeline")}' for key in changed)
        raise ConfigError(
            f'--cfg-options {", ".join(changed)}: nothing reads test_pipeline, a variable that only helps to write the '
            'data sets of a config.',
            expected='the pipeline of the test data set',
            fix=f'change {options} instead',
        )


def datasets_of(config: Mapping) -> Iterator[Mapping]:
    """The innermost data sets of the config of a data set that may wrap, repeat or concatenate others."""
    if 'datasets' in config:
        for dataset in config['datasets']:
            yield from datasets_of(dataset)
    elif 'dataset' in config:
        yield from datasets_of(config['dataset'])
    else:
        yield config


def prefixes_of(dataset: Mapping) -> dict[str, str]:
    """The folders of a data set by name, below its root; mmpretrain takes a single one, of images, as plain text."""
    prefixes = dataset.get('data_prefix') or {}
    return {'img_path': prefixes} if isinstance(prefixes, str) else dict(prefixes)


def with_pipeline(dataset: Mapping, pipeline: Sequence[Mapping], **settings: object) -> dict:
    """A copy of the config of a data set, with another pipeline in all of its innermost data sets.

    Args:
        dataset: The config, which may wrap or concatenate others.
        pipeline: The steps.
        settings: Further settings of the innermost data sets.
    """
    changed = copy.deepcopy(dict(dataset))
    for innermost in datasets_of(changed):
        cast(dict, innermost).update(settings, pipeline=list(pipeline))
    return changed


def describe_batches(config: Mapping, split: str) -> str:
    """A split's batches for messages: ``'batches of 2 images of 1333 x 800'``.

    Args:
        config: A whole config.
        split: ``train``, ``val`` or ``test``.
    """
    loader = config.get(f'{split}_dataloader') or {}
    sizes: list[tuple[int, int]] = []

    def collect(step: object) -> None:
        if isinstance(step, Mapping):
            for key, value in step.items():
                pairs = value if isinstance(value, (list, tuple)) else ()
                if key in ('scale', 'scales', 'size', 'crop_size'):
                    pairs = pairs if pairs and isinstance(pairs[0], (list, tuple)) else [pairs]
                    sizes.extend(tuple(p) for p in pairs if len(p) == 2 and all(isinstance(n, int) for n in p))
                else:
                    collect(value)
        elif isinstance(step, (list, tuple)):
            for item in step:
                collect(item)

    for dataset in datasets_of(loader['dataset']) if loader.get('dataset') else ():
        collect(dataset.get('pipeline'))
    number = loader.get('batch_size', 1)
    images = 'batches of one image' if number == 1 else f'batches of {number} images'
    size = max(sizes, key=lambda sides: sides[0] * sides[1], default=None)
    return f'{images} of {size[0]} x {size[1]}' if size else images


def test_data_of(config: Mapping) -> Mapping:
    """The config of the test data set, which may wrap or concatenate others.

    Raises:
        ConfigError: If the config has none.
    """
    loader = config.get('test_dataloader')
    if not loader:
        raise ConfigError(
            'The config has no test_dataloader.',
            expected='the data to evaluate on, which also tells the classes and how images are resized',
            fix='set it in the config, such as test_dataloader = val_dataloader',
        )
    return loader['dataset']


def pipeline_of(config: Mapping) -> list[Mapping]:
    """The test pipeline of a config: that of its test data sets.

    A variable ``test_pipeline`` at the top level of a config is not read: it only serves to write the data sets, and
    changing it alone changes nothing.

    Raises:
        ConfigError: If there is no test data set, one has no pipeline, or two of them differ.
    """
    datasets = datasets_of(test_data_of(config))
    pipelines: list[list[Mapping]] = [dataset.get('pipeline') or [] for dataset in datasets]
    if not pipelines or not all(pipelines):
        raise ConfigError(
            'The test data set of the config has no pipeline.',
            expected='test_dataloader.dataset.pipeline: the steps from an image file to the input of the network',
            fix='set it in the config',
        )
    for pipeline in pipelines[1:]:
        if pipeline != pipelines[0]:
            raise ConfigError(
                f'The {len(pipelines)} test data sets of the config have different pipelines.',
                expected='one pipeline, as an artefact has one preprocessing',
                fix='give all data sets of test_dataloader the same pipeline',
            )
    return pipelines[0]


def make_work_dir(folder: str | os.PathLike) -> Path:
    """Make a folder, unless it is there, and make sure that it can be written to.

    Raises:
        ConfigError: If it cannot.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f'The work dir {folder} cannot be written: {error.strerror}.',
            fix='choose another one with --work-dir or --out, or make room or change its permissions',
        ) from error
    return folder


def set_work_dir(config: Config, path: str | os.PathLike, work_dir: str | None) -> Path:
    """Set ``config.work_dir`` (``work_dirs/<config name>`` by default), and make it.

    Raises:
        ConfigError: If the folder cannot be made or written to.
    """
    config.work_dir = str(work_dir or config.get('work_dir') or Path('work_dirs') / Path(path).stem)
    return make_work_dir(config.work_dir)
