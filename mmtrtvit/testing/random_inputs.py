"""Random images with random truth, in the form of the data pipelines."""

from collections.abc import Callable

import numpy as np
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData

from ..zoo.methods import METHODS, classes_of, method_of

OBJECTS = 8
"""Objects in an image; COCO has 7.3 on average."""


def _detection(generator: np.random.Generator, height: int, width: int, classes: int):
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    low = generator.uniform(0.0, 0.6, (OBJECTS, 2))
    high = low + generator.uniform(0.15, 0.4, (OBJECTS, 2))
    boxes = np.concatenate([low, high], axis=1) * [width, height, width, height]
    masks = np.zeros((OBJECTS, height, width), np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.round().astype(int), strict=True):
        mask[top:bottom, left:right] = 1
    truth = InstanceData(
        bboxes=torch.from_numpy(boxes).float(),
        labels=torch.from_numpy(generator.integers(0, classes, OBJECTS)),
        masks=BitmapMasks(masks, height, width),
    )
    return DetDataSample(gt_instances=truth, ignored_instances=truth[:0])


def _segmentation(generator: np.random.Generator, height: int, width: int, classes: int):
    from mmseg.structures import SegDataSample

    labels = torch.from_numpy(generator.integers(0, classes, (1, height, width)))
    return SegDataSample(gt_sem_seg=PixelData(data=labels))


_SAMPLES: dict[str, Callable] = {'COCO': _detection, 'ADE20K': _segmentation}
"""Data set of a method to the function that makes the truth of one image."""


def random_batch(config: Config, batch: int, height: int, width: int, seed: int = 0) -> dict[str, list]:
    """Random images and truth, for ``train_step`` and ``test_step`` of a network.

    Args:
        config: The config of the network: it says which truth, and how many classes.
        batch: Number of images.
        height, width: Their size, pixels.
        seed: The same seed gives the same batch.

    Returns:
        ``inputs``: uint8 tensors ``(3, height, width)``; ``data_samples``: as mmdet's or mmseg's pipelines return them.
    """
    generator = np.random.default_rng(seed)
    sample = _SAMPLES[METHODS[method_of(config)].dataset]
    size = (height, width)
    inputs, samples = [], []
    for number in range(batch):
        inputs.append(torch.from_numpy(generator.integers(0, 256, (3, *size), dtype=np.uint8)))
        data_sample = sample(generator, height, width, classes_of(config))
        data_sample.set_metainfo(
            dict(img_id=number, img_path='', ori_shape=size, img_shape=size, scale_factor=(1.0, 1.0), pad_shape=size)
        )
        samples.append(data_sample)
    return dict(inputs=inputs, data_samples=samples)
