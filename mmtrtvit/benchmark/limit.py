"""The limit of a machine: the rate of one large matrix product, in a backend and a precision."""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from ..runtime.backends import BACKENDS
from .candidates import PYTORCH, Candidate, Loaded, Workshop, engine_call
from .candidates.pytorch import pytorch_run
from .candidates.sessions import converted, opened

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


def limit_candidate(backend: str, precision: str, device: str) -> Candidate:
    """One large matrix product in a backend and a precision, the limit of the other candidates there."""
    side = SIDE['cuda' if device == 'cuda' else 'cpu']
    # TensorRT has no limit of its own: a product of PyTorch in the same precision is the GPU's
    runs_in = PYTORCH if backend == PYTORCH or BACKENDS[backend].needs_shapes else backend
    facts = dict(
        name=f'MatMul {side}',
        scope='gemm',
        backend=runs_in,
        mode='eager' if runs_in == PYTORCH else 'plain',
        precision=precision,
        device=device,
        macs=side**3,
    )
    if runs_in == PYTORCH:
        return Candidate(
            facts, lambda workshop: Loaded(pytorch_run(Product(side), (side, side), 'eager', precision, device))
        )
    about = BACKENDS[backend]

    def load_it(workshop: Workshop) -> Loaded:
        image = {'image': np.random.default_rng(0).standard_normal((side, side), np.float32)}
        quantised = precision == 'int8'
        exported = workshop.file(('gemm', quantised), 'gemm.onnx', lambda path: write_product(path, side, quantised))
        applied = 'fp32' if quantised else precision  # the graph is quantised already
        path = converted(workshop, ('gemm', quantised), exported, about, applied, image)
        return engine_call(opened(workshop, path, about, precision), image)

    return Candidate(facts, load_it)
