"""The PyTorch side of a comparison: the network with its own pre- and postprocessing."""

import copy

import numpy as np
import torch
import torch.nn as nn
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import BaseDataElement

from ...checkpoint import load_checkpoint
from ...config import pipeline_of
from ...runtime.predictor import Result
from ..export.describe import unscoped
from .results import result_of


def build_pytorch_model(config: Config, checkpoint: str, allow_mismatch: bool = False) -> nn.Module:
    """Build the network of a model config with the weights of a checkpoint, in evaluation mode.

    Raises:
        CheckpointError: If the checkpoint cannot be read, does not fill the network, or has weights that are infinite
            or NaN.
    """
    init_default_scope(config.default_scope)
    model = MODELS.build(copy.deepcopy(config.model))
    load_checkpoint(model, checkpoint, allow_mismatch=allow_mismatch)
    return model.eval()


class Reference:
    """A PyTorch network as a function of an image: the counterpart of :class:`~mmtrtvit.runtime.Predictor`.

    Args:
        model: The network.
        config: The config of the network. The test pipeline is built once.
    """

    def __init__(self, model: nn.Module, config: Config) -> None:
        init_default_scope(config.default_scope)
        steps = [dict(step) for step in pipeline_of(config) if 'LoadAnnotations' not in unscoped(step.type)]
        # mmpretrain lacks this transform: `prepare` sets the keys that it would set
        load = [] if config.default_scope == 'mmpretrain' else [f'{config.default_scope}.LoadImageFromNDArray']
        steps[:1] = [dict(type=name) for name in load]
        self.model = model
        self._pipeline = Compose(steps)

    def prepare(self, image: np.ndarray) -> dict:
        """Run the test pipeline on an image.

        Args:
            image: ``(H, W, 3)`` uint8, BGR.

        Returns:
            ``inputs`` and ``data_samples``.
        """
        size = image.shape[:2]
        return self._pipeline(dict(img=image, img_id=0, img_shape=size, ori_shape=size))

    def input(self, image: np.ndarray) -> np.ndarray:
        """The input of the network for an image: ``(1, 3, H, W)`` float32, normalised and padded."""
        batch = pseudo_collate([self.prepare(image)])
        return self.model.data_preprocessor(batch, False)['inputs'].cpu().numpy()

    @torch.no_grad()
    def test(self, item: dict) -> BaseDataElement:
        """The data sample of one image after the network's ``test_step``.

        Args:
            item: Result of :meth:`prepare` or item of a data set; not changed.
        """
        return self.model.test_step(pseudo_collate([copy.deepcopy(item)]))[0]

    def __call__(self, image: np.ndarray) -> Result:
        """The result of the network for an image, in pixels of the image."""
        return result_of(self.test(self.prepare(image)))
