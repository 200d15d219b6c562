"""The limit of a machine: the rate of one large matrix product, in a backend and a precision."""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

SIDE = {'cpu': 1024, 'cuda': 8192}
"""Rows, columns and inner dimension of the product: large enough to be limited by arithmetic, not by memory."""

_SCALE = 5 / 127
"""Scale of both factors in 8 bits: normally distributed values reach beyond 5 next to never."""


def write_product(path: Path, side: int, quantised: bool = False) -> None:
    """Write an ONNX graph of one product of the input with constant weights, as layers have them.

    Args:
        path: The file to write.
        side: Rows, columns and inner dimension.
        quantised: Quantise both factors to 8 bits, as ``tools/deploy.py --precision int8`` does with layers.
    """
    weights = np.random.default_rng(0).standard_normal((side, side), np.float32)
    nodes, stored = [], [numpy_helper.from_array(weights, 'weights')]
    factors = ['image', 'weights']
    if quantised:
        stored = [
            numpy_helper.from_array(np.round(np.clip(weights / _SCALE, -127, 127)).astype(np.int8), 'weights'),
            numpy_helper.from_array(np.float32(_SCALE), 'scale'),
            numpy_helper.from_array(np.int8(0), 'zero'),
        ]
        nodes = [
            helper.make_node('QuantizeLinear', ['image', 'scale', 'zero'], ['quantised']),
            helper.make_node('DequantizeLinear', ['quantised', 'scale', 'zero'], ['left']),
            helper.make_node('DequantizeLinear', ['weights', 'scale', 'zero'], ['right']),
        ]
        factors = ['left', 'right']
    nodes.append(helper.make_node('MatMul', factors, ['product']))
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [side, side]) for name in ('image', 'product')]
    graph = helper.make_graph(nodes, 'product', tensors[:1], tensors[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    onnx.save(model, path)


class Product(torch.nn.Module):
    """The same product in PyTorch."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.randn(side, side) / side**0.5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """``(side, side)`` to ``(side, side)``."""
        return image @ self.weights
