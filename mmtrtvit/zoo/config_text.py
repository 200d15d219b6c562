"""The text of a config for a data set of one's own."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from ..datasets.own import OwnData
from ..datasets.own.convert import SEG_SPLITS
from .recipe import NORM, Choice, Code, Schedule

WIDTH = 120
"""Columns of a line."""

CROP = 512
"""Most pixels a side of the crops that a segmentor learns from."""

_DET_META = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')


def code(value: Any, indent: int = 0, used: int = 0) -> str:
    """A value as Python text, with ``dict(...)`` for dictionaries, broken where a line would be too long.

    Args:
        value: Plain data, and :class:`~mmtrtvit.zoo.recipe.Code`.
        indent: Columns before the line.
        used: Columns of the line that are taken already, beside ``indent``.
    """
    if isinstance(value, Code) or not isinstance(value, (Mapping, list, tuple)):
        return str(value) if isinstance(value, Code) else repr(value)
    if isinstance(value, Mapping):
        opening, closing = 'dict(', ')'
        items = [(f'{key}=', item) for key, item in value.items()]
    else:
        opening, closing = ('[', ']') if isinstance(value, list) else ('(', ')')
        items = [('', item) for item in value]
    parts = [name + code(item, -WIDTH * 99) for name, item in items]
    line = opening + ', '.join(parts) + (',' if isinstance(value, tuple) and len(parts) == 1 else '') + closing
    if indent + used + len(line) <= WIDTH:
        return line
    inner = ' ' * (indent + 4)
    parts = [f'{inner}{name}{code(item, indent + 4, len(name) + 1)},\n' for name, item in items]
    return f'{opening}\n{"".join(parts)}{" " * indent}{closing}'


def assign(name: str, value: Any, comment: str = '') -> str:
    """A line, or several, that give a variable its value."""
    text = f'{name} = {code(value, 0, len(name) + 3)}'
    return f'{text}  # {comment}' if comment else text


def nested(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as dictionaries in each other."""
    found: dict[str, Any] = {}
    for dotted, value in changes.items():
        *parents, last = dotted.split('.')
        part = found
        for key in parents:
            part = part.setdefault(key, {})
        part[last] = {**part[last], **value} if isinstance(part.get(last), dict) else value
    return found


def _step(kind: str, **settings: Any) -> dict[str, Any]:
    return dict(type=kind, **settings)


def detection_pipelines(masks: bool) -> dict[str, list]:
    """The pipelines of training and testing of a detector."""
    loaded = _step('LoadAnnotations', with_bbox=True, **(dict(with_mask=True) if masks else {}))
    resize = _step('Resize', scale=Code('size'), keep_ratio=True)
    image = _step('LoadImageFromFile')
    return dict(
        train_pipeline=[image, loaded, resize, _step('RandomFlip', prob=0.5), _step('PackDetInputs')],
        test_pipeline=[image, resize, loaded, _step('PackDetInputs', meta_keys=_DET_META)],
    )


def segmentation_pipelines() -> dict[str, list]:
    """The pipelines of training and testing of a segmentor; the truth keeps its size in testing."""
    image, loaded, packed = _step('LoadImageFromFile'), _step('LoadAnnotations'), _step('PackSegInputs')
    train = [
        image,
        loaded,
        _step('RandomResize', scale=Code('size'), ratio_range=(0.5, 2.0), keep_ratio=True),
        _step('RandomCrop', crop_size=Code('crop_size'), cat_max_ratio=0.75),
        _step('RandomFlip', prob=0.5),
        _step('PhotoMetricDistortion'),
        packed,
    ]
    resize = _step('Resize', scale=Code('size'), keep_ratio=True)
    return dict(train_pipeline=train, test_pipeline=[image, resize, loaded, packed])


def _tta(segmentation: bool) -> list[str]:
    ratios = '(0.75, 1.0, 1.25)'
    return [
        '# of tools/test.py --tta',
        'tta_pipeline = _base_.tta_pipeline',
        "tta_pipeline[1]['transforms'][0] = [",
        "    dict(type='Resize', scale=(int(size[0] * ratio), int(size[1] * ratio)), keep_ratio=True)",
        f'    for ratio in {ratios}',
        ']',
        *(["tta_pipeline[1]['transforms'][2] = [dict(type='LoadAnnotations')]"] if segmentation else []),
    ]


def _data_lines(data: OwnData, schedule: Schedule, masks: bool) -> list[str]:
    seg = data.annotations is None
    lines = [
        assign(name, steps) for name, steps in (segmentation_pipelines() if seg else detection_pipelines(masks)).items()
    ]
    dataset: dict[str, Any] = dict(data_root=Code('data_root'), metainfo=Code('dict(classes=classes)'))
    if seg:
        dataset = dict(type='BaseSegDataset', **dataset, img_suffix=data.suffix, reduce_zero_label=False)
    lines.append(assign('dataset', dataset))
    loader = 'dict(dataset=dict(pipeline={}, **dataset))'
    lines += [
        f'train_dataloader = dict(batch_size={schedule.batch}, dataset=dict(pipeline=train_pipeline, **dataset))',
        f'val_dataloader = {loader.format("test_pipeline")}',
    ]
    if not seg:
        lines.append("val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')")
    if 'test' not in data.images:
        lines.append('test_dataloader = val_dataloader')
        lines += [] if seg else ['test_evaluator = val_evaluator']
    else:
        files = (
            dict(
                data_prefix=dict(
                    img_path=f'images/{SEG_SPLITS["test"]}', seg_map_path=f'annotations/{SEG_SPLITS["test"]}'
                )
            )
            if seg
            else dict(ann_file='annotations/instances_test2017.json', data_prefix=dict(img='test2017/'))
        )
        lines.append(f'test_dataloader = dict(dataset=dict(pipeline=test_pipeline, {code(files)[5:-1]}, **dataset))')
        lines += [] if seg else ["test_evaluator = dict(ann_file=data_root + 'annotations/instances_test2017.json')"]
    return lines


def _schedule_lines(schedule: Schedule, seg: bool) -> list[str]:
    warm_up, rate = schedule.warm_up, schedule.rate
    lines = [f'epochs = {schedule.epochs}']
    start = f"    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end={warm_up}),"
    if seg:
        lines += [
            f'iterations = epochs * {schedule.steps}  # of {schedule.batch} images',
            f'train_cfg = dict(max_iters=iterations, val_interval={schedule.every * schedule.steps})',
            'param_scheduler = [',
            start,
            f"    dict(type='CosineAnnealingLR', by_epoch=False, begin={warm_up}, end=iterations, eta_min=1e-6),",
            ']',
        ]
    else:
        lines += [
            f'train_cfg = dict(max_epochs=epochs, val_interval={schedule.every})',
            'param_scheduler = [',
            start,
            "    dict(type='CosineAnnealingLR', end=epochs, T_max=epochs, eta_min=1e-6, convert_to_iter_based=True),",
            ']',
        ]
    lines.append(f'optim_wrapper = dict(optimizer=dict(lr={rate:g}), clip_grad=dict(max_norm=5.0))')
    every = schedule.every * (schedule.steps if seg else 1)
    best = 'mIoU' if seg else 'coco/bbox_mAP'
    lines += [
        'default_hooks = dict(',
        f'    logger=dict(interval={10 if schedule.iterations < 5000 else 50}),',
        f'    checkpoint=dict(interval={every}, max_keep_ckpts=1, save_best={best!r}),',
        ')',
        f'auto_scale_lr = dict(base_batch_size={schedule.batch})',
    ]
    return lines


def comments(choices: Sequence[Choice]) -> list[str]:
    """Settings with their reasons as lines of comments."""
    lines = [textwrap.wrap(str(choice), WIDTH - 6, break_on_hyphens=False) for choice in choices]
    return [f'# {line}' if not number else f'#     {line}' for wrapped in lines for number, line in enumerate(wrapped)]


def config_text(
    base: str,
    title: str,
    data: OwnData,
    size: tuple[int, int],
    changes: Mapping[str, Any],
    schedule: Schedule,
    choices: tuple[Sequence[Choice], Sequence[Choice]],
    masks: bool = False,
    start: Mapping[str, Any] | None = None,
) -> str:
    """The text of a config.

    Args:
        base: Name of the shipped config.
        title: Method and backbone.
        data: The data set.
        size: Width and height that images are fitted into.
        changes: Changes to the model, dotted key to value.
        schedule: The schedule.
        choices: Settings of the model and of the schedule with their reasons, for comments.
        masks: Whether masks are learned.
        start: Settings that name the checkpoint to start from.
    """
    seg = data.annotations is None
    of_model, of_schedule = choices
    lines = [
        f'# {title}: {len(data.classes)} classes, {data.images["train"]} training images.',
        '# Written by tools/new_config.py; it is yours to change.',
        f"_base_ = __import__('mmtrtvit').base_config({base!r})",
        '',
        assign('data_root', f'{data.folder.as_posix()}/'),
        assign('classes', data.classes),
        assign('size', size, 'width and height that images are fitted into'),
    ]
    if seg:
        lines.append(assign('crop_size', (min(size[1], CROP), min(size[0], CROP)), 'height and width'))
        changes = {'data_preprocessor.size': Code('crop_size'), **changes}
    lines += ['', *_data_lines(data, schedule, masks), '', *comments(of_model)]
    if any(isinstance(value, Code) and value == 'norm' for value in changes.values()):
        lines.append(assign('norm', NORM))
    lines += [assign('model', nested(changes))]
    lines += [assign(name, value) for name, value in (start or {}).items()]
    lines += ['', *comments(of_schedule), *_schedule_lines(schedule, seg), '', *_tta(seg)]
    return '\n'.join(lines) + '\n'
