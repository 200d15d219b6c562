"""Adaptive average pooling as a product with two averaging matrices."""

import torch
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import IR
from torch.nn.modules.utils import _pair


def averaging_matrix(inputs: int | torch.Tensor, outputs: int, like: torch.Tensor) -> torch.Tensor:
    """The matrix whose row ``i`` averages the inputs that adaptive pooling assigns to output ``i``.

    PyTorch averages the inputs from ``floor(i * inputs / outputs)`` to ``ceil((i + 1) * inputs / outputs)``.

    Args:
        inputs: Length of the input; a traced value makes the matrix part of the graph.
        outputs: Length of the output.
        like: A tensor with the type and device of the result.

    Returns:
        ``(outputs, inputs)``, rows summing to 1.
    """
    index = torch.arange(outputs, device=like.device)
    start = torch.div(index * inputs, outputs, rounding_mode='floor')
    end = torch.div((index + 1) * inputs + outputs - 1, outputs, rounding_mode='floor')
    position = torch.arange(inputs, device=like.device)
    inside = (position >= start[:, None]) & (position < end[:, None])
    return inside.to(like.dtype) / (end - start)[:, None].to(like.dtype)


@FUNCTION_REWRITER.register_rewriter('torch.nn.functional.adaptive_avg_pool2d', ir=IR.ONNX)
def adaptive_avg_pool2d(input, output_size):
    """Adaptive pooling that equals PyTorch's for every size, in place of mmdeploy's fixed average pool.

    mmdeploy pools with ``kernel = stride = int(input / output)``, which gives another size and other values
    if the division has a remainder: scale 6 of UperNet's pyramid on a 16 x 16 map becomes 8 x 8.

    Shape:
        ``(B, C, H, W) -> (B, C, *output_size)``; ``None`` in ``output_size`` keeps that side.
    """
    rows, columns = _pair(output_size)
    if rows == columns == 1:
        return input.mean(dim=(-2, -1), keepdim=True)
    height, width = input.shape[-2], input.shape[-1]
    if rows is not None:
        input = averaging_matrix(height, rows, input) @ input
    if columns is not None:
        input = input @ averaging_matrix(width, columns, input).transpose(0, 1)
    return input
