"""Options that nothing reads: typing errors, names from before MMEngine, and variables of a config file."""

import contextlib
import difflib
import functools
import importlib.util
import inspect
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mmengine.registry
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, LogProcessor, Runner, TestLoop, ValLoop
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader

from .errors import ConfigError

OLD_NAMES: tuple[tuple[str, str], ...] = (
    (r'optimizer\.type', 'optim_wrapper.optimizer.type'),
    (r'optimizer\.paramwise_cfg(.*)', r'optim_wrapper.paramwise_cfg\1'),
    (r'optimizer((?:\..*)?)', r'optim_wrapper.optimizer\1'),
    (r'optimizer_config\.grad_clip(.*)', r'optim_wrapper.clip_grad\1'),
    (r'optimizer_config.*', 'optim_wrapper.clip_grad, or --amp'),
    (r'fp16.*', '--amp, or optim_wrapper.type=AmpOptimWrapper'),
    (r'lr_config\.warmup_iters', 'param_scheduler.0.end'),
    (r'lr_config\.warmup_ratio', 'param_scheduler.0.start_factor'),
    (r'lr_config\.step', 'param_scheduler.1.milestones'),
    (r'lr_config\.min_lr', 'param_scheduler.1.eta_min'),
    (r'lr_config.*', 'param_scheduler (a list: warm-up first, then the decay)'),
    (r'(?:runner\.max_epochs|total_epochs|max_epochs)', 'train_cfg.max_epochs'),
    (r'(?:runner\.max_iters|total_iters|max_iters)', 'train_cfg.max_iters'),
    (r'runner.*', 'train_cfg'),
    (r'data\.(?:samples_per_gpu|imgs_per_gpu)', 'train_dataloader.batch_size'),
    (r'data\.workers_per_gpu', 'train_dataloader.num_workers'),
    (r'data\.(train|val|test)_dataloader\.samples_per_gpu', r'\1_dataloader.batch_size'),
    (r'data\.(train|val|test)_dataloader(.*)', r'\1_dataloader\2'),
    (r'data\.(train|val|test)\.img_prefix', r'\1_dataloader.dataset.data_prefix.img'),
    (r'data\.(train|val|test)\.img_dir', r'\1_dataloader.dataset.data_prefix.img_path'),
    (r'data\.(train|val|test)\.ann_dir', r'\1_dataloader.dataset.data_prefix.seg_map_path'),
    (r'data\.(train|val|test)\.classes', r'\1_dataloader.dataset.metainfo.classes'),
    (r'data\.(train|val|test)(.*)', r'\1_dataloader.dataset\2'),
    (r'data', 'train_dataloader, val_dataloader and test_dataloader'),
    (r'evaluation\.interval', 'train_cfg.val_interval'),
    (r'evaluation\.save_best', 'default_hooks.checkpoint.save_best'),
    (r'evaluation(.*)', r'val_evaluator\1'),
    (r'checkpoint_config(.*)', r'default_hooks.checkpoint\1'),
    (r'log_config\.interval', 'default_hooks.logger.interval'),
    (r'log_config.*', 'visualizer.vis_backends, or default_hooks.logger'),
    (r'resume_from', '--resume PATH'),
    (r'workflow', 'train_cfg.val_interval'),
    (r'dist_params(.*)', r'env_cfg.dist_cfg\1'),
    (r'cudnn_benchmark', 'env_cfg.cudnn_benchmark'),
    (r'(mp_start_method|opencv_num_threads)', r'env_cfg.mp_cfg.\1'),
    (r'(seed|deterministic)', r'randomness.\1'),
    (r'gpu_ids|gpus', 'the environment variable CUDA_VISIBLE_DEVICES'),
    (r'(?:img_norm_cfg)\.(mean|std)', r'model.data_preprocessor.\1'),
    (r'img_norm_cfg.*', 'model.data_preprocessor'),
    (r'model\.pretrained', 'model.backbone.init_cfg.checkpoint'),
    (r'model\.(train|test)_cfg\.(rpn|rcnn)\.nms_thr', r'model.\1_cfg.\2.nms.iou_threshold'),
)
"""Pattern of a whole key of mmdet 2.x or mmseg 0.x, before MMEngine, to its name today."""

TOP = {
    *inspect.signature(Runner.__init__).parameters,
    *('runner_type', 'strategy', 'compile', 'find_unused_parameters', 'sync_bn', 'model_wrapper_cfg'),
    *('tta_model', 'tta_pipeline', 'tta_metric', 'test_pipeline', 'custom_imports', 'new_classes'),
} - {'self', 'cfg'}
"""Top-level keys that mmengine, mmdeploy or this package reads."""

_UNTYPED: dict[str, Any] = {
    'train_cfg': (EpochBasedTrainLoop, IterBasedTrainLoop, {'by_epoch'}),
    'val_cfg': (ValLoop, {'fp16'}),
    'test_cfg': (TestLoop, {'fp16'}),
    'log_processor': (LogProcessor,),
    'randomness': (Runner.set_randomness,),
    'auto_scale_lr': ({'enable', 'base_batch_size'},),
    'env_cfg': ({'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},),
    'env_cfg.mp_cfg': ({'mp_start_method', 'opencv_num_threads'},),
    'optim_wrapper.clip_grad': (clip_grad_norm_, {'type', 'clip_value'}),
    **{f'{split}_dataloader': (DataLoader, {'dataset', 'num_batch_per_epoch'}) for split in ('train', 'val', 'test')},
}
"""Settings without ``type``: classes, functions or names that say which keys are read."""

_REGISTRIES = (
    *('MODELS', 'DATASETS', 'TRANSFORMS', 'HOOKS', 'METRICS', 'TASK_UTILS', 'DATA_SAMPLERS', 'LOOPS', 'LOG_PROCESSORS'),
    *('OPTIMIZERS', 'OPTIM_WRAPPERS', 'PARAM_SCHEDULERS', 'VISUALIZERS', 'VISBACKENDS'),
)
"""Names of the registries, in mmengine, of everything that a setting with ``type`` may build."""

_ALWAYS = {'type', '_delete_', '_scope_', 'priority', 'init_cfg', 'convert_to_iter_based'}
_OPTIM_WRAPPER = {
    'optimizer',
    'paramwise_cfg',
    'constructor',
    'clip_grad',
    'accumulative_counts',
    'loss_scale',
    'dtype',
}

_FREE = ('metainfo', 'custom_keys', 'data_prefix', 'dist_cfg', 'backend_args', 'custom_imports')
"""Settings with keys of any name."""


def check_keys(config: Config, options: Mapping[str, Any]) -> None:
    """Make sure that something reads every key that changes a config.

    Args:
        config: The config, before the change.
        options: Dotted key to value.

    Raises:
        ConfigError: If nothing reads a key; proposes the nearest one, or today's name of one from before MMEngine.
    """
    for key, value in options.items():
        _check_key(config, key, value, options)


def _check_key(config: Config, key: str, value: Any, options: Mapping[str, Any]) -> None:
    top, *parts = key.split('.')
    if top not in TOP:
        _refuse_top(config, key, top)
        return
    node, place = config.get(top), top
    if top not in config and top in _UNTYPED:
        node = {}
    for number, part in enumerate(parts):
        if isinstance(node, (list, tuple)) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, Mapping) and part in node:
            node = node[part]
        else:
            # a new hook has settings of its own; merging says what is wrong with anything but a dictionary
            hook = place == 'default_hooks' and (isinstance(value, Mapping) or number + 1 < len(parts))
            if isinstance(node, Mapping) and not hook:
                _judge(config, {**node, 'type': options.get(f'{place}.type', node.get('type'))}, place, part)
            return
        place += f'.{part}'
    if isinstance(node, Mapping) and isinstance(value, Mapping) and not value.get('_delete_'):
        for name, item in value.items():
            if name not in _ALWAYS:
                _check_key(config, f'{key}.{name}', item, options)


def _refuse_top(config: Config, key: str, top: str) -> None:
    new = _name_today(key)
    if new and top not in config:
        raise ConfigError(
            f'Nothing reads {key}: it is a name from before MMEngine (mmdet 2.x, mmseg 0.x).',
            expected=new,
            fix=f'use {new}',
        )
    if top in config:
        places = [place for name in config if name in TOP for place in _places(config[name], config[top], name)]
        places = [f'{place}{key[len(top) :]}' for place in places]
        foreign = set((config.get('custom_imports') or {}).get('imports') or ()) - {'mmtrtvit'}
        message = f'{top} is a variable of the config file: the places that use it were filled when it was read.'
        if foreign:  # their code may read it
            print_log(f'--cfg-options {key}: {message}', logger='current', level=logging.WARNING)
            return
        raise ConfigError(
            f'Nothing reads {key}. {message}',
            fix=f'set {", ".join(places[:6])}' if places else 'change it in the file',
        )
    near = _near(top, TOP)
    raise ConfigError(
        f'Nothing reads {key}.',
        expected=f'perhaps {near}' if near else 'a key that the config has, or that mmengine reads',
        fix=f'did you mean {near}{key[len(top) :]}?' if near else 'correct --cfg-options',
    )


def _name_today(key: str) -> str | None:
    for pattern, new in OLD_NAMES:
        found = re.fullmatch(pattern, key)
        if found:
            return found.expand(new) if '\\' in new else new
    return None


def _places(node: Any, value: Any, place: str) -> Iterator[str]:
    """Dotted places at and below a node that have a value, or a path that begins with it."""
    paths = isinstance(node, str) and isinstance(value, str) and value
    if type(node) is type(value) and node == value or paths and node.startswith(value):
        yield place
    elif isinstance(node, Mapping):
        for name, item in node.items():
            yield from _places(item, value, f'{place}.{name}')
    elif isinstance(node, (list, tuple)):
        for number, item in enumerate(node):
            yield from _places(item, value, f'{place}.{number}')


def _judge(config: Config, parent: Mapping, place: str, name: str) -> None:
    """Refuse a new key of a setting, unless something reads it."""
    if name in _ALWAYS or place.rpartition('.')[2] in _FREE:
        return
    key, kind, known = f'{place}.{name}', parent.get('type'), set(parent)
    if kind is not None:
        found = [_parameters(item) for item in _types(kind, config.get('default_scope'))]
        if not found:
            return  # building it says that there is no such type
        known = known.union(*filter(None, found), _OPTIM_WRAPPER if place == 'optim_wrapper' else ())
        read = name in known or None in found and _is_written(rf'\b{re.escape(name)}\b', _packages(config))
    elif place in _UNTYPED:
        known = known.union(*(item if isinstance(item, set) else _parameters(item) or () for item in _UNTYPED[place]))
        read = name in known
    else:
        word = re.escape(name)
        forms = rf"""cfg\w*\.{word}\b|(?:get|pop)\(\s*['"]{word}['"]|\[['"]{word}['"]\]|['"]{word}['"] in"""
        read = name in known or place != 'default_hooks' and _is_written(forms, _packages(config))
    if read:
        return
    kind = kind if isinstance(kind, str) or kind is None else kind.__name__
    fault, new, near = (
        f'{kind} has no argument {name}' if kind else 'nothing reads it',
        _name_today(key),
        _near(name, known),
    )
    if new:
        raise ConfigError(
            f'{key}: {fault}; it is a name from before MMEngine (mmdet 2.x, mmseg 0.x).', expected=new, fix=f'use {new}'
        )
    raise ConfigError(
        f'{key}: {fault}.',
        expected=f'one of {", ".join(sorted(known - _ALWAYS)[:20])}',
        fix=f'did you mean {place}.{near}?' if near else 'correct --cfg-options',
    )


def _near(name: str, known: Sequence[str] | set[str]) -> str:
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)), '')


def _types(kind: Any, scope: str | None) -> list[Any]:
    """The classes and functions that a ``type`` may stand for, in all registries."""
    if not isinstance(kind, str):
        return [kind]
    found = []
    for name in _REGISTRIES:
        with (
            contextlib.suppress(Exception),
            getattr(mmengine.registry, name).switch_scope_and_registry(scope) as scoped,
        ):
            found.append(scoped.get(kind))
    return list(dict.fromkeys(item for item in found if item is not None))


def _parameters(kind: Any) -> set[str] | None:
    """Names of the arguments of a class with its bases, or of a function; ``None`` if it accepts any."""
    functions = (
        [base.__dict__['__init__'] for base in kind.__mro__ if '__init__' in base.__dict__]
        if isinstance(kind, type)
        else [kind]
    )
    names: set[str] = set()
    for function in functions:
        if function is object.__init__:
            return None  # the last class accepts any keyword
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return None
        names |= {one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
        if not any(one.kind is one.VAR_KEYWORD for one in parameters):
            return names - {'self'}
    return None


def _packages(config: Config) -> tuple[str, ...]:
    imported = (config.get('custom_imports') or {}).get('imports') or ()
    imported = [imported] if isinstance(imported, str) else imported
    names = ('mmengine', 'mmcv', config.get('default_scope') or 'mmdet', *(name.split('.')[0] for name in imported))
    return tuple(dict.fromkeys(names))


@functools.lru_cache
def _is_written(pattern: str, packages: tuple[str, ...]) -> bool:
    """True if the source of some packages has a pattern: settings without ``type`` have no list of their keys."""
    word = re.compile(pattern)
    for package in packages:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            if any(word.search(file.read_text(errors='ignore')) for file in Path(folder).rglob('*.py')):
                return True
    return False
