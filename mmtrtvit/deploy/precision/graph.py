"""Queries on an ONNX graph for the conversions: names, types, producers and readers of tensors."""

import collections
from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ...errors import DeployError
from ..export.onnx_graph import STANDARD_DOMAINS
from .rules import COORDINATES, DECISIONS

LAYERS = ('Conv', 'ConvTranspose', 'Gemm', 'MatMul')
"""Operators that multiply by weights."""


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in the form that the conversions need: every node has a unique name, and constants are initialisers.

    Raises:
        DeployError: If the graph has subgraphs (``If``, ``Loop``).
    """
    model = onnx.shape_inference.infer_shapes(model)  # a copy
    graph = model.graph
    fixed, outputs = {tensor.name for tensor in graph.initializer}, {value.name for value in graph.output}
    taken, seen = {node.name for node in graph.node}, set()
    same: dict[str, str] = {}  # exporters share an initialiser between layers by Identity nodes
    nodes = []
    for number, node in enumerate(graph.node):
        if any(attribute.HasField('g') or attribute.graphs for attribute in node.attribute):
            raise DeployError(
                f'The graph has a subgraph (node {node.name or node.output[0]!r}, {node.op_type}).',
                expected='a graph without If and Loop, as tools/deploy.py exports it',
                fix='export the model through tools/deploy.py',
            )
        for position, name in enumerate(node.input):
            node.input[position] = same.get(name, name)
        standard = node.domain in STANDARD_DOMAINS
        if standard and node.op_type == 'Constant' and node.attribute[0].name == 'value':
            tensor = graph.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            fixed.add(tensor.name)
            continue
        if standard and node.op_type == 'Identity' and node.input[0] in fixed and node.output[0] not in outputs:
            same[node.output[0]] = node.input[0]
            continue
        if not node.name or node.name in seen:
            node.name = fresh(f'{node.name or node.op_type}_{number}', taken)
        seen.add(node.name)
        nodes.append(node)
    if len(nodes) < len(graph.node):
        nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(nodes)
    return model


def fresh(name: str, taken: set[str]) -> str:
    """A name like ``name`` that is not in ``taken``; it is added to ``taken``."""
    candidate, number = name, 1
    while candidate in taken:
        candidate, number = f'{name}_{number}', number + 1
    taken.add(candidate)
    return candidate


def tensor_names(model: onnx.ModelProto) -> set[str]:
    """The names of all tensors."""
    graph = model.graph
    names = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    return names.union(*(set(node.output) | set(node.input) for node in graph.node))


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Tensor name to ONNX element type.

    Raises:
        DeployError: Naming the nodes whose type cannot be inferred.
    """

    def noted(graph: onnx.GraphProto) -> dict[str, int]:
        types = {tensor.name: tensor.data_type for tensor in graph.initializer}
        for value in (*graph.input, *graph.value_info, *graph.output):
            if value.type.HasField('tensor_type'):
                types[value.name] = value.type.tensor_type.elem_type
        return types

    def unknown(types: dict[str, int]) -> list[str]:
        nodes = model.graph.node
        return sorted(
            f'{node.name} ({node.op_type})' for node in nodes if any(o and not types.get(o) for o in node.output)
        )

    types = noted(model.graph)
    if unknown(types):
        types = noted(onnx.shape_inference.infer_shapes(model).graph)
    if unknown(types):
        raise DeployError(
            f'The element type of what {", ".join(unknown(types))} give cannot be told.',
            expected='standard operators only, whose types ONNX can infer',
            fix='export the model through tools/deploy.py',
        )
    return types


def initializers(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Name to value of all initialisers."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def readers(model: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    """Tensor name to the nodes that read it."""
    found = collections.defaultdict(list)
    for node in model.graph.node:
        for name in dict.fromkeys(node.input):
            found[name].append(node)
    return found


def constants(model: onnx.ModelProto) -> set[str]:
    """Tensors that are initialisers or computed from initialisers only."""
    found = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.input and all(name in found for name in node.input if name):
            found.update(node.output)
    return found


def layers(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes that multiply data by weights."""
    fixed = constants(model)
    return [
        node
        for node in model.graph.node
        if node.op_type in LAYERS and len([name for name in node.input[:2] if name in fixed]) == 1
    ]


def data_inputs(node: onnx.NodeProto, types: dict[str, int]) -> list[str]:
    """The float32 inputs of a node whose values flow into its result, without coordinates.

    The float32 source of a quantised tensor also counts.
    """
    if node.op_type in ('QuantizeLinear', 'DequantizeLinear'):
        return [node.input[0]]
    where = COORDINATES.get(node.op_type, ())
    return [
        name
        for position, name in enumerate(node.input)
        if name and types[name] == TensorProto.FLOAT and position not in where
    ]


def read_by_layers(model: onnx.ModelProto, types: dict[str, int]) -> set[str]:
    """Names of the nodes whose results reach a layer as data."""
    makers = {name: node for node in model.graph.node for name in node.output}
    found: set[str] = set()
    queue = layers(model)
    while queue:
        for name in data_inputs(queue.pop(), types):
            if name in makers and makers[name].name not in found:
                found.add(makers[name].name)
                queue.append(makers[name])
    return found


def last_layers(model: onnx.ModelProto) -> set[str]:
    """Names of the layers without a following layer: scores, box deltas, mask logits, class maps."""
    followed = read_by_layers(model, element_types(model))
    return {node.name for node in layers(model)} - followed


def deciding_layers(model: onnx.ModelProto) -> set[str]:
    """Names of the last layers whose values are compared or sorted: scores and box deltas, but not mask logits."""
    makers = {name: node for node in model.graph.node for name in node.output}
    last, weighted = last_layers(model), {node.name for node in layers(model)}
    found, seen = set(), set()
    queue = [name for node in model.graph.node if node.op_type in DECISIONS for name in node.input]
    while queue:
        node = makers.get(queue.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.name in last:
            found.add(node.name)
        elif node.name not in weighted:
            queue.extend(node.input)
    return found


def with_outputs(model: onnx.ModelProto, names: Iterable[str], types: dict[str, int]) -> onnx.ModelProto:
    """A copy whose outputs are the named tensors."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(helper.make_tensor_value_info(name, types[name], None) for name in names)
    return copy


def replaced(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], stored: Sequence[TensorProto]) -> onnx.ModelProto:
    """A copy of ``model`` with other nodes and initialisers, and without the recorded types, which no longer hold."""
    graph = helper.make_graph(nodes, model.graph.name, model.graph.input, model.graph.output, stored)
    result = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    result.producer_name, result.producer_version = model.producer_name, model.producer_version
    helper.set_model_props(result, {entry.key: entry.value for entry in model.metadata_props})
    return result
