"""A checkpoint of PyTorch as :func:`mmtrtvit.prediction.predict` uses it."""

import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from ..config import load_config
from ..deploy.export.describe import task_of
from ..deploy.proof.images import dataset_metainfo
from ..deploy.proof.reference import Reference, build_pytorch_model
from ..errors import ConfigError
from ..runtime.postprocess import LabelMap
from ..runtime.predictor import OVERLAP, Result
from ..runtime.tiles import check_tiling, merge, tiles_of


class PytorchPredictor:
    """A network in PyTorch that is called like :class:`mmtrtvit.runtime.Predictor`.

    It resizes by the test pipeline of its config, and takes one image at a time.

    Args:
        reference: The network with its test pipeline.
        manifest: ``method``, ``task``, ``backend``, ``precision``, ``classes`` and ``palette``.
    """

    def __init__(self, reference: Reference, manifest: dict) -> None:
        self.manifest = manifest
        self._reference = reference
        self._names = tuple(manifest['classes'])
        self._palette = np.array(manifest['palette'], np.uint8).reshape(-1, 3)

    def __call__(self, image: np.ndarray) -> Result:
        """The result for an image, ``(H, W, 3)`` uint8, BGR."""
        found = self._reference(image)
        if isinstance(found, LabelMap):
            return dataclasses.replace(found, classes=self._names, palette=self._palette)
        return dataclasses.replace(found, classes=self._names)

    def stream(
        self, images: Iterable[np.ndarray], *, batch_size: int = 1, tile: Sequence[int] | int | None = None
    ) -> Iterator[Result]:
        """Results for images, in order.

        Args:
            images: The images.
            batch_size: Only 1.
            tile: As in :meth:`mmtrtvit.runtime.Predictor.stream`.

        Raises:
            ConfigError: For a batch size above 1: mmdet pads the images of a batch to one size, which changes results.
                And for tiles that cannot be used.
        """
        if batch_size > 1:
            raise ConfigError(
                f'A network in PyTorch does not take {batch_size} images at a time here.',
                expected='--batch 1',
                fix='leave --batch out, or give a folder of tools/deploy.py in place of config and checkpoint',
            )
        sides = check_tiling(tile, OVERLAP, self.manifest['task'])
        return map(self if sides is None else functools.partial(self._tiled, sides), images)

    def _tiled(self, sides: tuple[int, int], image: np.ndarray) -> Result:
        size = image.shape[0], image.shape[1]
        tiles = tiles_of(size, sides, OVERLAP)
        return merge((self(place.of(image)) for place in tiles), tiles, size)


def load_pytorch(
    config: str | os.PathLike,
    checkpoint: str | None,
    *,
    device: str | None = None,
    threads: int | None = None,
    streams: int | None = None,
) -> PytorchPredictor:
    """Load a checkpoint.

    Args:
        config: The config file of a detector, a segmentor or a classifier.
        checkpoint: Its checkpoint; it must fill the whole network.
        device: A device of PyTorch; by default a GPU if there is one.
        threads: CPU threads of PyTorch.
        streams: Only 1, the default.

    Raises:
        ConfigError, CheckpointError: If they cannot be used.
    """
    if not checkpoint:
        raise ConfigError(
            f'The config {config} has no weights.',
            expected='a config with a checkpoint, or a folder of tools/deploy.py',
            fix='give the checkpoint with --checkpoint',
        )
    if streams not in (None, 1):
        raise ConfigError(
            f'A network in PyTorch does not work on {streams} images at the same time here.',
            expected='--streams 1',
            fix='leave --streams out, or give a folder of tools/deploy.py in place of config and checkpoint',
        )
    if threads is not None and threads < 1:
        raise ConfigError(f'--threads {threads} is too small.', expected='a number from 1 on', fix='correct --threads')
    cfg = load_config(config)
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f'PyTorch cannot use the device {device}: {str(error).splitlines()[0]}',
            expected='cpu, or cuda with a GPU and PyTorch for CUDA',
            fix='correct --device',
        ) from error
    if threads is not None:
        torch.set_num_threads(threads)
    metainfo = dataset_metainfo(cfg)
    palette = metainfo.get('palette') or ()  # mmdet also allows the name of a palette
    manifest = dict(
        method=cfg.model.type,
        task=task_of(cfg.model),
        backend='pytorch',
        precision='fp32',
        classes=list(metainfo.get('classes') or ()),
        palette=[] if isinstance(palette, str) else [list(map(int, colour)) for colour in palette],
    )
    return PytorchPredictor(Reference(build_pytorch_model(cfg, checkpoint).to(device), cfg), manifest)
