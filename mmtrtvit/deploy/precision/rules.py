"""The rules for operators that stay in float32 in a conversion, and the exclusions of the user."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import ml_dtypes
import numpy as np
from onnx import TensorProto

from ...errors import ConfigError

_SUMS = 'a sum over many values, whose rounding errors add up and which may leave the range'
_RANGE = 'grows faster than the range of half precision'
_ORDER = 'the order of nearly equal values decides which boxes are kept'

KEPT_OPERATORS: dict[str, str] = {
    'InstanceNormalization': 'mean and variance are sums of squares: above 255 a square leaves the range',
    'GroupNormalization': 'mean and variance are sums of squares: above 255 a square leaves the range',
    'LpNormalization': 'sums of squares: above 255 a square leaves the range',
    'Softmax': 'a sum of exponentials over all tokens',
    'LogSoftmax': 'a sum of exponentials over all tokens',
    'Exp': _RANGE,
    'Log': 'loses the digits of values near 1',
    'Pow': _RANGE,
    'ReduceMean': _SUMS,
    'ReduceSum': _SUMS,
    'ReduceSumSquare': _SUMS,
    'ReduceL1': _SUMS,
    'ReduceL2': _SUMS,
    'ReduceLogSumExp': _SUMS,
    'ReduceProd': _RANGE,
    'GlobalAveragePool': _SUMS,
    'CumSum': _SUMS,
    'Range': 'index arithmetic: half precision counts no further than 2048',
    'GridSample': 'coordinates: half precision tells 2048 places apart; TensorRT wants map and grid of one type',
    'RoiAlign': 'coordinates: half precision rounds boxes to whole pixels above 1024; map and boxes have one type',
    'NonMaxSuppression': 'coordinates of boxes',
    'TopK': _ORDER,
    'ArgMax': _ORDER,
    'ArgMin': _ORDER,
}
"""Operator to the reason why it stays in float32. ``LayerNormalization`` is not among them: ``stash_type`` lets it
compute mean and variance in float32, whatever its types."""

DECISIONS = frozenset(
    {
        'ArgMax', 'ArgMin', 'Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual', 'NonMaxSuppression', 'TopK',
    }
)  # fmt: skip
"""Operators that choose by the order of values. The layers that these values come from stay in float32."""

COORDINATES: dict[str, tuple[int, ...]] = {
    'GridSample': (1,),
    'RoiAlign': (1,),
    'NonMaxSuppression': (0, 1),
    'Resize': (1, 2),
}
"""Operator to its inputs that hold coordinates or scores. Nodes that compute them do not count as data for layers."""

FLOAT32_INPUTS: dict[str, tuple[int, ...]] = {'Resize': (2,)}
"""Operator to the inputs that ONNX requires in float32, whatever the type of the data."""

ANY_TYPE: frozenset[str] = frozenset({'Shape', 'Size', 'Cast'})
"""Operators that accept any type, so that a cast in front of them is not needed."""

MOVEMENT: frozenset[str] = frozenset(
    {
        'Concat', 'DepthToSpace', 'Expand', 'Flatten', 'Gather', 'GatherElements', 'GatherND', 'Identity', 'Reshape',
        'ScatterElements', 'ScatterND', 'Slice', 'SpaceToDepth', 'Split', 'Squeeze', 'Tile', 'Transpose', 'Unsqueeze',
    }
)  # fmt: skip
"""Operators that only move values. They are exact in every type, so they follow their input."""


class HalfFormat(NamedTuple):
    """A 16-bit floating-point format.

    Attributes:
        name: Its name in options.
        onnx_type: The element type in ONNX.
        dtype: The NumPy type.
        largest: The largest finite value.
        normal: The smallest value with full precision.
        smallest: The smallest value above 0.
        opset: The first opset whose convolutions support it.
        operators: More operators that stay in float32, besides :data:`KEPT_OPERATORS`, with the reasons.
    """

    name: str
    onnx_type: int
    dtype: np.dtype
    largest: float
    normal: float
    smallest: float
    opset: int
    operators: Mapping[str, str]


def _format(name: str, onnx_type: int, dtype, opset: int, operators: Mapping[str, str]) -> HalfFormat:
    info = ml_dtypes.finfo(dtype)
    limits = (float(value) for value in (info.max, info.smallest_normal, info.smallest_subnormal))
    return HalfFormat(name, onnx_type, np.dtype(dtype), *limits, opset, operators)


FP16 = _format('fp16', TensorProto.FLOAT16, np.float16, 11, {})
BF16 = _format(
    'bf16',
    TensorProto.BFLOAT16,
    ml_dtypes.bfloat16,
    22,
    {'ConvTranspose': 'TensorRT for RTX 1.7 cannot build it in bf16'},
)

FORMATS = {form.name: form for form in (FP16, BF16)}
"""Name of the precision to its half-precision format."""


def is_excluded(node: str, nodes_to_exclude: Sequence[str]) -> bool:
    """True if a node, or a module that contains it (``/backbone/stages.3.0``), is named."""
    return any(node == name or node.startswith(f'{name.rstrip("/")}/') for name in nodes_to_exclude)


def check_excluded(nodes_to_exclude: Sequence[str], nodes: Iterable[str]) -> None:
    """Check that every node or module to exclude is in the graph.

    Raises:
        ConfigError: Naming those that are missing.
    """
    nodes = list(nodes)
    unknown = [name for name in nodes_to_exclude if not any(is_excluded(node, [name]) for node in nodes)]
    if unknown:
        raise ConfigError(
            f'The graph has no node or module {", ".join(unknown)}.',
            expected=f'names of nodes or modules, such as {", ".join(nodes[:3])}',
            fix='correct --nodes-to-exclude; Netron shows the names of a graph',
        )
