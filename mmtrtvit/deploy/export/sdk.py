"""Metadata for mmdeploy's SDK, through which C, C++, C#, Java and Rust programs run a network.

The SDK reads ``deploy.json`` (which file to run, by which backend) and ``pipeline.json`` (pre- and postprocessing) from
the folder. ``detail.json`` is for people. Its transforms can do less than the runtime of this package: see
:func:`why_sdk_cannot_follow`.
"""

import copy
import json
import os
from collections.abc import Mapping
from pathlib import Path

from mmdeploy.backend.sdk.export_info import export2SDK
from mmengine.config import Config, ConfigDict

from ...runtime.backends.tensorrt import TENSORRT
from .deploy_configs import for_export
from .input_shapes import InputShapes

_PACKING = {
    'detection': 'PackDetInputs',
    'instance': 'PackDetInputs',
    'segmentation': 'PackSegInputs',
    'classification': 'PackInputs',
}
"""Task to the last transform of its test pipelines."""

BY_ENGINE = (TENSORRT.name,)
"""Backends whose engine the SDK loads itself. It runs the ONNX file of the others in ONNX Runtime."""


def why_sdk_cannot_follow(description: Mapping, shapes: InputShapes | None) -> str:
    """The reason why the SDK cannot prepare images for a network or read its results; empty if it can.

    Args:
        description: See :func:`~mmtrtvit.deploy.export.describe.describe_model`.
        shapes: Input sizes; ``None`` for any size.
    """
    preprocessing = description['preprocessing']
    resize, pad = preprocessing['resize'], preprocessing['pad']
    if 'window' in description:
        return 'it slides no window'
    if shapes is not None and shapes.smallest[0] > 1:
        return 'it gives the network one image at a time'
    if description['task'] == 'classification':
        height, width = preprocessing.get('crop') or (0, 0)
        return '' if height == width and pad['divisor'] == 1 else "it cuts a classifier's images to squares, unpadded"
    if description['task'] == 'segmentation':
        if pad['divisor'] > 1 or pad['shape']:
            return 'it stretches the padding of a label map over the image'
        if resize is None:
            return 'it expects a segmentor that resizes'
    if pad['value']:
        return 'it pads with 0'
    if pad['shape'] and (resize is None or pad['shape'] != [resize['height'], resize['width']]):
        return 'it pads no image that was not resized to fit'
    if resize and resize['rule'] == 'fit' and resize['height'] != resize['width']:
        return 'it cannot fit an upright image into a frame across'
    return ''


def _config_for_sdk(config: Config, description: Mapping) -> Config:
    """The model config with the preprocessing of the description, in the settings that mmdeploy reads."""
    config = copy.deepcopy(config)
    preprocessing = description['preprocessing']
    resize, pad = preprocessing['resize'], preprocessing['pad']
    transforms = [dict(type='LoadImageFromFile')]
    if resize and resize['rule'] == 'short':
        transforms.append(dict(type='ResizeEdge', scale=resize['width']))
    elif resize:
        scale = resize['width'], resize['height']
        transforms.append(dict(type='Resize', scale=scale, keep_ratio=resize['rule'] != 'stretch'))
    if 'crop' in preprocessing:
        transforms.append(dict(type='CenterCrop', crop_size=preprocessing['crop'][0]))
    transforms.append(dict(type=_PACKING[description['task']]))
    config.test_pipeline = list(map(ConfigDict, transforms))
    rgb = preprocessing['channels'] == 'rgb'
    config.model.setdefault('data_preprocessor', ConfigDict()).update(
        mean=preprocessing['mean'],
        std=preprocessing['std'],
        **(dict(to_rgb=rgb) if description['task'] == 'classification' else dict(bgr_to_rgb=rgb)),
        # an image that fits a square fills it along one side, so padding to multiples of the side pads to the square
        pad_size_divisor=pad['shape'][0] if pad['shape'] else pad['divisor'],
    )
    config.data_preprocessor = config.model.data_preprocessor  # mmdeploy reads it there, too
    return config


def export_sdk_metadata(
    config: Config,
    deploy_config: Config,
    description: Mapping,
    engine: str,
    precision: str,
    checkpoint: str | os.PathLike,
    folder: Path,
) -> None:
    """Write ``deploy.json``, ``detail.json`` and ``pipeline.json``.

    Args:
        config: The model config; not changed.
        deploy_config: mmdeploy's deploy config.
        description: See :func:`~mmtrtvit.deploy.export.describe.describe_model`.
        engine: Name of the file that the backend runs.
        precision: Its precision.
        checkpoint: The checkpoint.
        folder: Where to write.
    """
    export2SDK(
        for_export(deploy_config),
        _config_for_sdk(config, description),
        str(folder),
        pth=Path(checkpoint).name,
        device='cpu',
    )
    path = folder / 'deploy.json'
    deploy = json.loads(path.read_text())
    (model,) = deploy['models']
    model['precision'] = precision.upper()
    if deploy_config.backend_config.type in BY_ENGINE:
        model.update(backend=deploy_config.backend_config.type, net=engine)
    path.write_text(json.dumps(deploy, indent=4))
