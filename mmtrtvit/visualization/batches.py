"""The images and the truth that a data pipeline feeds a network."""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner, set_random_seed
from mmengine.structures import BaseDataElement, LabelData, PixelData
from tqdm import tqdm

from ..config import load_config
from ..datasets.preflight import check_data
from ..errors import ConfigError, library_errors_explained
from .sheet import Panel, draw_sheet

SPLITS = ('train', 'val', 'test')
TRUTH = ('gt_instances', 'gt_sem_seg')
PER_ROW, PER_SHEET = 4, 16
"""Images in a row, and on a sheet at most."""


def truth_follows_image(pipeline: Sequence[Mapping]) -> list[Mapping]:
    """A pipeline whose annotations are loaded right after the image.

    Test pipelines load them after ``Resize``, so that they keep the size of the original image.
    """
    loading = [step for step in pipeline if step['type'].endswith('LoadAnnotations')]
    others = [step for step in pipeline if not step['type'].endswith('LoadAnnotations')]
    return [*others[:1], *loading, *others[1:]]


def denormalized(inputs: torch.Tensor, preprocessor: nn.Module) -> np.ndarray:
    """Undo the normalisation of a data preprocessor.

    Args:
        inputs: One image as the network gets it, ``(3, H, W)``.
        preprocessor: Its ``mean`` and ``std`` are used.

    Returns:
        ``(H, W, 3)`` uint8, in the network's order of channels.
    """
    if preprocessor._enable_normalize:
        inputs = inputs * preprocessor.std + preprocessor.mean
    return inputs.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _truth(sample: BaseDataElement, shape: tuple[int, int], ignored: int) -> BaseDataElement | None:
    """The annotations, padded to the size of the image in the batch: mmseg pads label maps in training only.

    An image that mmpretrain mixes with another has no class of its own.
    """
    if 'gt_label' in sample:
        return None if 'gt_score' in sample else LabelData(label=sample.get('gt_label'))
    truth = next((sample.get(name) for name in TRUTH if name in sample), None)
    if isinstance(truth, PixelData):
        below, beside = (whole - side for whole, side in zip(shape, truth.shape, strict=True))
        return PixelData(data=torch.nn.functional.pad(truth.data, (0, beside, 0, below), value=ignored))
    return truth


def _title(sample: BaseDataElement, inputs: torch.Tensor) -> str:
    """Name of the image, and its height and width on the way: in the file, after the transforms, in the batch."""
    sizes = [sample.ori_shape, sample.img_shape, tuple(inputs.shape[1:])]
    flip = ', flipped' if sample.get('flip') else ''
    return f'{Path(sample.img_path).name}\n' + ' > '.join(f'{h}x{w}' for h, w, *_ in sizes) + flip


def _panels(config: Config, split: str, seed: int) -> Iterator[tuple[Panel, Mapping]]:
    """Every image of a split as the network gets it, batch by batch, with the ``metainfo`` of the data set."""
    loader_cfg = config[f'{split}_dataloader']
    if split != 'train':
        loader_cfg.dataset.pipeline = truth_follows_image(loader_cfg.dataset.pipeline)
    # no workers: then a pipeline's random numbers depend on the seed alone
    loader = Runner.build_dataloader(dict(loader_cfg, num_workers=0, persistent_workers=False), seed=seed)
    preprocessor = MODELS.build(config.model.data_preprocessor)
    rgb = any(config.model.data_preprocessor.get(key) for key in ('bgr_to_rgb', 'to_rgb'))  # the second of mmpretrain
    for batch in loader:
        data = preprocessor(batch, training=split == 'train')
        for inputs, sample in zip(data['inputs'], data['data_samples'], strict=True):
            image = denormalized(inputs, preprocessor)
            truth = _truth(sample, tuple(inputs.shape[1:]), config.model.data_preprocessor.get('seg_pad_val', 255))
            yield Panel(_title(sample, inputs), image if rgb else image[..., ::-1], truth), loader.dataset.metainfo


def browse(
    config: str | os.PathLike,
    out: str | os.PathLike,
    *,
    split: str = 'train',
    number: int = PER_SHEET,
    seed: int = 0,
    variants: Sequence[str] = (),
    cfg_options: Mapping | None = None,
) -> list[Path]:
    """Draw the images that a config's data pipeline feeds the network: augmented, padded, with their truth.

    Images come from the split's own data loader, so batches are as in training; normalisation is undone.

    Args:
        config: The config file of a detector, a segmentor or a classifier.
        out: Folder for the contact sheets, ``train_01.png`` and so on.
        split: ``train``, ``val`` or ``test``.
        number: Number of images.
        seed: Seed of the order of the images and of the augmentation.
        variants, cfg_options: Changes to the config, as in :func:`~mmtrtvit.apis.evaluate`.

    Returns:
        The files written.

    Raises:
        ConfigError, DataError: For input that cannot be used.
    """
    if number < 1:
        raise ConfigError(f'--number {number}: nothing would be drawn.', fix='give 1 or more')
    cfg = load_config(config, cfg_options, variants)
    if split not in SPLITS or not cfg.get(f'{split}_dataloader'):
        raise ConfigError(
            f'The config {config} has no {split}_dataloader.',
            expected=f'one of {", ".join(SPLITS)}',
            fix='choose another split',
        )
    check_data(cfg, [split])
    init_default_scope(cfg.default_scope)
    set_random_seed(seed)
    written = []
    with library_errors_explained(stage=lambda: 'Loading'):
        panels = itertools.islice(_panels(cfg, split, seed), number)
        panels = iter(tqdm(panels, total=number, desc=f'Loading {split} images', unit='image', disable=None))
        while sheet := list(itertools.islice(panels, PER_SHEET)):
            path = Path(out) / f'{split}_{len(written) + 1:02d}.png'
            rows = [[panel for panel, _ in sheet[start : start + PER_ROW]] for start in range(0, len(sheet), PER_ROW)]
            title = 'as the network gets them (height x width: file > after the transforms > padded, in the batch)'
            draw_sheet(rows, sheet[0][1], path, title=f'{Path(config).stem}, {split} images {title}')
            written.append(path)
    return written
