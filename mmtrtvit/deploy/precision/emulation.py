"""Emulation of half precision on a CPU: every tensor is rounded wherever the graph says that it is half.

ONNX Runtime's CPU provider has almost no kernels for half precision. It computes in float32 and drops the casts between
neighbouring nodes, so a value that overflows in FP16 comes out finite. Here, the graph computes in float32, and each
tensor is rounded to its format and back by casts that ONNX Runtime does not drop. Hardware effects inside an operator
are not emulated: the type of its accumulator, the order of a sum, and fused operators that round less often.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from .graph import element_types, fresh, tensor_names, with_outputs

FLOAT32_OPSET = 21
"""Opset 22 only adds bfloat16 to more operators, which float32 graphs do not need and ONNX Runtime partly lacks."""

HALF_TYPES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)

Feed = Mapping[str, np.ndarray]
"""One input of a network: name to array."""


def emulate(model: onnx.ModelProto) -> onnx.ModelProto:
    """A float32 graph with the results of a graph in mixed half precision, with every tensor rounded to its type.

    Tensors keep their names. A graph without half precision gives the same results as before.
    """
    types, taken = element_types(model), tensor_names(model)
    nodes = []
    for original in model.graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        for attribute in node.attribute:
            if node.op_type == 'Cast' and attribute.name == 'to' and attribute.i in HALF_TYPES:
                attribute.i = TensorProto.FLOAT
        nodes.append(node)
        for position, name in enumerate(original.output):
            if types.get(name) in HALF_TYPES:
                exact, rounded = fresh(f'{name}_exact', taken), fresh(f'{name}_rounded', taken)
                node.output[position] = exact
                nodes.append(helper.make_node('Cast', [exact], [rounded], to=types[name]))
                nodes.append(helper.make_node('Cast', [rounded], [name], to=TensorProto.FLOAT))
    stored = [
        numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
        if tensor.data_type in HALF_TYPES
        else tensor
        for tensor in model.graph.initializer
    ]
    graph = helper.make_graph(nodes, model.graph.name, model.graph.input, model.graph.output, stored)
    opsets = [helper.make_opsetid(entry.domain, min(entry.version, FLOAT32_OPSET)) for entry in model.opset_import]
    return helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)


def open_graph(model: onnx.ModelProto, threads: int = 0) -> onnxruntime.InferenceSession:
    """Open a graph in ONNX Runtime on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # it warns about nodes that it folds
    # Requested tensors must be computed as the graph says, so that reference and converted graph can be compared.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=['CPUExecutionProvider'])


def run_graph(model: onnx.ModelProto, feeds: Sequence[Feed]) -> list[dict[str, np.ndarray]]:
    """The outputs of a graph for each of the feeds, with half precision emulated."""
    session = open_graph(emulate(model))
    names = [value.name for value in session.get_outputs()]
    return [dict(zip(names, session.run(None, dict(feed)), strict=True)) for feed in feeds]


def chunks_of(
    model: onnx.ModelProto, names: Sequence[str], feeds: Sequence[Feed], budget: int = 2**29
) -> list[list[str]]:
    """Divide tensors into groups that fit into memory.

    Args:
        model: A graph that ONNX Runtime computes in float32.
        names: Names of tensors of the graph.
        feeds: Inputs.
        budget: Bytes per group. A larger tensor forms its own group.
    """
    taken = tensor_names(model)
    counts = {name: fresh(f'{name}_count', taken) for name in names}
    counting = onnx.ModelProto()
    counting.CopyFrom(model)
    counting.graph.node.extend(helper.make_node('Size', [name], [count]) for name, count in counts.items())
    session = open_graph(with_outputs(counting, counts.values(), dict.fromkeys(counts.values(), TensorProto.INT64)))
    sizes = np.max([session.run(None, dict(feed)) for feed in feeds], axis=0) * 4
    groups: list[list[str]] = []
    used = budget
    for name, size in zip(names, sizes.tolist(), strict=True):
        if used + size > budget:
            groups.append([])
            used = 0
        groups[-1].append(name)
        used += size
    return groups


def run_tensors(model: onnx.ModelProto, names: Sequence[str], feeds: Sequence[Feed]) -> Iterator[list[np.ndarray]]:
    """Yield internal tensors of a graph that ONNX Runtime computes in float32, for one feed after the other."""
    session = open_graph(with_outputs(model, names, element_types(model)))
    for feed in feeds:
        yield session.run(list(names), dict(feed))
