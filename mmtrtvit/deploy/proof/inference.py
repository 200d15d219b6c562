"""Running a network, in PyTorch or exported, on single images the way its test pipeline does."""

import copy
import os
from collections.abc import Sequence
from pathlib import Path

import mmcv
import numpy as np
import torch
import torch.nn as nn
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.structures import BaseDataElement, InstanceData

from ...checkpoint import load_checkpoint
from ...errors import DataError
from ..export.describe import unscoped


def build_pytorch_model(config: Config, checkpoint: str, allow_mismatch: bool = False) -> nn.Module:
    """The network of a model config with the weights of a checkpoint, in evaluation mode.

    Raises:
        CheckpointError: If the checkpoint cannot be read or does not fill the network.
    """
    init_default_scope(config.default_scope)
    model = MODELS.build(copy.deepcopy(config.model))
    load_checkpoint(model, checkpoint, allow_mismatch=allow_mismatch)
    return model.eval()


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read an image.

    Returns:
        ``(H, W, 3)`` uint8, BGR.

    Raises:
        DataError: If there is none or it cannot be read.
    """
    if not Path(path).is_file():
        raise DataError(f'There is no image {path}.', fix='correct --image')
    image = mmcv.imread(str(path))
    if image is None:
        raise DataError(
            f'The image {path} cannot be read.',
            expected='a complete JPEG, PNG or another format that OpenCV reads',
            fix='give another image by --image',
        )
    return image


PHOTOGRAPHS = 'photographs of scikit-image'


def sample_images(config: Config, count: int) -> list[np.ndarray]:
    """Images of the test split, the first ones, or photographs of scikit-image where there is no data.

    Args:
        config: The model config.
        count: How many at most.

    Returns:
        ``(H, W, 3)`` uint8 images, BGR.
    """
    return images_of(config, count, ('test',))[0]


def images_of(config: Config, count: int, splits: Sequence[str]) -> tuple[list[np.ndarray], str]:
    """Images of the first of some splits that has any, or photographs of scikit-image.

    Args:
        config: The model config.
        count: How many at most.
        splits: Of ``'train'``, ``'val'`` and ``'test'``.

    Returns:
        ``(H, W, 3)`` uint8 images, BGR; and where they are from: ``'the train split'`` or :data:`PHOTOGRAPHS`.
    """
    for split in splits:
        paths = _images_in(_folder_of(config, split))[:count]
        if paths:
            return [read_image(path) for path in paths], f'the {split} split'
    from skimage import data

    photographs = (data.astronaut(), data.coffee(), data.chelsea())
    return [np.ascontiguousarray(photograph[..., ::-1]) for photograph in photographs[:count]], PHOTOGRAPHS


def _folder_of(config: Config, split: str) -> Path:
    """Where the images of a split are."""
    dataset = config[f'{split}_dataloader'].dataset
    while 'dataset' in dataset:  # wrapped, to repeat it for instance
        dataset = dataset.dataset
    prefix = dataset.get('data_prefix') or {}
    return Path(dataset.get('data_root') or '') / prefix.get('img', prefix.get('img_path', ''))  # mmdet, mmseg


def _images_in(folder: Path) -> list[Path]:
    """Image files in a folder, or where it has none, in those inside of it, as Cityscapes has one for each city."""
    for pattern in ('*', '*/*'):
        paths = sorted(path for path in folder.glob(pattern) if path.suffix.lower() in ('.jpg', '.jpeg', '.png'))
        if paths:
            return paths
    return []


def _prepare(image: np.ndarray, config: Config) -> dict:
    """An image as a data loader gives it."""
    init_default_scope(config.default_scope)
    pipeline = [dict(step) for step in config.test_pipeline if 'LoadAnnotations' not in unscoped(step.type)]
    pipeline[0] = dict(type=f'{config.default_scope}.LoadImageFromNDArray')
    return pseudo_collate([Compose(pipeline)(dict(img=image, img_id=0))])


def run_on_image(model: nn.Module, image: np.ndarray, config: Config) -> InstanceData | BaseDataElement:
    """Run the test pipeline and a network on one image.

    Args:
        model: A PyTorch network or a backend model.
        image: ``(H, W, 3)`` uint8, BGR.
        config: The model config with the test pipeline.

    Returns:
        ``pred_instances`` of a detector, in the image's own pixels; of a segmentor the data sample, with
        ``pred_sem_seg`` and ``seg_logits`` of the image's own size.
    """
    with torch.no_grad():
        sample = model.test_step(_prepare(image, config))[0]
    return sample.pred_instances if 'pred_instances' in sample else sample


def input_of(model: nn.Module, image: np.ndarray, config: Config) -> np.ndarray:
    """What a network is given for one image.

    Args:
        model: A network with a data preprocessor.
        image: ``(H, W, 3)`` uint8, BGR.
        config: The model config with the test pipeline.

    Returns:
        ``(1, 3, H, W)`` float32, normalised and padded.
    """
    return model.data_preprocessor(_prepare(image, config), False)['inputs'].cpu().numpy()


def dataset_metainfo(config: Config) -> dict:
    """``classes`` and ``palette`` of a model config's test data set."""
    dataset = config.test_dataloader.dataset
    kind = dataset.type
    if isinstance(kind, str):
        kind = DATASETS.get(kind if '.' in kind else f'{config.default_scope}.{kind}')
    metainfo = dict(kind.METAINFO)
    metainfo.update(dataset.get('metainfo') or {})
    return {key: metainfo[key] for key in ('classes', 'palette') if key in metainfo}
