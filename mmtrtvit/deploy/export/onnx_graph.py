"""Reading, checking and simplifying ONNX graphs."""

import collections
import os
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnxslim

from ...atomic import atomic_file
from ...errors import DeployError
from .input_shapes import InputShapes

STANDARD_DOMAINS = ('', 'ai.onnx')


def read_graph(path: str | os.PathLike) -> onnx.ModelProto:
    """Read an ONNX file and check that it is valid.

    Raises:
        DeployError: If it is missing, truncated, not ONNX, or has an invalid graph.
    """
    path = Path(path)
    if not path.is_file():
        raise DeployError(f'There is no ONNX file {path}.', fix='export it with tools/deploy.py')
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf, checker and shape inference raise different classes
        raise DeployError(
            f'{path} ({path.stat().st_size} bytes) is not a valid ONNX model: {str(error).splitlines()[0]}',
            expected='a complete file as tools/deploy.py leaves it',
            fix='export it again, or copy it again if it was copied',
        ) from error
    return model


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of its subgraphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for subgraph in [attribute.g] if attribute.HasField('g') else attribute.graphs:
                yield from all_nodes(subgraph)


def _operator_of(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in STANDARD_DOMAINS else f'{node.domain}::{node.op_type}'


def operators(model: onnx.ModelProto) -> collections.Counter[str]:
    """Number of occurrences of each operator in a graph and its subgraphs. Non-standard ones are ``domain::name``."""
    return collections.Counter(map(_operator_of, all_nodes(model.graph)))


def require_standard_operators(model: onnx.ModelProto) -> None:
    """Check that a graph runs without a plugin library.

    Raises:
        DeployError: Naming every operator that is not in the ONNX standard, with the nodes that use it. PyTorch names a
            node after its layer.
    """
    custom: dict[str, list[str]] = {}
    for node in all_nodes(model.graph):
        if node.domain not in STANDARD_DOMAINS:
            custom.setdefault(_operator_of(node), []).append(node.name or f'the node that gives {node.output[0]}')
    if custom:
        named = '\n'.join(f'  {operator}: {", ".join(nodes)}' for operator, nodes in sorted(custom.items()))
        raise DeployError(
            f'The exported graph needs operators that are not in the ONNX standard:\n{named}',
            expected='standard operators only, which every backend has',
            fix="for operators of mmdeploy add custom_imports=dict(imports=['mmtrtvit.deploy']) to the deploy config, "
            'which replaces them; write layers with others in terms of operators that ONNX has',
        )


def simplify(path: str | os.PathLike) -> tuple[int, int]:
    """Fold constants and merge nodes of an ONNX file, in place.

    Returns:
        The number of nodes before and after.
    """
    model = read_graph(path)
    before = sum(operators(model).values())
    slim = onnxslim.slim(model)
    with atomic_file(path) as temporary:
        onnx.save(slim, temporary)
    return before, sum(operators(slim).values())


def fix_input_shape(path: str | os.PathLike, shapes: InputShapes) -> None:
    """Write the fixed sides of the input into an ONNX file, in place.

    Values that depend on them become constant when the graph is simplified afterwards.

    Args:
        path: An ONNX file with one image input, in which all sides but the channels are free.
        shapes: Smallest and largest input.
    """
    model = read_graph(path)
    sides = model.graph.input[0].type.tensor_type.shape.dim
    for side, least, most in zip(sides, shapes.smallest, shapes.largest, strict=True):
        if least == most:
            side.dim_value = least  # replaces the name
    del model.graph.value_info[:]
    for output in model.graph.output:
        # only the sides and not the whole shape, because inference may not even find the rank of an output
        for side in output.type.tensor_type.shape.dim:
            side.Clear()
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    with atomic_file(path) as temporary:
        onnx.save(model, temporary)
