"""Conversion of a float32 graph to mixed half precision: FP16 or BF16 in the layers, float32 elsewhere.

TensorRT 11 and TensorRT for RTX compute every node in the type that the graph gives, so the graph decides. A node is
computed in half precision if its result reaches a layer (a convolution or a product with weights) as data. Everything
after the last layers of the heads therefore stays in float32: scores, boxes, suppression, and the coordinates at which
features are sampled. Inputs and outputs stay float32.
"""

import dataclasses
from collections.abc import Collection, Sequence

import onnx
import onnx.version_converter
from onnx import TensorProto, helper, numpy_helper

from ...errors import DeployError
from ..export.onnx_graph import STANDARD_DOMAINS
from .graph import (
    LAYERS,
    data_inputs,
    deciding_layers,
    element_types,
    fresh,
    initializers,
    layers,
    prepare,
    read_by_layers,
    readers,
    replaced,
    tensor_names,
)
from .rules import (
    ANY_TYPE,
    BF16,
    FLOAT32_INPUTS,
    FP16,
    KEPT_OPERATORS,
    MOVEMENT,
    HalfFormat,
    check_excluded,
    is_excluded,
)
from .weights import fits

AFTER_LAST_LAYER = 'no layer reads what it gives'
NO_DATA = 'depends on the shape of the input only, not on its values'
ASKED = 'asked for'
DECIDES = 'its values are compared or sorted, and nearly equal ones decide which boxes are kept'
BETWEEN = 'between nodes that stay in float32, or moves what they give'
QUANTISED_OPSET = 19
"""The first opset whose ``QuantizeLinear`` supports half precision."""

UNKNOWN = 'not in the ONNX standard'


@dataclasses.dataclass(frozen=True)
class Plan:
    """The precision of each node.

    Attributes:
        half: Names of the nodes computed in half precision, in the order of the graph.
        kept: Name of each other node with floating-point results to the reason why it stays in float32.
    """

    half: tuple[str, ...]
    kept: dict[str, str]


def plan_half(model: onnx.ModelProto, nodes_to_exclude: Sequence[str] = (), form: HalfFormat = FP16) -> Plan:
    """Choose the nodes to compute in half precision.

    Args:
        model: A float32 graph without subgraphs.
        nodes_to_exclude: Nodes and modules that stay in float32 in addition to the table of rules.
        form: The half-precision format.

    Raises:
        ConfigError: If ``nodes_to_exclude`` names a node or module that does not exist.
    """
    return _plan(prepare(model), nodes_to_exclude, form)


def _depends_on_data(model: onnx.ModelProto, weights: Collection[str]) -> set[str]:
    """Names of the tensors that depend on the values of the input, and not on its shape only."""
    found = {value.name for value in model.graph.input}
    for node in model.graph.node:
        quantised_weight = node.op_type == 'DequantizeLinear' and node.input[0] in weights
        if quantised_weight or (node.op_type not in ('Shape', 'Size') and found.intersection(node.input)):
            found.update(node.output)
    return found


def _by_rules(
    model: onnx.ModelProto, types: dict[str, int], nodes_to_exclude: Sequence[str], form: HalfFormat
) -> tuple[dict[str, onnx.NodeProto], dict[str, str]]:
    """The nodes in half precision, and the others with the reason, by the rules for single nodes."""
    weights = initializers(model)
    read_as_data = read_by_layers(model, types) | {node.name for node in layers(model)}
    from_data = _depends_on_data(model, weights)
    operators, deciding = {**KEPT_OPERATORS, **form.operators}, deciding_layers(model)
    half, kept = {}, {}
    for node in model.graph.node:
        if not any(types.get(name) == TensorProto.FLOAT for name in node.output):
            continue
        misfits = [
            name
            for position, name in enumerate(node.input)
            if types.get(name) == TensorProto.FLOAT
            and name in weights
            and position not in FLOAT32_INPUTS.get(node.op_type, ())
            and not fits(weights[name], form)
        ]
        if node.domain not in STANDARD_DOMAINS:
            kept[node.name] = UNKNOWN
        elif is_excluded(node.name, nodes_to_exclude):
            kept[node.name] = ASKED
        elif node.name in deciding:
            kept[node.name] = DECIDES
        elif node.op_type in operators:
            kept[node.name] = operators[node.op_type]
        elif node.name not in read_as_data:
            kept[node.name] = AFTER_LAST_LAYER
        elif not from_data.intersection(node.output):
            kept[node.name] = NO_DATA
        elif misfits:
            kept[node.name] = f'{misfits[0]} does not fit into {form.name}'
        else:
            half[node.name] = node
    return half, kept


def _plan(model: onnx.ModelProto, nodes_to_exclude: Sequence[str], form: HalfFormat) -> Plan:
    types, weights, read_by = element_types(model), initializers(model), readers(model)
    nodes = list(model.graph.node)
    check_excluded(nodes_to_exclude, (node.name for node in nodes))
    makers = {name: node for node in nodes for name in node.output}
    half, kept = _by_rules(model, types, nodes_to_exclude, form)

    # Avoid pairs of casts: nodes between float32 nodes stay in float32, and nodes that only move values follow their
    # input.
    def made_in_half(name: str) -> bool:
        return name in makers and makers[name].name in half

    def reads_float32(node: onnx.NodeProto) -> bool:
        return node.op_type not in ANY_TYPE and node.name not in half

    changed = True
    while changed:
        changed = False
        for node in list(half.values()):
            inputs = [name for name in data_inputs(node, types) if name not in weights]
            if node.op_type in LAYERS or any(made_in_half(name) for name in inputs):
                continue
            consumers = [reader for name in node.output for reader in read_by[name]]
            only_moves = node.op_type in MOVEMENT and all(len(read_by[name]) == 1 for name in inputs)
            if only_moves or (consumers and all(reads_float32(reader) for reader in consumers)):
                kept[node.name] = BETWEEN
                del half[node.name]
                changed = True

    for node in nodes:
        inputs = data_inputs(node, types)
        if (
            kept.get(node.name) == AFTER_LAST_LAYER
            and node.op_type in MOVEMENT
            and inputs
            and all(made_in_half(name) for name in inputs)
            and all(
                reader.name in half or reader.op_type in MOVEMENT | ANY_TYPE
                for name in inputs
                for reader in read_by[name]
            )
        ):
            half[node.name] = node
            del kept[node.name]
    return Plan(tuple(node.name for node in nodes if node.name in half), kept)


def to_half(model: onnx.ModelProto, nodes_to_exclude: Sequence[str] = (), form: HalfFormat = FP16) -> onnx.ModelProto:
    """Convert a float32 graph to mixed half precision. Inputs and outputs stay float32.

    Nodes and tensors keep their names, so that layers can be compared by name. Each tensor is cast at most once,
    however many nodes read it. Initialisers that are read by half-precision nodes are stored in half precision.

    Args:
        model: A float32 ONNX graph without subgraphs; not changed.
        nodes_to_exclude: Nodes and modules that stay in float32 in addition to the table of rules.
        form: The half-precision format.

    Raises:
        ConfigError: If ``nodes_to_exclude`` names a node or module that does not exist.
        DeployError: If the graph has subgraphs, has types that cannot be inferred, or is in half precision already.
    """
    model = prepare(_upgraded(model, form))
    plan = _plan(model, nodes_to_exclude, form)
    types, weights, taken = element_types(model), initializers(model), tensor_names(model)
    if {TensorProto.FLOAT16, TensorProto.BFLOAT16} & set(types.values()):
        raise DeployError(
            'The graph is in half precision already.',
            expected='a float32 graph',
            fix='convert the graph that tools/deploy.py --precision fp32 leaves',
        )
    half = set(plan.half)
    outputs = {value.name for value in model.graph.output}
    made_in_half: set[str] = set()
    renamed: dict[str, str] = {}  # float32 output of the graph to its half-precision source
    cast: dict[tuple[str, bool], str] = {}
    stored: dict[str, TensorProto] = {}
    nodes: list[onnx.NodeProto] = []

    def in_type(name: str, wants_half: bool) -> str:
        """The name of a float32 tensor of the original graph in the wanted precision."""
        if name in weights:
            if (name, wants_half) not in cast:
                new = name if name not in stored else fresh(f'{name}_{form.name if wants_half else "fp32"}', taken)
                array = weights[name].astype(form.dtype) if wants_half else weights[name]
                stored[new] = numpy_helper.from_array(array, new)
                cast[name, wants_half] = new
            return cast[name, wants_half]
        if (name in made_in_half) == wants_half:
            return renamed.get(name, name)
        if (name, wants_half) not in cast:
            new = name if name in outputs else fresh(f'{name}_{form.name if wants_half else "fp32"}', taken)
            source = renamed.get(name, name)
            cast[name, wants_half] = new
            to = form.onnx_type if wants_half else TensorProto.FLOAT
            nodes.append(helper.make_node('Cast', [source], [new], name=f'{new}/Cast', to=to))
        return cast[name, wants_half]

    for node in model.graph.node:
        # a tensor is quantised from the type that it has
        wants_half = node.name in half or (node.op_type == 'QuantizeLinear' and node.input[0] in made_in_half)
        for position, name in enumerate(node.input):
            if not name or types[name] != TensorProto.FLOAT:
                continue
            if node.op_type in ANY_TYPE and name not in weights:
                node.input[position] = renamed.get(name, name)
            else:
                fixed = position in FLOAT32_INPUTS.get(node.op_type, ())
                node.input[position] = in_type(name, wants_half and not fixed)
        if wants_half:
            for position, name in enumerate(node.output):
                if name and types[name] == TensorProto.FLOAT:
                    made_in_half.add(name)
                    if name in outputs:
                        renamed[name] = node.output[position] = fresh(f'{name}_{form.name}', taken)
            for attribute in node.attribute:
                if node.op_type == 'Cast' and attribute.name == 'to':
                    attribute.i = form.onnx_type
        nodes.append(node)
    for name in outputs & made_in_half:
        in_type(name, False)

    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or tensor.name in outputs:
            stored[tensor.name] = tensor
    result = replaced(model, nodes, list(stored.values()))
    onnx.checker.check_model(result, full_check=True)
    return result


def _upgraded(model: onnx.ModelProto, form: HalfFormat) -> onnx.ModelProto:
    """The graph in an opset whose operators support the format; unchanged if its opset is high enough."""
    version = next(entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS)
    quantised = any(node.op_type == 'QuantizeLinear' for node in model.graph.node)
    needed = max(form.opset, QUANTISED_OPSET if quantised else 0)
    return model if version >= needed else onnx.version_converter.convert_version(model, needed)


def to_fp16(model: onnx.ModelProto, nodes_to_exclude: Sequence[str] = ()) -> onnx.ModelProto:
    """Convert to mixed FP16; see :func:`to_half`."""
    return to_half(model, nodes_to_exclude, FP16)


def to_bf16(model: onnx.ModelProto, nodes_to_exclude: Sequence[str] = ()) -> onnx.ModelProto:
    """Convert to mixed BF16 for TensorRT; see :func:`to_half`. OpenVINO on a CPU uses a hint and not the graph."""
    return to_half(model, nodes_to_exclude, BF16)
