"""INT8 by explicit quantisation: ``QuantizeLinear`` and ``DequantizeLinear`` in front of convolutions and products.

Quantisation is symmetric, with zero points of 0, as TensorRT requires. The input of a layer has one scale. Its weights
have one scale for each output channel and are stored as INT8. Only inputs are quantised, once for all layers that read
a tensor, so that an engine can fuse activation and residual sum into a layer before it quantises again. Biases are not
changed.

Where a shortcut is added to the output of a convolution, an engine can write INT8 from the fused convolution only if
the shortcut is INT8 as well. A backend may ask for that (:attr:`mmtrtvit.runtime.backends.Backend.int8_shortcuts`), at
the cost of accuracy: errors then add up from block to block.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .calibration import LEVELS, calibrate
from .emulation import Feed
from .graph import fresh, initializers, last_layers, layers, prepare, replaced, tensor_names
from .rules import check_excluded, is_excluded

LARGEST = LEVELS - 1

SMALLEST_SCALE = 2.0**-20
"""Smallest scale of a channel of weights. FP16 holds it within 3 %. A scale below 3e-8 would become 0 in a graph that
is FP16 elsewhere, which engines refuse. Training leaves whole channels of weights that small."""


def _channel_axis(node: onnx.NodeProto, weight: np.ndarray) -> int:
    """The axis of a layer's weight that indexes its output channels."""
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    first = node.op_type == 'Conv' or (node.op_type == 'Gemm' and attributes.get('transB', 0))
    return 0 if first else 1 if node.op_type == 'ConvTranspose' else weight.ndim - 1


def _scales(weight: np.ndarray, axis: int) -> np.ndarray:
    others = tuple(number for number in range(weight.ndim) if number != axis)
    largest = np.abs(weight).max(axis=others)
    # any scale is right for a channel of zeros
    return np.maximum(np.where(largest > 0, largest, 1.0) / LARGEST, SMALLEST_SCALE).astype(np.float32)


def int8_candidates(model: onnx.ModelProto, nodes_to_exclude: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the layers that :func:`to_int8` would quantise: those with their own weights, except the last layers of
    the heads and ``nodes_to_exclude``. A product with a stack of matrices (tables of positions that are resized) has no
    scale for each channel in ONNX Runtime, and is left.

    Raises:
        ConfigError: If ``nodes_to_exclude`` names a node or module that does not exist.
    """
    model = prepare(model)
    check_excluded(nodes_to_exclude, (node.name for node in model.graph.node))
    weights, last = initializers(model), last_layers(model)
    return tuple(
        node.name
        for node in layers(model)
        if node.input[1] in weights
        and weights[node.input[1]].dtype == np.float32
        and (node.op_type != 'MatMul' or weights[node.input[1]].ndim == 2)
        and node.input[0] not in weights
        and node.name not in last
        and not is_excluded(node.name, nodes_to_exclude)
    )


def shortcuts(model: onnx.ModelProto, names: Iterable[str]) -> dict[str, int]:
    """Additions of a shortcut to the output of a convolution.

    Args:
        model: A float32 graph.
        names: Names of the layers that are quantised. Only their additions count.

    Returns:
        Name of each addition to the place of the shortcut among its inputs. Sums of two convolutions are left out.
    """
    model = prepare(model)
    quantised, weights = set(names), initializers(model)
    makers = {name: node for node in model.graph.node for name in node.output}
    found = {}
    for node in model.graph.node:
        if node.op_type != 'Add' or any(name in weights for name in node.input):
            continue
        sources = [makers.get(name) for name in node.input]
        convolved = [source is not None and source.op_type == 'Conv' for source in sources]
        if sum(convolved) == 1 and sources[convolved.index(True)].name in quantised:
            found[node.name] = convolved.index(False)
    return found


def to_int8(
    model: onnx.ModelProto,
    feeds: Iterable[Feed],
    nodes_to_exclude: Sequence[str] = (),
    method: str = 'minmax',
    with_shortcuts: bool = False,
) -> onnx.ModelProto:
    """Quantise the layers of a float32 graph. Inputs, outputs and everything else stay float32.

    Args:
        model: A float32 ONNX graph without subgraphs; not changed.
        feeds: Inputs to calibrate on, used one by one, once.
        nodes_to_exclude: Nodes and modules not to quantise, in addition to the last layers of the heads.
        method: Method that chooses the range of an input: ``minmax``, ``percentile`` or ``entropy``.
        with_shortcuts: Whether to quantise shortcuts as well; see :func:`shortcuts`.

    Raises:
        ConfigError: If ``nodes_to_exclude`` names a node or module that does not exist, or the method is unknown.
        DataError: If ``feeds`` is empty or values are not finite.
        DeployError: If the graph has subgraphs or types that cannot be inferred.
    """
    model = prepare(model)
    names = int8_candidates(model, nodes_to_exclude)
    ranges = calibrate(model, quantised_inputs(model, names, with_shortcuts), feeds, method)
    return quantise(model, names, ranges, with_shortcuts)


def quantised_inputs(model: onnx.ModelProto, names: Iterable[str], with_shortcuts: bool = False) -> list[str]:
    """The tensors that :func:`quantise` needs ranges of."""
    model = prepare(model)
    places = {**dict.fromkeys(names, 0), **(shortcuts(model, names) if with_shortcuts else {})}
    return [node.input[places[node.name]] for node in model.graph.node if node.name in places]


def quantise(
    model: onnx.ModelProto, names: Sequence[str], ranges: dict[str, float], with_shortcuts: bool = False
) -> onnx.ModelProto:
    """Quantise the named layers of a graph, and the shortcuts that are added to them if ``with_shortcuts``.

    A layer or a shortcut is not changed if ``ranges`` has no range for its input.
    """
    model = prepare(model)
    added = shortcuts(model, names) if with_shortcuts else {}
    weights, taken = initializers(model), tensor_names(model)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    done: dict[tuple, str] = {}
    nodes: list[onnx.NodeProto] = []

    def store(name: str, array: np.ndarray) -> str:
        name = fresh(name, taken)
        stored[name] = numpy_helper.from_array(array, name)
        return name

    def pair(tensor: str, largest: float) -> str:
        if tensor not in done:
            scale = store(f'{tensor}_scale', np.array(largest / LARGEST, np.float32))
            zero = store(f'{tensor}_zero_point', np.array(0, np.int8))
            integers, done[tensor] = (fresh(f'{tensor}_{suffix}', taken) for suffix in ('quantized', 'dequantized'))
            nodes.append(
                helper.make_node('QuantizeLinear', [tensor, scale, zero], [integers], name=f'{integers}/QuantizeLinear')
            )
            nodes.append(_dequantise(integers, scale, zero, done[tensor]))
        return done[tensor]

    def weight_of(node: onnx.NodeProto) -> str:
        name, axis = node.input[1], _channel_axis(node, weights[node.input[1]])
        if (name, axis) not in done:
            scales = _scales(weights[name], axis)
            shape = [-1 if number == axis else 1 for number in range(weights[name].ndim)]
            integers = np.clip(np.rint(weights[name] / scales.reshape(shape)), -LARGEST, LARGEST).astype(np.int8)
            inputs = (
                store(f'{name}_quantized', integers),
                store(f'{name}_scale', scales),
                store(f'{name}_zero_point', np.zeros(scales.shape, np.int8)),
            )
            done[name, axis] = fresh(f'{name}_dequantized', taken)
            nodes.append(_dequantise(*inputs, done[name, axis], axis=axis))
        return done[name, axis]

    for node in model.graph.node:
        if node.name in names and node.input[0] in ranges:
            node.input[0] = pair(node.input[0], ranges[node.input[0]])
            node.input[1] = weight_of(node)
        elif node.name in added and node.input[added[node.name]] in ranges:
            place = added[node.name]
            node.input[place] = pair(node.input[place], ranges[node.input[place]])
        nodes.append(node)
    read = {name for node in nodes for name in node.input} | {value.name for value in model.graph.output}
    result = replaced(model, nodes, [tensor for name, tensor in stored.items() if name in read])
    onnx.checker.check_model(result, full_check=True)
    return result


def _dequantise(integers: str, scale: str, zero: str, name: str, **attributes) -> onnx.NodeProto:
    return helper.make_node(
        'DequantizeLinear', [integers, scale, zero], [name], name=f'{name}/DequantizeLinear', **attributes
    )
