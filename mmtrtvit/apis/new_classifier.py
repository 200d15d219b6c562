"""Writing a config for a classifier of one's own images."""

import copy
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..atomic import atomic_file
from ..checkpoint import compare, read_checkpoint, weights_of
from ..config import load_config
from ..datasets.class_folders import ClassFolders, read_class_folders
from ..errors import CheckpointError, ConfigError
from ..zoo.config_text import assign, comments
from ..zoo.configs import Classifier
from ..zoo.recipe import Choice
from .class_layers import build_without_memory, starts_anew

BATCH, ITERATIONS, EPOCHS = 16, 600, (12, 100)
"""Images an iteration; iterations from scratch, of which a start from a checkpoint takes half; least, most epochs."""

RATE = {True: 5e-4, False: 1e-4}
"""AdamW's learning rate at that batch, from scratch and from a checkpoint; it grows with the root of the batch."""

MARGIN = 256 / 224
"""Shorter side of a test image over the side of its crop, as on ImageNet."""


def check_length(images: int, epochs: int | None, batch_size: int | None) -> None:
    """Check the options of the length of a training.

    Args:
        images: Number of training images.
        epochs, batch_size: As given; None for the default.

    Raises:
        ConfigError: If one is below 1, or there are fewer images than in a batch.
    """
    for option, value in (('--epochs', epochs), ('--batch-size', batch_size)):
        if value is not None and value < 1:
            raise ConfigError(f'{option} {value}', expected='1 or more', fix='correct it')
    if batch_size and batch_size > images:
        raise ConfigError(
            f'--batch-size {batch_size}, but there are {images} training images.',
            expected='at most as many',
            fix=f'--batch-size {min(images, 4)}',
        )


def new_classifier(
    entry: Classifier,
    *,
    data: str | os.PathLike,
    path: Path,
    size: tuple[int, int] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    checkpoint: str | os.PathLike | None = None,
) -> tuple[ClassFolders, list[Choice], list[str]]:
    """Write a config that trains a shipped classifier on a folder of images for each class.

    Args:
        entry: The shipped config.
        data: As :func:`~mmtrtvit.datasets.class_folders.read_class_folders` takes it.
        path: The file to write.
        size, epochs, batch_size, checkpoint: As in :func:`~mmtrtvit.apis.new_config`.

    Returns:
        The data, the settings with their reasons, and notes.

    Raises:
        ConfigError, DataError, CheckpointError: If the input cannot be used. Nothing is written then.
    """
    own = read_class_folders(data)
    if size and (size[0] != size[1] or size[0] < 32):
        raise ConfigError(
            f'--size {size[0]}x{size[1]}', expected='a square of 32 pixels a side or more', fix='--size 224x224'
        )
    images, classes = own.images['train'], len(own.classes)
    check_length(images, epochs, batch_size)
    batch = batch_size or min(BATCH, images)
    steps = images // batch  # an incomplete batch is left out
    start, started, notes = _start(entry.load(), own, checkpoint)
    iterations = ITERATIONS // (2 if checkpoint else 1)
    wanted, epochs = epochs, epochs or min(max(math.ceil(iterations / steps), EPOCHS[0]), EPOCHS[1])
    warm_up = max(1, min(100, epochs * steps // 5))
    rate = float(f'{RATE[checkpoint is None] * math.sqrt(batch / BATCH):.1e}')
    every = max(1, epochs // 10)
    side = size[0] if size else 224
    of_model = [
        Choice('size', f'{side} x {side}', 'as given' if size else 'that of ImageNet; smaller is quicker: --size WxH'),
        started,
        Choice('changes to images', 'crops, flips and colours', 'mixup and CutMix need many more images'),
    ]
    of_schedule = [
        Choice('batch', f'{batch} images', 'as given' if batch_size else 'small batches make more steps of few images'),
        Choice('length', f'{epochs} epochs', 'as given' if wanted else f'{images} images, {iterations} iterations'),
        Choice('learning rate', f'{rate:g}', f'{RATE[checkpoint is None]:g} at a batch of {BATCH}, by its root'),
    ]
    test = 'test' if 'test' in own.images else 'val'
    lines = [
        f'# Classifier on {entry.title}: {classes} classes, {images} training images.',
        '# Written by tools/new_config.py; it is yours to change.',
        f"_base_ = __import__('mmtrtvit').base_config('imagenet/{entry.path.name}')",
        '',
        assign('data_root', f'{own.folder.as_posix()}/'),
        assign('classes', own.classes),
        assign('size', side, 'height and width that the network sees'),
        '',
        'train_pipeline = [',
        "    dict(type='LoadImageFromFile'),",
        "    dict(type='RandomResizedCrop', scale=size, crop_ratio_range=(0.25, 1.0)),",
        "    dict(type='RandomFlip', prob=0.5),",
        "    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),",
        "    dict(type='PackInputs'),",
        ']',
        'test_pipeline = [',
        "    dict(type='LoadImageFromFile'),",
        f"    dict(type='ResizeEdge', scale={round(side * MARGIN)}, edge='short'),",
        "    dict(type='CenterCrop', crop_size=size),",
        "    dict(type='PackInputs'),",
        ']',
        "dataset = dict(type='CustomDataset', data_root=data_root, metainfo=dict(classes=classes))",
        f'train_dataloader = dict(batch_size={batch}, num_workers=2, dataset=dict(pipeline=train_pipeline, **dataset))',
        f'val_dataloader = dict(batch_size={batch}, num_workers=2, dataset=dict(pipeline=test_pipeline, **dataset))',
        f'test_dataloader = dict(\n    batch_size={batch}, num_workers=2, '
        f"dataset=dict(pipeline=test_pipeline, **{{**dataset, 'data_prefix': '{test}'}})\n)",
        assign('val_evaluator', dict(topk=(1, 5) if classes > 5 else (1,))),
        'test_evaluator = val_evaluator',
        '',
        *comments(of_model),
        'model = dict(',
        f'    data_preprocessor=dict(num_classes={classes}),',
        f'    backbone=dict(drop_path_rate=0.0{start.pop("backbone", "")}),',
        f'    head=dict(num_classes={classes}),',
        '    train_cfg=None,',
        ')',
        *(assign(name, value) for name, value in start.items()),
        '',
        *comments(of_schedule),
        f'epochs = {epochs}',
        f'train_cfg = dict(max_epochs=epochs, val_interval={every})',
        'param_scheduler = [',
        f"    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end={warm_up}),",
        "    dict(type='CosineAnnealingLR', end=epochs, T_max=epochs, eta_min=1e-6, convert_to_iter_based=True),",
        ']',
        f'optim_wrapper = dict(optimizer=dict(lr={rate:g}))',
        f'default_hooks = dict(logger=dict(interval=5), checkpoint=dict(interval={every}, max_keep_ckpts=1))',
        f'auto_scale_lr = dict(base_batch_size={batch})',
    ]
    notes.append(f'{own.largest:.1%} of the validation images are of one class: a classifier has to do better')
    with atomic_file(path) as temporary:
        temporary.write_text('\n'.join(lines) + '\n')
        load_config(temporary)  # before it appears: a file that is there would be refused at the next try
    return own, [*of_model, *of_schedule], notes


def _start(
    base: Config, own: ClassFolders, checkpoint: str | os.PathLike | None
) -> tuple[dict[str, Any], Choice, list[str]]:
    """Settings that name a checkpoint, the choice of it, and a note on its tensors."""
    if checkpoint is None:
        return dict(load_from=None), Choice('start', 'from scratch', 'no --from CHECKPOINT was given'), []
    weights = weights_of(read_checkpoint(checkpoint))
    config = copy.deepcopy(base)
    config.model.head.num_classes = config.model.data_preprocessor.num_classes = len(own.classes)
    network = build_without_memory(config.model, config.default_scope)
    report = compare(network, weights, str(checkpoint))
    anew = starts_anew(report, config)
    path = str(Path(checkpoint).resolve())
    if anew is not None:
        told = f'{checkpoint}: {len(report.loaded)} tensors are loaded'
        told += f', {len(anew)} start anew as they depend on the classes: {", ".join(anew)}' if anew else ''
        start: dict[str, Any] = dict(load_from=path, new_classes=True)
        return start, Choice('start', str(checkpoint), 'a classifier of the same kind'), [told]
    prefix = 'backbone.' if any(name.startswith('backbone.') for name in weights) else ''
    inside: Mapping = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    part = compare(network.backbone, inside, str(checkpoint), network.backbone.new_parts)
    if part.complete and not part.foreign:
        init = f", init_cfg=dict(_delete_=True, type='Pretrained', checkpoint={path!r})"
        told = f'{checkpoint}: {len(part.loaded)} tensors of the backbone are loaded'
        chosen = Choice('start', str(checkpoint), 'fills the backbone; the head is new')
        return dict(load_from=None, backbone=init), chosen, [told]
    raise CheckpointError(
        f'The checkpoint fits neither {base.model.type} nor its backbone.\n{report}',
        expected='weights of the same config with any number of classes, or of its backbone',
        fix='give the CONFIG that it was trained with (the same method and size)',
    )
