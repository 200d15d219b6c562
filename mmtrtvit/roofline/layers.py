"""The layers of an ONNX graph, with their multiply-accumulates and the tensors that they read and write."""

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from ..errors import ConfigError, DeployError

KINDS: dict[str, tuple[str, ...]] = {
    'conv': ('Conv', 'ConvTranspose'),
    'matmul': ('MatMul', 'Gemm', 'Einsum'),
    'pointwise': (
        *('Add', 'Sub', 'Mul', 'Div', 'Pow', 'Neg', 'Abs', 'Sqrt', 'Exp', 'Log', 'Erf', 'Reciprocal', 'Min', 'Max'),
        *('Relu', 'LeakyRelu', 'PRelu', 'Clip', 'Sigmoid', 'HardSigmoid', 'HardSwish', 'Tanh', 'Softplus', 'Elu'),
        *('Selu', 'Celu', 'Gelu', 'Mish', 'Sin', 'Cos', 'Floor', 'Ceil', 'Round', 'Where', 'Equal', 'Greater', 'Less'),
        *('GreaterOrEqual', 'LessOrEqual', 'And', 'Or', 'Not', 'Cast', 'Sign', 'Mod', 'IsNaN', 'Sum', 'Mean', 'Swish'),
        *('QuantizeLinear', 'DequantizeLinear', 'CumSum', 'Trilu', 'Softsign', 'IsInf', 'Atan', 'BitShift'),
    ),
    'batchnorm': ('BatchNormalization',),
    'norm': (
        *('LayerNormalization', 'GroupNormalization', 'InstanceNormalization', 'LpNormalization'),
        *('RMSNormalization', 'SimplifiedLayerNormalization'),
    ),
    'softmax': ('Softmax', 'LogSoftmax'),
    'reduce': (
        *('ReduceMean', 'ReduceSum', 'ReduceMax', 'ReduceMin', 'ReduceL2', 'ReduceProd', 'ReduceSumSquare'),
        *('ReduceL1', 'GlobalAveragePool', 'GlobalMaxPool', 'ArgMax', 'ArgMin'),
    ),
    'pool': ('MaxPool', 'AveragePool', 'LpPool', 'LRN'),
    'resize': ('Resize', 'Upsample', 'GridSample'),
    'transpose': ('Transpose',),
    'slice': ('Slice', 'Split', 'Expand'),
    'concat': ('Concat',),
    'copy': (
        *('Gather', 'GatherND', 'GatherElements', 'Pad', 'Tile', 'DepthToSpace', 'SpaceToDepth'),
        *('ScatterND', 'ScatterElements', 'Scatter', 'OneHot', 'Compress', 'ReverseSequence'),
    ),
    'free': (
        *('Reshape', 'Flatten', 'Squeeze', 'Unsqueeze', 'Identity', 'Dropout', 'Shape', 'Size', 'Constant'),
        *('ConstantOfShape', 'Range', 'EyeLike', 'NonZero'),
    ),
}
"""Kinds of layers to their ONNX operators. Layers of the kind ``free`` move no data."""

_KIND_OF = {operator: kind for kind, operators in KINDS.items() for operator in operators}

MATRIX = ('conv', 'matmul')
"""Kinds of layers whose multiply-accumulates are counted."""

_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE)


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of the graph.

    Attributes:
        name: Its name in the graph.
        shape: Its shape.
        width: Bytes of an element; ``None`` for floating-point numbers, whose width the precision decides.
        constant: Whether it depends on weights and shapes only.
    """

    name: str
    shape: tuple[int, ...]
    width: int | None
    constant: bool

    @property
    def elements(self) -> int:
        """Number of its elements."""
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True)
class Product:
    """A convolution or matrix product as ``count`` products of ``(m, k)`` with ``(k, n)`` matrices.

    Attributes:
        m: Rows: pixels or tokens. For weights that all images share, those of all images.
        n: Columns: output channels of a group.
        k: Depth: the products that are added up for one output.
        count: Number of products: groups of a convolution, or heads and images of attention.
        shared: Whether the second matrix is the same for all images (weights).
    """

    m: int
    n: int
    k: int
    count: int
    shared: bool

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.m * self.n * self.k * self.count


@dataclasses.dataclass(frozen=True)
class Layer:
    """A node of the graph.

    Attributes:
        name: Its name in the graph.
        operator: Its ONNX operator.
        kind: One of :data:`KINDS`.
        reads: Tensors that it reads.
        writes: Tensors that it writes.
        product: Its products of matrices, if it is of a kind in :data:`MATRIX`.
        constant: Whether it depends on weights and shapes only, so that a compiler can run it once.
        axes: The order of axes after a ``Transpose``; the axis of a ``Gather``.
    """

    name: str
    operator: str
    kind: str
    reads: tuple[Tensor, ...]
    writes: tuple[Tensor, ...]
    product: Product | None = None
    constant: bool = False
    axes: tuple[int, ...] = ()

    @property
    def macs(self) -> int:
        """Multiply-accumulates; 0 for layers that are not products."""
        return self.product.macs if self.product else 0


@dataclasses.dataclass(frozen=True)
class Graph:
    """The layers of a network in the order in which they run.

    Attributes:
        name: Name of the network.
        shape: Shape of its input, as the layers have it.
        layers: Its layers.
        outputs: Names of the tensors that it returns.
        unknown: Operators that cannot be predicted, with their number. They are left out of every total.
    """

    name: str
    shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    outputs: frozenset[str]
    unknown: Mapping[str, int]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all layers for one run of the graph."""
        return sum(layer.macs for layer in self.layers)


def read_graph(source: str | os.PathLike | ModelProto, shape: Sequence[int] | None = None, name: str = '') -> Graph:
    """Read the layers of an ONNX graph.

    Args:
        source: An ONNX file, or a model in memory. Weights that lie in a file of their own are not needed.
        shape: Shape of the first input, ``(B, C, H, W)``; needed where the graph leaves sizes open.
        name: Name of the network; by default that of the file.

    Raises:
        DeployError: If the file is not an ONNX graph.
        ConfigError: If sizes are open and ``shape`` is missing, or ``shape`` contradicts the graph.
    """
    if isinstance(source, ModelProto):
        model = source
    else:
        model = _load(source)
        name = name or os.path.splitext(os.path.basename(os.fspath(source)))[0]
    model = _with_shapes(model, shape)
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    # A graph may be exported without its weights: they are inputs then, and the first input is the image.
    image = next(value for value in graph.input if value.name not in weights)
    constants = {*weights, *(value.name for value in graph.input if value.name != image.name), ''}
    known = _tensors(graph)
    layers, unknown, missing = [], Counter(), Counter()
    for number, node in enumerate(graph.node):
        constant = node.op_type in ('Shape', 'Constant') or all(name in constants for name in node.input)
        if constant:
            constants.update(node.output)
        kind = _KIND_OF.get(node.op_type)
        if kind is None:
            if not constant:
                unknown[node.op_type] += 1
            continue
        tensors = [name for name in (*node.input, *node.output) if name]
        if any(name not in known for name in tensors):
            if kind != 'free' and not constant:
                missing[node.op_type] += 1
            continue
        reads, writes = (
            tuple(dataclasses.replace(known[name], constant=name in constants) for name in names if name)
            for names in (node.input, node.output)
        )
        product = _PRODUCTS[node.op_type](node, reads, writes) if node.op_type in _PRODUCTS else None
        name_ = node.name or f'{node.op_type}_{number}'
        layers.append(Layer(name_, node.op_type, kind, reads, writes, product, constant, _axes(node, reads)))
    unknown.update({f'{operator} (shape not known)': times for operator, times in missing.items()})
    return Graph(
        name or graph.name,
        known[image.name].shape,
        tuple(layers),
        frozenset(value.name for value in graph.output),
        dict(unknown),
    )


def _load(path: str | os.PathLike) -> ModelProto:
    try:
        model = onnx.load(os.fspath(path), load_external_data=False)
        if not model.graph.node:
            raise ValueError('it has no nodes')
    except OSError as error:
        raise DeployError(f'{path} cannot be read: {error.strerror}.', fix='name an ONNX file') from error
    except Exception as error:  # protobuf's DecodeError has no public base
        raise DeployError(f'{path} is not an ONNX graph: {error}', fix='name an ONNX file') from error
    return model


def _sizes(value: onnx.ValueInfoProto) -> list[int | None]:
    return [dim.dim_value if dim.HasField('dim_value') else None for dim in value.type.tensor_type.shape.dim]


def _with_shapes(model: ModelProto, shape: Sequence[int] | None) -> ModelProto:
    """The model with every shape that follows from that of its input."""
    weights = {tensor.name for tensor in model.graph.initializer}
    image = next((value for value in model.graph.input if value.name not in weights), None)
    if image is None:
        raise DeployError('The graph has no input.', fix='name the graph of a network')
    sizes = _sizes(image)
    if shape is None:
        if None in sizes or 0 in sizes:
            given = 'x'.join('?' if not size else str(size) for size in sizes)
            raise ConfigError(
                f'The input {image.name!r} of the graph is {given}.',
                expected='all sizes, as the graph leaves some open',
                fix='give --shape HxW',
            )
        return _inferred(model)
    # The batch of a graph may be another one: it scales what the layers cost.
    fixed = [size if size and number else None for number, size in enumerate(sizes)]
    if len(sizes) != len(shape) or any(size not in (None, wanted) for size, wanted in zip(fixed, shape, strict=True)):
        raise ConfigError(
            f'--shape {"x".join(map(str, shape[2:]))} does not fit the input {image.name!r} of the graph.',
            expected='x'.join('any' if size is None else str(size) for size in fixed[2:]),
            fix='correct --shape, or export the network for this shape',
        )
    if all(sizes[1:]) and sizes[0]:
        return _inferred(model)
    changed = ModelProto()
    changed.CopyFrom(model)
    image = next(value for value in changed.graph.input if value.name not in weights)
    for dim, size in zip(image.type.tensor_type.shape.dim, (sizes[0] or 1, *shape[1:]), strict=True):
        dim.dim_value = size
    del changed.graph.value_info[:]
    for value in changed.graph.output:
        value.type.tensor_type.ClearField('shape')
    return _inferred(changed)


_SMALL = 4096
"""Tensors of at most this many numbers may hold sizes, axes or paddings, and are computed if shapes depend on them."""


def _inferred(model: ModelProto) -> ModelProto:
    """The model with the shapes of all tensors, as far as they follow from those of its input.

    ONNX follows sizes through few operators only. Nodes that compute with sizes alone are run here, and their outputs
    become constants, until no further shape is found.
    """
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    before = -1
    while True:
        known = {name: tensor for name, tensor in _tensors(model.graph).items() if 0 not in tensor.shape}
        missing = sum(name not in known for node in model.graph.node for name in node.output)
        if not missing or len(known) == before:
            return model
        before = len(known)
        _compute_sizes(model.graph, known)
        complete = [value for value in model.graph.value_info if value.name in known]
        del model.graph.value_info[:]  # open sizes in it would be kept
        model.graph.value_info.extend(complete)
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)


def _compute_sizes(graph: onnx.GraphProto, known: Mapping[str, Tensor]) -> None:
    """Replace nodes that depend on small constants and known shapes only by their outputs."""
    values = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if math.prod(tensor.dims) <= _SMALL and tensor.data_location != onnx.TensorProto.EXTERNAL
    }
    kept = []
    for node in graph.node:
        found = None
        if node.op_type == 'Shape' and node.input[0] in known and not node.attribute:
            found = [np.array(known[node.input[0]].shape, np.int64)]
        elif (node.input or node.op_type == 'Constant') and {*node.input} <= {*values, ''}:
            small = all(known[name].elements <= _SMALL for name in node.output if name in known)
            found = _computed(node, values) if small else None
        if found is None or any(array.size > _SMALL for array in found):
            kept.append(node)
            continue
        for name, array in zip(node.output, found, strict=True):
            values[name] = array
            graph.initializer.append(numpy_helper.from_array(np.array(array, order='C'), name))
    del graph.node[:]
    graph.node.extend(kept)


def _computed(node: NodeProto, values: Mapping[str, np.ndarray]) -> list[np.ndarray] | None:
    """The outputs of a node; ``None`` if the operator cannot be run here."""
    try:
        inputs = {name: values[name] for name in node.input if name}
        return [np.asarray(array) for array in ReferenceEvaluator(node).run(None, inputs)]
    except Exception:  # of the reference implementation of any operator: the node stays as it is
        return None


def _tensors(graph: onnx.GraphProto) -> dict[str, Tensor]:
    """Every tensor whose shape is known."""
    found = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind, sizes = value.type.tensor_type.elem_type, _sizes(value)
        if value.type.tensor_type.HasField('shape') and None not in sizes:
            found[value.name] = Tensor(value.name, tuple(sizes), _width(kind), False)
    for tensor in graph.initializer:
        found[tensor.name] = Tensor(tensor.name, tuple(tensor.dims), _width(tensor.data_type), True)
    return found


def _width(kind: int) -> int | None:
    if kind in _FLOATS:
        return None
    try:
        return onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize
    except (KeyError, TypeError):
        return 1


# --- products ---------------------------------------------------------------------------------------------------------


def _attribute(node: NodeProto, name: str, default):
    for attribute in node.attribute:
        if attribute.name == name:
            return onnx.helper.get_attribute_value(attribute)
    return default


def _axes(node: NodeProto, reads: Sequence[Tensor]) -> tuple[int, ...]:
    if node.op_type == 'Transpose':
        return tuple(_attribute(node, 'perm', range(len(reads[0].shape))[::-1]))
    return (_attribute(node, 'axis', 0),) if node.op_type == 'Gather' else ()


def _convolution(node: NodeProto, reads: Sequence[Tensor], writes: Sequence[Tensor]) -> Product:
    weight, groups = reads[1].shape, _attribute(node, 'group', 1)
    batch, channels, *pixels = writes[0].shape
    return Product(batch * math.prod(pixels), channels // groups, math.prod(weight[1:]), groups, True)


def _transposed(node: NodeProto, reads: Sequence[Tensor], writes: Sequence[Tensor]) -> Product:
    weight, groups = reads[1].shape, _attribute(node, 'group', 1)
    batch, channels, *pixels = reads[0].shape
    return Product(batch * math.prod(pixels), math.prod(weight[1:]), channels // groups, groups, True)


def _matrices(node: NodeProto, reads: Sequence[Tensor], writes: Sequence[Tensor]) -> Product:
    one, two, output = reads[0].shape, reads[1].shape, writes[0].shape
    depth = one[-1]
    n = 1 if len(two) == 1 else two[-1]
    rows = math.prod(output) // n
    if math.prod(two[:-2]) == 1:  # one matrix for all rows
        return Product(rows, n, depth, 1, reads[1].constant)
    count = math.prod(output[: max(len(one), len(two)) - 2])
    return Product(rows // count, n, depth, count, False)


def _gemm(node: NodeProto, reads: Sequence[Tensor], writes: Sequence[Tensor]) -> Product:
    rows, n = writes[0].shape
    depth = reads[0].shape[0 if _attribute(node, 'transA', 0) else 1]
    return Product(rows, n, depth, 1, reads[1].constant)


def _einsum(node: NodeProto, reads: Sequence[Tensor], writes: Sequence[Tensor]) -> Product | None:
    equation = _attribute(node, 'equation', b'').decode().replace(' ', '')
    if '.' in equation or len(reads) != 2:
        return None
    terms, output = equation.split('->')
    one, two = terms.split(',')
    sizes = {**dict(zip(one, reads[0].shape)), **dict(zip(two, reads[1].shape))}

    def size(letters: Iterable[str]) -> int:
        return math.prod(sizes[letter] for letter in letters)

    both, sums = set(one) & set(two) & set(output), (set(one) | set(two)) - set(output)
    return Product(size(set(one) - both - sums), size(set(two) - both - sums), size(sums), size(both), False)


_PRODUCTS: dict[str, Callable[[NodeProto, Sequence[Tensor], Sequence[Tensor]], Product | None]] = {
    'Conv': _convolution,
    'ConvTranspose': _transposed,
    'MatMul': _matrices,
    'Gemm': _gemm,
    'Einsum': _einsum,
}
