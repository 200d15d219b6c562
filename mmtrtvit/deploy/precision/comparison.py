"""Comparing a graph in another precision with its float32 original, tensor by tensor."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto
from tqdm import tqdm

from .emulation import HALF_TYPES, Feed, chunks_of, emulate, run_tensors
from .graph import element_types, layers, prepare
from .rules import FP16

EMULATED = (
    'Half precision is emulated on the CPU: computed in float32, every half-precision tensor rounded to its type. '
    'Accumulators and fused operators of a GPU are not. Overflow is found in the float32 original and is exact.'
)

SELECTIONS = ('TopK', 'NonMaxSuppression', 'NonZero')
"""Operators that select by the order of values."""


@dataclasses.dataclass
class TensorDifference:
    """Difference of one tensor from the float32 original, over all feeds.

    Attributes:
        layer: Name of the node that produces it.
        operator: Operator of that node.
        tensor: Name of the tensor.
        dtype: Its type in the converted graph.
        largest: Largest magnitude in the float32 original.
        max_error: Largest absolute difference of values that are finite in both.
        max_relative: The largest difference over the largest magnitude.
        mean_relative: The mean difference over the mean magnitude.
        snr_db: Signal-to-noise ratio, dB; infinite if both are equal.
        overflow: Number of values beyond the range of FP16 in the original, if the converted tensor is FP16.
        not_finite: Number of values that are finite in the original, but not in the converted graph.
        comparable: Whether values can be compared one by one. They cannot if the shapes differ, or behind a selection,
            which may choose other boxes or another order.
    """

    layer: str
    operator: str
    tensor: str
    dtype: str
    largest: float = 0.0
    max_error: float = 0.0
    max_relative: float = 0.0
    mean_relative: float = 0.0
    snr_db: float = math.inf
    overflow: int = 0
    not_finite: int = 0
    comparable: bool = True


@dataclasses.dataclass(frozen=True)
class PrecisionReport:
    """Per-tensor comparison of a converted graph with its original.

    Attributes:
        tensors: The tensors in another precision, the results of layers, and the outputs. The worst come first:
            overflow, then noise, then those that cannot be compared.
        feeds: Number of inputs compared.
        method: Description of the emulation and its limits.
    """

    tensors: tuple[TensorDifference, ...]
    feeds: int
    method: str = EMULATED

    @property
    def overflowing(self) -> tuple[TensorDifference, ...]:
        """The tensors with values that overflow."""
        return tuple(tensor for tensor in self.tensors if tensor.overflow or tensor.not_finite)

    def to_dict(self) -> dict:
        """The report as plain data."""
        return dataclasses.asdict(self)


class _Sums:
    """Running sums for the figures of one tensor."""

    def __init__(self) -> None:
        self.count = self.overflow = self.not_finite = 0
        self.largest = self.worst = self.signal = self.noise = self.magnitude = self.error = 0.0
        self.comparable = True

    def add_range(self, ours: np.ndarray) -> None:
        finite = np.abs(ours[np.isfinite(ours)])
        self.largest = max(self.largest, float(finite.max(initial=0.0)))
        self.overflow += int((finite > FP16.largest).sum())

    def add(self, ours: np.ndarray, theirs: np.ndarray) -> None:
        self.not_finite += int((np.isfinite(ours) & ~np.isfinite(theirs)).sum()) if ours.shape == theirs.shape else 0
        if ours.shape != theirs.shape:
            self.comparable = False
            return
        both = np.isfinite(ours) & np.isfinite(theirs)
        ours, theirs = ours[both].astype(np.float64), theirs[both].astype(np.float64)
        gap = np.abs(ours - theirs)
        self.count += gap.size
        self.worst = max(self.worst, float(gap.max(initial=0.0)))
        self.signal += float((ours**2).sum())
        self.noise += float((gap**2).sum())
        self.magnitude += float(np.abs(ours).sum())
        self.error += float(gap.sum())

    def write_to(self, tensor: TensorDifference, is_fp16: bool) -> None:
        tiny = np.finfo(np.float64).tiny
        tensor.largest, tensor.max_error = self.largest, self.worst
        tensor.max_relative = self.worst / max(self.largest, tiny) if self.worst else 0.0
        tensor.mean_relative = self.error / max(self.magnitude, tiny) if self.error else 0.0
        tensor.snr_db = 10 * math.log10(max(self.signal, tiny) / self.noise) if self.noise else math.inf
        tensor.overflow = self.overflow if is_fp16 else 0
        tensor.not_finite, tensor.comparable = self.not_finite, self.comparable


def _compared(reference: onnx.ModelProto, converted: onnx.ModelProto) -> dict[str, tuple[str, int]]:
    """Tensor of the reference to the matching tensor of the converted graph and its type."""
    types, known = element_types(converted), element_types(reference)
    makers = {name: node for node in converted.graph.node for name in node.output}
    found: dict[str, tuple[str, int]] = {}

    def add(name: str, other: str) -> None:
        if known.get(name) == TensorProto.FLOAT and name in results:
            found.setdefault(name, (other, types[other]))

    results = {name for node in reference.graph.node for name in node.output}
    for node in converted.graph.node:
        for name in node.output:
            if types.get(name) not in HALF_TYPES:
                continue
            if node.op_type == 'Cast' and name not in results:
                add(node.input[0], name)  # a float32 result that other nodes read in half precision
            else:
                add(name, name)
    for node in layers(reference):
        for name in node.output:
            if name in types:
                add(name, name)
    for value in reference.graph.output:
        maker = makers.get(value.name)
        source = maker.input[0] if maker is not None and maker.op_type == 'Cast' else value.name
        add(value.name, source if types.get(source) in HALF_TYPES else value.name)
    return found


def _selected(model: onnx.ModelProto) -> set[str]:
    """Tensors that depend on a selection."""
    found: set[str] = set()
    for node in model.graph.node:
        if node.op_type in SELECTIONS or found.intersection(node.input):
            found.update(node.output)
    return found


def compare_precision(
    reference: onnx.ModelProto,
    converted: onnx.ModelProto,
    feeds: Sequence[Feed],
    *,
    budget: int = 2**29,
    progress: bool = False,
) -> PrecisionReport:
    """Compare a graph in FP16, BF16 or INT8 with its float32 original on the same inputs, tensor by tensor.

    Args:
        reference: The float32 graph.
        converted: The converted graph, for example the result of :func:`~mmtrtvit.deploy.precision.to_fp16`.
        feeds: Inputs, such as preprocessed real images.
        budget: Bytes of tensors of each graph to hold at a time. Both graphs run once for each such group.
        progress: Show a progress bar.
    """
    reference, emulated = prepare(reference), emulate(converted)
    pairs = _compared(reference, converted)
    makers = {name: node for node in reference.graph.node for name in node.output}
    sums = {name: _Sums() for name in pairs}
    with tqdm(total=len(pairs) * len(feeds), desc='compare tensors', disable=None if progress else True) as bar:
        for names in chunks_of(reference, list(pairs), feeds, budget):
            ours = run_tensors(reference, names, feeds)
            theirs = run_tensors(emulated, [pairs[name][0] for name in names], feeds)
            for arrays, others in zip(ours, theirs, strict=True):
                for name, array, other in zip(names, arrays, others, strict=True):
                    sums[name].add_range(array)
                    sums[name].add(array, other)
                    bar.update()
    tensors, selected = [], _selected(reference)
    for name, (_, onnx_type) in pairs.items():
        node = makers[name]
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(onnx_type)).name
        tensor = TensorDifference(layer=node.name, operator=node.op_type, tensor=name, dtype=dtype)
        sums[name].write_to(tensor, is_fp16=onnx_type == TensorProto.FLOAT16)
        tensor.comparable = tensor.comparable and name not in selected
        tensors.append(tensor)
    tensors.sort(key=lambda tensor: (-(tensor.overflow + tensor.not_finite), not tensor.comparable, tensor.snr_db))
    return PrecisionReport(tuple(tensors), len(feeds))
