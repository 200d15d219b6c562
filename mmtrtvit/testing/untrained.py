"""Networks without trained weights whose outputs differ: to prove an export where no weights are published."""

import copy
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from ..config import load_config, pipeline_of
from ..deploy.proof.images import sample_images
from ..deploy.proof.reference import Reference
from ..zoo.configs import Entry

SPREAD: dict[str, tuple[float, float]] = {
    'rpn_head.rpn_cls': (2.0, 0.0),
    'rpn_head.rpn_reg': (0.3, 0.0),
    'roi_head.bbox_head.fc_cls': (2.0, 0.0),
    'roi_head.bbox_head.fc_reg': (1.0, 0.0),
    'roi_head.mask_head.conv_logits': (2.0, 0.0),
    'bbox_head.retina_cls': (2.0, -4.0),
    'bbox_head.retina_reg': (0.3, 0.0),
    'decode_head.conv_seg': (3.0, 0.0),
}
"""Last layers of heads to the standard deviation and the mean that their outputs get.

With the usual initial weights all outputs are nearly alike, so an error of an export would go unnoticed or decide
everything.
"""

SIDE = 320
"""Height and width, pixels, of the images that the statistics are taken from."""


def spread_outputs(model: nn.Module, config: Config, images: Sequence[np.ndarray], seed: int = 0) -> None:
    """Give an untrained detector or segmentor outputs that differ, in place.

    Statistics of BatchNorm are taken from the images; the last layers become random, scaled so that their outputs have
    the spread of :data:`SPREAD`.

    Args:
        model: The network, with its initial weights.
        config: Its config.
        images: At least two ``(H, W, 3)`` uint8 images, BGR.
        seed: The same seed gives the same weights.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs = map(Reference(model, config).input, images)
    batch = torch.cat(
        [nn.functional.interpolate(torch.from_numpy(array), (SIDE, SIDE), mode='bilinear') for array in inputs]
    )
    # the heads of a cascade are numbered
    names = ((re.sub(r'_head\.\d+\.', '_head.', name), layer) for name, layer in model.named_modules())
    layers = {layer: SPREAD[name] for name, layer in names if name in SPREAD}
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.reset_running_stats()
            part.momentum = None
    outputs: dict[nn.Module, list[torch.Tensor]] = {layer: [] for layer in layers}
    with torch.no_grad():
        _run(model.train(), batch)
        model.eval()
        hooks = [
            layer.register_forward_hook(lambda layer, _, output: outputs[layer].append(output)) for layer in layers
        ]
        for layer in layers:
            layer.weight.normal_(0, 1, generator=generator)
            layer.bias.zero_()
        _run(model, batch)
        for hook in hooks:
            hook.remove()
        for layer, (deviation, mean) in layers.items():
            channels = torch.cat([output.transpose(0, 1).flatten(1) for output in outputs[layer]], dim=1)
            scale = deviation / channels.std()
            layer.weight.mul_(scale)
            layer.bias.copy_(mean - scale * channels.mean(dim=1))


def _run(model: nn.Module, batch: torch.Tensor) -> None:
    """Run every part of a network, RoI heads on a grid of boxes."""
    if not getattr(model, 'with_roi_head', False):
        model(batch)
        return
    side = batch.shape[-1] / 5
    corners = [(left * side, top * side) for left in range(4) for top in range(4)]
    rois = batch.new_tensor(
        [(image, left, top, left + 2 * side, top + 2 * side) for image in range(len(batch)) for left, top in corners]
    )
    features = model.extract_feat(batch)
    model.rpn_head(features)
    head = model.roi_head
    for stage in [(number,) for number in range(getattr(head, 'num_stages', 0))] or [()]:  # of a cascade
        head._bbox_forward(*stage, features, rois)
        if head.with_mask:
            head._mask_forward(*stage, features, rois)


def untrained_options(entry: Entry, size: int | None = None) -> dict:
    """Changes to a config, as ``--cfg-options``: without ImageNet weights, and perhaps with another image size.

    Args:
        entry: The config.
        size: Images are resized to fit into a square of this many pixels; by default as the config has it.
    """
    options: dict = {'model.backbone.init_cfg': None}
    if size:
        pipeline = pipeline_of(load_config(entry.path))
        place = next(i for i, step in enumerate(pipeline) if step['type'] == 'Resize')
        options[f'test_dataloader.dataset.pipeline.{place}.scale'] = (size, size)
    return options


def save_spread(entry: Entry, options: dict, path: Path) -> None:
    """Write a checkpoint of an untrained network whose outputs differ.

    Args:
        entry: Its config.
        options: Changes to the config, dotted key to value.
        path: The file to write.
    """
    config = load_config(entry.path, options)
    init_default_scope(config.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(config.model))
    model.init_weights()
    spread_outputs(model, config, sample_images(config, 3))
    torch.save({'state_dict': model.state_dict()}, path)
