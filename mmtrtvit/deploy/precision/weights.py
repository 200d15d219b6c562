"""What becomes of weights in half precision."""

import dataclasses

import numpy as np
import onnx

from .graph import initializers, prepare, readers
from .rules import FP16, HalfFormat


def fits(values: np.ndarray, form: HalfFormat = FP16) -> bool:
    """Whether an initialiser can be stored: nothing overflows, and not all that is not 0 loses its digits.

    Infinity stays what it is. A scalar such as an epsilon of 1e-12, which would become 0, does not fit.
    """
    size = np.abs(values[np.isfinite(values) & (values != 0)])
    return size.size == 0 or bool(size.max() <= form.largest and size.max() >= form.normal)


@dataclasses.dataclass(frozen=True)
class WeightRange:
    """An initialiser with values that half precision cannot hold as they are.

    Attributes:
        name: Of the initialiser.
        nodes: Names of the nodes that read it.
        size: Number of values.
        largest: Largest magnitude among the finite values.
        overflowing: Values beyond the largest one of the format.
        subnormal: Values that lose digits, as they lie below the smallest normal one.
        flushed: Values that become 0.
    """

    name: str
    nodes: tuple[str, ...]
    size: int
    largest: float
    overflowing: int
    subnormal: int
    flushed: int


def weights_out_of_range(model: onnx.ModelProto, form: HalfFormat = FP16) -> list[WeightRange]:
    """The float32 initialisers with values that overflow, lose digits or vanish, the worst first.

    :func:`~mmtrtvit.deploy.precision.to_half` keeps the readers of those that do not fit in float32; the others are
    rounded: a small weight beside large ones is noise.
    """
    model = prepare(model)
    read_by = readers(model)
    found = []
    for name, values in initializers(model).items():
        if values.dtype != np.float32:
            continue
        size = np.abs(values[np.isfinite(values) & (values != 0)])
        with np.errstate(over='ignore'):
            flushed = int((size.astype(form.dtype) == 0).sum())
        counts = int((size > form.largest).sum()), int((size < form.normal).sum()) - flushed, flushed
        if any(counts):
            nodes = tuple(node.name for node in read_by[name])
            found.append(WeightRange(name, nodes, values.size, float(size.max()), *counts))
    return sorted(found, key=lambda weight: (weight.overflowing, weight.flushed, weight.subnormal), reverse=True)
