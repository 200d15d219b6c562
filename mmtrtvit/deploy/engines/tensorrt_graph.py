"""Properties of an ONNX graph that matter to TensorRT: nodes it cannot build, inputs, and data types."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import onnx

from ...errors import DeployError
from ...runtime.backends.tensorrt.support import MOST_TOPK, PACKAGES
from ..export.onnx_graph import all_nodes

_TYPED = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.INT8, onnx.TensorProto.UINT8}


class OperatorLimit(NamedTuple):
    """An operator that the parser accepts but the engine does not support.

    Attributes:
        operator: Its ONNX name.
        packages: Python modules with this limit.
        reason: The limit, in words.
        largest_k: The limit applies only if the constant second input exceeds this; ``None`` for always.
    """

    operator: str
    packages: tuple[str, ...]
    reason: str
    largest_k: int | None = None


OPERATOR_LIMITS = (
    OperatorLimit('NonMaxSuppression', ('tensorrt_rtx',), 'TensorRT for RTX has no kernel for it'),
    OperatorLimit('NonZero', ('tensorrt_rtx',), 'TensorRT for RTX has no kernel for it'),
    OperatorLimit('RoiAlign', ('tensorrt_rtx',), 'TensorRT for RTX reads it on a machine with a GPU only'),
    OperatorLimit('TopK', tuple(PACKAGES), f'K is above {MOST_TOPK}, the limit of TensorRT', MOST_TOPK),
)


class BadNode(NamedTuple):
    """A node of the graph that TensorRT cannot build.

    Attributes:
        name: Name of the node. It begins with the layer of the network that it was traced from.
        operator: Its ONNX operator.
        reason: The problem with it.
    """

    name: str
    operator: str
    reason: str


def _constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in all_nodes(graph):
        if node.op_type == 'Constant' and node.attribute[0].name == 'value':
            constants[node.output[0]] = node.attribute[0].t
    return constants


def unsupported_nodes(model: onnx.ModelProto, package: str) -> list[BadNode]:
    """Find the nodes that cannot be built according to the tables of this module.

    Nodes that the parser itself refuses are not included.

    Args:
        model: The graph.
        package: ``'tensorrt'`` or ``'tensorrt_rtx'``.
    """
    constants = _constants(model.graph)

    def breaks(node: onnx.NodeProto, limit: OperatorLimit) -> bool:
        if node.op_type != limit.operator or package not in limit.packages:
            return False
        if limit.largest_k is None:
            return True
        k = constants.get(node.input[1])
        return k is not None and int(onnx.numpy_helper.to_array(k).max()) > limit.largest_k

    return [
        BadNode(node.name or node.output[0], node.op_type, limit.reason)
        for node in all_nodes(model.graph)
        for limit in OPERATOR_LIMITS
        if breaks(node, limit)
    ]


def refuse_nodes(nodes: Iterable[BadNode], package: str) -> None:
    """Raise one error that names every given node; do nothing if there are none.

    Raises:
        DeployError: If at least one node is given.
    """
    nodes = list(nodes)
    if not nodes:
        return
    listed = '\n'.join(f'  {node.operator} at {node.name}: {node.reason}' for node in nodes)
    raise DeployError(
        f'{PACKAGES[package].title} cannot build {len(nodes)} of the nodes of the graph:\n{listed}',
        expected='operators that it has',
        fix='export with --flavour portable, which uses plain operators only',
    )


def graph_inputs(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Name of each input of a graph to its shape, -1 for a free side."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return {
        value.name: [side.dim_value if side.HasField('dim_value') else -1 for side in value.type.tensor_type.shape.dim]
        for value in model.graph.input
        if value.name not in constants
    }


def is_typed(model: onnx.ModelProto) -> bool:
    """True if constants, casts or quantisation make the graph compute in another type than float32."""
    return any(tensor.data_type in _TYPED and math.prod(tensor.dims) > 1 for tensor in model.graph.initializer) or any(
        node.op_type in ('QuantizeLinear', 'DequantizeLinear') for node in model.graph.node
    )
