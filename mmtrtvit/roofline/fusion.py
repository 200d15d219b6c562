"""Groups of layers that one kernel runs, as compilers and runtimes form them."""

import dataclasses

from .layers import MATRIX, Graph, Layer, Tensor
from .views import with_copies

_VIEWS = frozenset({'Slice', 'Split', 'Expand', 'Transpose', 'Gather'})
"""Operators that change strides only in PyTorch; a Gather does so for one row."""

_REDUCING = frozenset({'norm', 'softmax', 'reduce'})
_MOVING = frozenset({'transpose', 'slice', 'copy'})


@dataclasses.dataclass(frozen=True)
class Compiler:
    """The rules by which a compiler or runtime joins layers.

    Attributes:
        title: Its name in tables.
        epilogue: Kinds of layers that join the convolution or matrix product before them.
        chains: Kinds of layers that join each other.
        keeps: Whether a chain goes on after a tensor that is needed elsewhere too, which is then written as well.
        attention: When the two products of attention and the softmax between them are one kernel: ``always``,
            ``never``, or where the network is ``written`` with ``scaled_dot_product_attention``: its export scales both
            operands.
        views: Whether slices and transposes are strides of the same memory.
        costless: Further operators that move no data: the layers before them write to the right place.
        constants: Whether layers of weights alone run once and for all.
        irregular: Kinds of layers that do not reach the bandwidth of pointwise ones.
        norm: Kernels of a LayerNorm, and the traffic of all of them over that of one.
    """

    title: str
    epilogue: frozenset[str] = frozenset()
    chains: frozenset[str] = frozenset()
    keeps: bool = False
    attention: str = 'always'
    views: bool = False
    costless: frozenset[str] = frozenset()
    constants: bool = True
    irregular: frozenset[str] = _REDUCING | _MOVING | {'pool', 'resize'}
    norm: tuple[int, float] = (1, 1.0)


_POINTWISE = frozenset({'pointwise', 'batchnorm'})
_JOINED = frozenset({'Concat', 'Slice', 'Split', 'Expand'})

COMPILERS: dict[str, Compiler] = {
    'eager': Compiler('PyTorch', attention='written', views=True, constants=False),
    'inductor': Compiler(
        'torch.compile',
        chains=_POINTWISE | _REDUCING | _MOVING | {'concat', 'pool'},
        keeps=True,
        attention='written',
        views=True,
        constants=False,
        irregular=_MOVING | {'resize'},
    ),
    'tensorrt': Compiler('TensorRT', epilogue=_POINTWISE, chains=_POINTWISE, costless=_JOINED),
    # A LayerNorm is mean, difference and square, mean, and the rest: four kernels and 3.5 times the traffic.
    'tensorrt-8.0': Compiler(
        'TensorRT 8.0', epilogue=_POINTWISE, chains=_POINTWISE, attention='never', costless=_JOINED, norm=(4, 3.5)
    ),
    'openvino': Compiler('OpenVINO', epilogue=_POINTWISE, chains=_POINTWISE, costless=frozenset({'Split', 'Expand'})),
    'onnxruntime': Compiler('ONNX Runtime', epilogue=_POINTWISE, attention='never'),
}
"""Compilers and runtimes by name."""


@dataclasses.dataclass
class Group:
    """Layers that run as one kernel.

    Attributes:
        kind: Kind of the layer that decides its speed: of the first one, or ``attention``.
        layers: Its layers.
        reads: Tensors that come from outside.
        writes: Tensors that are needed outside.
    """

    kind: str
    layers: list[Layer]
    reads: list[Tensor] = dataclasses.field(default_factory=list)
    writes: list[Tensor] = dataclasses.field(default_factory=list)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of its layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def name(self) -> str:
        """Name of the layer that decides its speed."""
        return next((layer for layer in self.layers if layer.product), self.layers[0]).name

    @property
    def operators(self) -> str:
        """Its operators in order, such as ``'Conv+Relu'``."""
        return '+'.join(layer.operator for layer in self.layers)


def fuse(graph: Graph, compiler: Compiler) -> list[Group]:
    """Join the layers of a graph into groups.

    Args:
        graph: The layers.
        compiler: One of :data:`COMPILERS`.

    Returns:
        Groups in the order in which they run. Layers that move no data are in none of them.
    """
    return _Fusion(graph, compiler).groups()


class _Fusion:
    def __init__(self, graph: Graph, compiler: Compiler) -> None:
        self.compiler = compiler
        if compiler.views:
            graph = with_copies(graph)
        self.layers = [layer for layer in graph.layers if not (layer.constant and compiler.constants)]
        self.producer = {tensor.name: layer for layer in self.layers for tensor in layer.writes}
        self.direct: dict[str, list[Layer]] = {}
        for layer in self.layers:
            for tensor in layer.reads:
                self.direct.setdefault(tensor.name, []).append(layer)
        self.root: dict[str, Tensor] = {}
        """Tensors that are views, and the tensor whose memory they are."""
        self.costless: set[int] = set()
        for layer in self.layers:
            if self._moves_nothing(layer):
                self.costless.add(id(layer))
                if layer.reads and layer.operator != 'Concat':
                    root = self._root(layer.reads[0])
                    self.root.update({tensor.name: root for tensor in layer.writes})
        self.working = [layer for layer in self.layers if id(layer) not in self.costless]
        self.place = {id(layer): number for number, layer in enumerate(self.working)}
        self.maker = {tensor.name: layer for layer in self.working for tensor in layer.writes}
        self.users: dict[str, list[Layer]] = {}
        for layer in self.layers:
            if id(layer) not in self.costless or layer.operator == 'Concat':
                for tensor in layer.reads:
                    self.users.setdefault(self._root(tensor).name, []).append(layer)
        self.outputs = {self.root[name].name if name in self.root else name for name in graph.outputs}

    def _root(self, tensor: Tensor) -> Tensor:
        return self.root.get(tensor.name, tensor)

    def _moves_nothing(self, layer: Layer) -> bool:
        if layer.kind == 'free' or layer.operator in self.compiler.costless:
            return True
        if not self.compiler.views or layer.operator not in _VIEWS:
            return False
        if layer.operator == 'Gather':
            return len(layer.reads) > 1 and layer.reads[1].elements == 1
        return True

    def _only_user(self, layer: Layer) -> Layer | None:
        users = self.users.get(layer.writes[0].name, [])
        return users[0] if len(users) == 1 and layer.writes[0].name not in self.outputs else None

    def _before(self, layer: Layer) -> list[Layer]:
        """The layers whose outputs a layer reads."""
        found = (self.maker.get(self._root(tensor).name) for tensor in layer.reads)
        return [layer for layer in found if layer is not None]

    # --- patterns that every runtime has a kernel for -----------------------------------------------------------------

    def _linear(self, layer: Layer) -> list[Layer]:
        """A product with weights and its bias."""
        after = self._only_user(layer) if layer.kind == 'matmul' and layer.product.shared else None
        return [layer, after] if after is not None and after.operator == 'Add' and _has_constant(after) else []

    def _gelu(self, layer: Layer) -> list[Layer]:
        """``x / sqrt(2)``, its error function, 1 more, times ``x``, times one half."""
        if layer.operator != 'Erf':
            return []
        found = [*self._before(layer), layer]
        for operator in ('Add', 'Mul', 'Mul'):
            after = self._only_user(found[-1])
            if after is None or after.operator != operator:
                return []
            found.append(after)
        return found if len(found) == 5 else []

    def _tanh_gelu(self, layer: Layer) -> list[Layer]:
        """GELU by a hyperbolic tangent of a cubic, and 1 more times half of ``x``."""
        if layer.operator != 'Tanh':
            return []
        found = {id(layer): layer}
        for operator in ('Add', 'Mul'):
            after = self._only_user(list(found.values())[-1])
            if after is None or after.operator != operator:
                return []
            found[id(after)] = after
        waiting = list(found.values())
        while waiting:
            for before in self._before(waiting.pop()):
                inside = before.operator in ('Mul', 'Add', 'Pow') and id(self._only_user(before)) in found
                if inside and id(before) not in found:
                    found[id(before)] = before
                    waiting.append(before)
        return sorted(found.values(), key=lambda layer: self.place[id(layer)])

    def _gate(self, layer: Layer) -> list[Layer]:
        """SiLU: a sigmoid times its own input."""
        after = self._only_user(layer) if layer.operator in ('Sigmoid', 'HardSigmoid') else None
        if after is None or after.operator != 'Mul':
            return []
        inputs = {self._root(tensor).name for tensor in after.reads}
        return [layer, after] if self._root(layer.reads[0]).name in inputs else []

    def _affine(self, layer: Layer) -> list[Layer]:
        """A norm of groups or maps, and its weights and biases."""
        if layer.operator != 'InstanceNormalization':
            return []
        found = [layer]
        for operator in ('Mul', 'Add'):
            after = self._only_user(found[-1])
            if after is None or after.operator != operator or not _has_constant(after):
                break
            found.append(after)
        return found

    def _attention(self, layer: Layer) -> list[Layer]:
        """Two products of activations, and scales, biases, masks and a softmax between them."""
        if self.compiler.attention == 'never' or layer.kind != 'matmul' or layer.product.shared:
            return []
        scales = [before for before in self._before(layer) if _is_scale(before) and self._only_user(before)]
        if self.compiler.attention == 'written' and len(scales) < 2:
            return []
        found = [layer]
        while len(found) < 9:
            after = self._only_user(found[-1])
            if after is None:
                return []
            found.append(after)
            if after.kind == 'matmul':
                middle = [layer.kind for layer in found[1:-1]]
                if after.product.shared or middle.count('softmax') != 1:
                    return []
                return [*scales, *found]
            if after.kind not in ('pointwise', 'softmax'):
                return []
        return []

    def _pattern(self, layer: Layer) -> tuple[str, list[Layer]]:
        """The layers that begin or centre here and have one kernel everywhere, and their kind."""
        kinds = {self._attention: 'attention'}
        for pattern in (self._attention, self._linear, self._affine, self._gelu, self._tanh_gelu, self._gate):
            found = pattern(layer)
            if found:
                return kinds.get(pattern, layer.kind), found
        return layer.kind, [layer]

    def groups(self) -> list[Group]:
        units: dict[int, Group] = {}
        for layer in self.working:
            if id(layer) in units:
                continue
            kind, found = self._pattern(layer)
            unit = Group(kind, found)
            units.update({id(member): unit for member in found})
        for unit in list({id(unit): unit for unit in units.values()}.values()):
            into = self._joins(unit, units)
            if into is not None:
                into.layers.extend(unit.layers)
                if into.kind not in MATRIX and unit.kind in self.compiler.irregular:
                    into.kind = unit.kind
                units.update({id(layer): into for layer in unit.layers})
        groups = list({id(group): group for group in (units[id(layer)] for layer in self.working)}.values())
        for group in groups:
            self._traffic(group)
        return groups

    def _joins(self, unit: Group, units: dict[int, Group]) -> Group | None:
        """The group that a unit is joined to, if the rules allow it: that of the last layer before it.

        An earlier one would have to wait for that layer, which may depend on it.
        """
        members = {id(layer) for layer in unit.layers}
        before = {id(one): one for layer in unit.layers for one in self._before(layer) if id(one) not in members}
        if not before:
            return None
        last = max(before.values(), key=lambda layer: self.place[id(layer)])
        group, name = units[id(last)], last.writes[0].name
        product = group.kind in MATRIX
        if product:
            same = unit.layers[-1].writes[0].elements == last.writes[0].elements
            if unit.kind not in self.compiler.epilogue or not same:
                return None
        elif not {unit.kind, group.kind} <= self.compiler.chains:
            return None
        needed = name in self.outputs or any(id(user) not in members for user in self.users.get(name, ()))
        return None if needed and (product or not self.compiler.keeps) else group

    def _traffic(self, group: Group) -> None:
        members = {id(layer) for layer in group.layers}
        reads: dict[str, Tensor] = {}
        for layer in group.layers:
            for tensor in layer.reads:
                root = self._root(tensor)
                maker = self.maker.get(root.name)
                if maker is not None and id(maker) in members:
                    continue
                read = min((tensor, root), key=lambda tensor: tensor.elements)
                known = reads.get(root.name)
                if known is None or known.elements < read.elements:
                    reads[root.name] = dataclasses.replace(read, constant=tensor.constant and root.constant)
        group.reads = list(reads.values())
        group.writes = [
            tensor
            for layer in group.layers
            for tensor in layer.writes
            if tensor.name in self.outputs
            or not self.users.get(tensor.name)
            or any(id(user) not in members for user in self.users[tensor.name])
        ]


def _has_constant(layer: Layer) -> bool:
    return any(tensor.constant for tensor in layer.reads)


def _is_scale(layer: Layer) -> bool:
    return layer.operator in ('Mul', 'Div') and any(t.constant and t.elements == 1 for t in layer.reads)
