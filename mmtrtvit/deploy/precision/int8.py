"""INT8 by explicit quantisation: ``QuantizeLinear`` and ``DequantizeLinear`` in front of convolutions and products.

Quantisation is symmetric, with zero points of 0, as TensorRT requires. The input of a layer has one scale. Its weights
have one scale for each output channel and are stored as INT8. Only inputs are quantised, once for all layers that read
a tensor, so that an engine can fuse activation and residual sum into a layer before it quantises again. Biases are not
changed.

A backend may ask for another form, :class:`~mmtrtvit.runtime.backends.base.Int8Form`:

* Shortcuts: where one is added to the output of a convolution, an engine can write INT8 from the fused convolution only
  if the shortcut is INT8 as well. It costs accuracy, as errors then add up from block to block.
* Whole layers: ONNX Runtime computes in 8 bits only if the bias is INT32 and, in convolutions, the output is quantised
  as well, behind the ReLU if one follows. Otherwise it turns weights and inputs back to float32 in every run.
* UINT8: the ReLU then is part of the rounding, and costs nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ...runtime.backends import Int8Form
from .calibration import LEVELS, calibrate
from .emulation import Feed
from .graph import fresh, initializers, last_layers, layers, prepare, readers, replaced, tensor_names
from .rules import check_excluded, is_excluded

LARGEST = LEVELS - 1

LARGEST_BIAS = 2**30
"""Largest bias in INT32. Scales of channels with tiny weights and a large bias are raised for it."""

PLAIN = Int8Form()

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
    form: Int8Form = PLAIN,
) -> onnx.ModelProto:
    """Quantise the layers of a float32 graph. Inputs, outputs and everything else stay float32.

    Args:
        model: A float32 ONNX graph without subgraphs; not changed.
        feeds: Inputs to calibrate on, used one by one, once.
        nodes_to_exclude: Nodes and modules not to quantise, in addition to the last layers of the heads.
        method: Method that chooses the range of an input: ``minmax``, ``percentile`` or ``entropy``.
        form: The form that a backend asks for; its ``beside`` is not applied here.

    Raises:
        ConfigError: If ``nodes_to_exclude`` names a node or module that does not exist, or the method is unknown.
        DataError: If ``feeds`` is empty or values are not finite.
        DeployError: If the graph has subgraphs or types that cannot be inferred.
    """
    model = prepare(model)
    names = int8_candidates(model, nodes_to_exclude)
    return quantise(model, names, calibrate(model, quantised_tensors(model, names, form), feeds, method), form)


def convolution_outputs(model: onnx.ModelProto, names: Iterable[str]) -> dict[str, str]:
    """The tensors to quantise so that convolutions write 8 bits.

    Args:
        model: A float32 graph.
        names: Names of the layers that are quantised.

    Returns:
        Name of each convolution among them to its output, or to that of the ReLU that alone reads it. Outputs of the
        graph are left out.
    """
    model = prepare(model)
    quantised, read = set(names), readers(model)
    outputs = {value.name for value in model.graph.output}
    found = {}
    for node in model.graph.node:
        if node.op_type != 'Conv' or node.name not in quantised:
            continue
        following = read.get(node.output[0], [])
        alone = len(following) == 1 and following[0].op_type == 'Relu' and node.output[0] not in outputs
        tensor = following[0].output[0] if alone else node.output[0]
        if tensor not in outputs:
            found[node.name] = tensor
    return found


def quantised_tensors(model: onnx.ModelProto, names: Iterable[str], form: Int8Form = PLAIN) -> list[str]:
    """The tensors that :func:`quantise` needs ranges of."""
    model, names = prepare(model), list(names)
    places = {**dict.fromkeys(names, 0), **(shortcuts(model, names) if form.shortcuts else {})}
    found = [node.input[places[node.name]] for node in model.graph.node if node.name in places]
    return [*found, *(convolution_outputs(model, names).values() if form.whole else ())]


class _Bias(NamedTuple):
    """The bias of a layer: its name, the node that reads it, and its place among the inputs."""

    tensor: str
    reader: str
    place: int


def _biases(model: onnx.ModelProto, names: Iterable[str]) -> dict[str, _Bias]:
    """The biases of the named layers. That of a product is added by the node that follows."""
    weights, read, quantised = initializers(model), readers(model), set(names)
    found = {}
    for node in model.graph.node:
        if node.name not in quantised:
            continue
        following = read.get(node.output[0], [])
        if node.op_type != 'MatMul':
            reader, places = node, range(2, len(node.input))
        elif len(following) == 1 and following[0].op_type == 'Add':
            reader, places = following[0], range(2)
        else:
            continue
        width = (weights[node.input[1]].shape[_channel_axis(node, weights[node.input[1]])],)
        for place in places:
            name = reader.input[place]
            if name in weights and weights[name].shape == width:
                found[node.name] = _Bias(name, reader.name, place)
    return found


def _never_negative(model: onnx.ModelProto) -> set[str]:
    """Tensors that are outputs of a ReLU, and what pooling makes of them."""
    found: set[str] = set()
    for node in model.graph.node:
        if node.op_type == 'Relu' or (node.op_type in ('MaxPool', 'AveragePool') and node.input[0] in found):
            found.add(node.output[0])
    return found


def quantise(
    model: onnx.ModelProto, names: Sequence[str], ranges: Mapping[str, float], form: Int8Form = PLAIN
) -> onnx.ModelProto:
    """Quantise the named layers of a graph, in the form that a backend asks for.

    A layer, a shortcut or an output is not changed if ``ranges`` has no range for it.
    """
    result = _Quantiser(prepare(model), names, ranges, form).run()
    onnx.checker.check_model(result, full_check=True)
    return result


class _Quantiser:
    """Writes the quantised graph, node by node.

    Args:
        model: The prepared graph; it is changed.
        names, ranges, form: As in :func:`quantise`.
    """

    def __init__(
        self, model: onnx.ModelProto, names: Sequence[str], ranges: Mapping[str, float], form: Int8Form
    ) -> None:
        self.model, self.ranges, self.form = model, ranges, form
        self.weights, self.taken = initializers(model), tensor_names(model)
        self.layers = {n.name: n for n in model.graph.node if n.name in set(names) and n.input[0] in ranges}
        self.added = shortcuts(model, names) if form.shortcuts else {}
        self.biases = _biases(model, self.layers) if form.whole else {}
        self.written = ranges.keys() & convolution_outputs(model, self.layers).values() if form.whole else set()
        self.positive = _never_negative(model) if form.unsigned else set()
        self.scales = self._scales()
        self.stored = {tensor.name: tensor for tensor in model.graph.initializer}
        self.nodes: list[onnx.NodeProto] = []
        self.done: dict[Any, str] = {}

    def _step(self, tensor: str) -> np.float32:
        """The scale of an activation."""
        return np.float32(self.ranges[tensor] / (2 * LARGEST + 1 if tensor in self.positive else LARGEST))

    def _scales(self) -> dict[tuple[str, int], np.ndarray]:
        """The scales of each weight along an axis, so large that the biases of all layers that share it fit."""
        found: dict[tuple[str, int], np.ndarray] = {}
        for name, node in self.layers.items():
            weight = self.weights[node.input[1]]
            key = node.input[1], _channel_axis(node, weight)
            least = found.get(key, _scales(weight, key[1]))
            if name in self.biases:
                bias = self.weights[self.biases[name].tensor]
                least = np.maximum(least, np.abs(bias) / (self._step(node.input[0]) * LARGEST_BIAS))
            found[key] = least.astype(np.float32)
        return found

    def _store(self, name: str, array: np.ndarray) -> str:
        name = fresh(name, self.taken)
        self.stored[name] = numpy_helper.from_array(array, name)
        return name

    def _constant(self, name: str, array: np.ndarray, scales: np.ndarray, axis: int) -> str:
        """A constant that is stored in integers; the name of what it is turned back to."""
        parts = dict(quantized=array, scale=scales, zero_point=np.zeros(scales.shape, array.dtype))
        inputs = [self._store(f'{name}_{part}', value) for part, value in parts.items()]
        self.nodes.append(_dequantise(*inputs, fresh(f'{name}_dequantized', self.taken), axis=axis))
        return self.nodes[-1].output[0]

    def _activation(self, tensor: str) -> str:
        if tensor not in self.done:
            unsigned = self.form.unsigned
            zero = np.array(
                LEVELS if unsigned and tensor not in self.positive else 0, np.uint8 if unsigned else np.int8
            )
            facts = self._store(f'{tensor}_scale', self._step(tensor)), self._store(f'{tensor}_zero_point', zero)
            integers, self.done[tensor] = (fresh(f'{tensor}_{s}', self.taken) for s in ('quantized', 'dequantized'))
            name = f'{integers}/QuantizeLinear'
            self.nodes.append(helper.make_node('QuantizeLinear', [tensor, *facts], [integers], name=name))
            self.nodes.append(_dequantise(integers, *facts, self.done[tensor]))
        return self.done[tensor]

    def _weight(self, name: str, axis: int) -> str:
        if (name, axis) not in self.done:
            weight, scales = self.weights[name], self.scales[name, axis]
            shape = [-1 if number == axis else 1 for number in range(weight.ndim)]
            integers = np.clip(np.rint(weight / scales.reshape(shape)), -LARGEST, LARGEST).astype(np.int8)
            self.done[name, axis] = self._constant(name, integers, scales, axis)
        return self.done[name, axis]

    def _bias(self, name: str, scales: np.ndarray) -> str:
        integers = np.rint(self.weights[name].astype(np.float64) / scales).astype(np.int32)
        return self._constant(name, integers, scales, 0)

    def run(self) -> onnx.ModelProto:
        """The quantised graph."""
        biases: dict[tuple[str, int], str] = {}
        for node in self.model.graph.node:
            if node.name in self.layers:
                source, key = node.input[0], (node.input[1], _channel_axis(node, self.weights[node.input[1]]))
                node.input[0], node.input[1] = self._activation(source), self._weight(*key)
                if node.name in self.biases:
                    tensor, reader, place = self.biases[node.name]
                    biases[reader, place] = self._bias(tensor, self._step(source) * self.scales[key])
            place = self.added.get(node.name)
            if place is not None and node.input[place] in self.ranges:
                node.input[place] = self._activation(node.input[place])
            for place, name in enumerate(node.input):
                given = self.done.get(name, name) if name in self.written else name
                node.input[place] = biases.get((node.name, place), given)
            self.nodes.append(node)
            for name in self.written.intersection(node.output):
                self._activation(name)
        read = {name for node in self.nodes for name in node.input} | {v.name for v in self.model.graph.output}
        return replaced(self.model, self.nodes, [tensor for name, tensor in self.stored.items() if name in read])


def _dequantise(integers: str, scale: str, zero: str, name: str, **attributes) -> onnx.NodeProto:
    return helper.make_node(
        'DequantizeLinear', [integers, scale, zero], [name], name=f'{name}/DequantizeLinear', **attributes
    )
