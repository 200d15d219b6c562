"""Export of a PyTorch network to an ONNX file of standard operators. Only this module calls mmdeploy's export."""

import copy
import tempfile
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
import torch.nn as nn
from mmdeploy.apis import torch2onnx
from mmengine.config import Config, ConfigDict

from ...config import pipeline_of
from .deploy_configs import for_export
from .describe import describe_window
from .fixed_size import is_resize, set_pipeline
from .input_shapes import InputShapes
from .onnx_graph import fix_input_shape, require_standard_operators, simplify

EXPORT_SIDE = 320
"""Longer side, pixels, of the image to trace. The graph works for all sizes, and a small image is traced faster."""


def export_onnx(
    config: Config,
    deploy_config: Config,
    network: nn.Module,
    image: np.ndarray,
    path: Path,
    shapes: InputShapes | None = None,
) -> tuple[int, int]:
    """Export a network to ONNX through mmdeploy, fold constants, and check the operators.

    Args:
        config: The model config; not changed.
        deploy_config: mmdeploy's deploy config.
        network: The network with the weights. It is not changed, as mmdeploy builds and rewrites its own copy.
        image: ``(H, W, 3)`` uint8, BGR: the image to trace.
        path: The file to write.
        shapes: Input sizes; ``None`` for any size.

    Returns:
        The number of nodes before and after folding.

    Raises:
        DeployError: If the graph needs operators outside of the ONNX standard.
    """
    scale = EXPORT_SIDE / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale) if scale < 1 else image
    config = copy.deepcopy(config)  # mmdeploy changes the test pipeline for an image in memory
    resize = ConfigDict(type='Resize', scale=(EXPORT_SIDE, EXPORT_SIDE), keep_ratio=True)
    set_pipeline(config, [resize if is_resize(transform) else transform for transform in pipeline_of(config)])
    if describe_window(config.model):
        config.model.test_cfg.mode = 'whole'  # the runtime slides the window
    with tempfile.TemporaryDirectory() as folder:
        # Weights that were not filled from the checkpoint are random. Handing them on makes both networks the same.
        weights = str(Path(folder) / 'weights.pth')
        torch.save(dict(state_dict=network.state_dict()), weights)
        torch2onnx(small, str(path.parent), path.name, for_export(deploy_config), config, weights, device='cpu')
    require_standard_operators(onnx.load(path))  # first, for a clear error
    if shapes is not None:
        fix_input_shape(path, shapes)
    return simplify(path)


def tensors_of(values) -> dict[str, dict]:
    """Name of each input or output of a graph to its element type and shape, with free sides by name."""
    return {
        value.name: dict(
            dtype=onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower(),
            shape=[side.dim_param or side.dim_value or -1 for side in value.type.tensor_type.shape.dim],
        )
        for value in values
    }
