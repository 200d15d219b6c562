"""Predicted latency: the larger of arithmetic and traffic of every group of layers, and the cost of starting it."""

import dataclasses
import math
from collections.abc import Sequence

from .autocast import autocast
from .devices import WIDTH, Device
from .fusion import Compiler, Group, fuse
from .layers import Graph, Product, Tensor

_GROUPED = 2.0
"""Time of convolutions in groups on matrix units, over that of as many whole blocks."""

_MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Efficiency:
    """The shares of a device's peaks that a compiler's kernels reach, as calibration finds them.

    Attributes:
        conv: Of matrix units, in convolutions.
        linear: Of matrix units, in products with weights.
        attention: Of matrix units, in the two products of attention.
        depthwise: Of vector units, in depthwise convolutions.
        stream: Of bandwidth, in layers that read and write in order.
        irregular: Of bandwidth, in the compiler's irregular kinds of layers.
        overhead: Time to start a group of layers, microseconds.
    """

    conv: float = 0.6
    linear: float = 0.6
    attention: float = 0.3
    depthwise: float = 0.2
    stream: float = 0.75
    irregular: float = 0.5
    overhead: float = 4.0


@dataclasses.dataclass(frozen=True)
class Row:
    """The prediction of a group of layers; times in milliseconds.

    Attributes:
        name: Name of its main layer in the graph.
        operators: Its operators, such as ``'Conv+Relu'``.
        kind: Kind of its main layer.
        macs: Multiply-accumulates of all images.
        bytes: Bytes read and written for all images.
        compute: Time of its arithmetic.
        memory: Time of its traffic.
        overhead: Time to start it.
    """

    name: str
    operators: str
    kind: str
    macs: int
    bytes: int
    compute: float
    memory: float
    overhead: float

    @property
    def total(self) -> float:
        """Predicted time."""
        return max(self.compute, self.memory) + self.overhead

    @property
    def bound(self) -> str:
        """The largest of its three parts: ``compute``, ``memory`` or ``overhead``."""
        parts = dict(compute=self.compute, memory=self.memory, overhead=self.overhead)
        return max(parts, key=parts.__getitem__)


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The predicted latency of a network.

    Attributes:
        rows: A row for each group of layers, in the order in which they run.
        batch: Images in the input.
    """

    rows: tuple[Row, ...]
    batch: int

    @property
    def total(self) -> float:
        """Predicted latency of a batch, milliseconds."""
        return sum(row.total for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the batch."""
        return sum(row.macs for row in self.rows)

    @property
    def shares(self) -> dict[str, float]:
        """Share of the time that is spent in groups bound by ``compute``, ``memory`` and ``overhead``."""
        total = self.total or 1.0
        return {
            bound: sum(row.total for row in self.rows if row.bound == bound) / total
            for bound in ('compute', 'memory', 'overhead')
        }


class Roofline:
    """Predicts networks on one device.

    Args:
        device: The device.
        compiler: The compiler or runtime.
        precision: A key of :data:`~mmtrtvit.roofline.devices.WIDTH`.
        efficiency: The shares of the device's peaks that the compiler's kernels reach.

    Raises:
        ConfigError: If the device does not compute in this precision.
    """

    def __init__(self, device: Device, compiler: Compiler, precision: str, efficiency: Efficiency) -> None:
        self.device, self.compiler, self.precision, self.efficiency = device, compiler, precision, efficiency
        self.matrix, self.vector = device.peak(precision), device.peak(precision, matrix=False)
        self.width = WIDTH[precision]

    def predict(self, graph: Graph, batch: int = 1) -> Prediction:
        """Predict a network.

        Args:
            graph: Its layers.
            batch: Images in the input.
        """
        return self.predict_groups(self.groups(graph), batch, batch / graph.shape[0])

    def groups(self, graph: Graph) -> list[Group]:
        """The groups that a network runs as on this device."""
        return fuse(autocast(graph) if self.precision == 'amp' else graph, self.compiler)

    def predict_groups(self, groups: Sequence[Group], batch: int, scale: float | None = None) -> Prediction:
        """Predict groups of layers.

        Args:
            groups: The groups, as :func:`~mmtrtvit.roofline.fusion.fuse` forms them.
            batch: Images in the input.
            scale: The same over the images in the graph; by default, the graph has one.
        """
        scale = float(batch) if scale is None else scale
        weights = sum(self._bytes(tensor, scale) for group in groups for tensor in group.reads if tensor.constant)
        return Prediction(tuple(self._row(group, scale, weights) for group in groups), batch)

    def _bytes(self, tensor: Tensor, scale: float) -> float:
        width = self.width if tensor.width is None else tensor.width
        return tensor.elements * width * (1 if tensor.constant else scale)

    def _row(self, group: Group, scale: float, weights: float) -> Row:
        launches, factor = 1, 1.0
        if group.kind == 'norm':
            launches, factor = self.compiler.norm
        efficiency = self.efficiency
        share = efficiency.irregular if group.kind in self.compiler.irregular else efficiency.stream
        size, memory, cache = 0.0, 0.0, self.device.cache * _MIB
        for tensor in (*group.reads, *group.writes):
            bytes_ = self._bytes(tensor, scale)
            # Weights come from memory in every run unless all of them stay in the cache.
            cached = weights < cache / 2 if tensor.constant else bytes_ < cache / 2
            bandwidth = self.device.cache_bandwidth if cached else self.device.bandwidth
            size += bytes_ * factor
            memory += bytes_ * factor / (bandwidth * 1e9 * share)
        compute, macs = 0.0, 0.0
        for layer in group.layers:
            if layer.product:
                times = 1 if layer.constant else scale
                compute += self._arithmetic(layer.product, layer.kind, times)
                macs += layer.macs * times
        return Row(
            group.name,
            group.operators,
            group.kind,
            round(macs),
            round(size),
            compute * 1e3,
            memory * 1e3,
            launches * efficiency.overhead * 1e-3,
        )

    def _arithmetic(self, product: Product, kind: str, scale: float) -> float:
        """Seconds for a convolution or matrix product."""
        macs = product.macs * scale
        efficiency = self.efficiency
        reached = efficiency.conv if kind == 'conv' else efficiency.linear if product.shared else efficiency.attention
        by_matrix = self._tiled(product, scale) / (self.matrix * reached)
        if kind == 'conv' and product.count > 1:
            by_vector = 2 * macs / (self.vector * self.efficiency.depthwise)
            # one output channel for each input channel: no matrix unit can share anything
            return by_vector if product.n == 1 else min(by_vector, by_matrix * _GROUPED)
        return by_matrix

    def _tiled(self, product: Product, scale: float) -> float:
        """Operations of whole blocks, in whole rounds of all processors: the least of all sizes of blocks."""
        rows, count = (product.m * scale, product.count) if product.shared else (product.m, product.count * scale)
        depth = math.ceil(product.k / 16) * 16
        best = math.inf
        for height, width, speed in self.device.tiles:
            blocks = math.ceil(rows / height) * math.ceil(product.n / width) * count
            rounds = math.ceil(blocks / self.device.processors)
            best = min(best, rounds * self.device.processors * height * width * depth * 2 / speed)
        return best
