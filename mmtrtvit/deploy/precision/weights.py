"""The effect of half precision on weights."""

import dataclasses

import numpy as np
import onnx

from .graph import initializers, prepare, readers
from .rules import FP16, HalfFormat


def fits(values: np.ndarray, form: HalfFormat = FP16) -> bool:
    """True if an initialiser can be stored: no value overflows, and some nonzero value keeps its full precision.

    Infinity is preserved. A scalar such as an epsilon of 1e-12, which would become 0, does not fit.
    """
    size = np.abs(values[np.isfinite(values) & (values != 0)])
    return size.size == 0 or bool(size.max() <= form.largest and size.max() >= form.normal)


@dataclasses.dataclass(frozen=True)
class WeightRange:
    """An initialiser with values that half precision cannot represent.

    Attributes:
        name: Name of the initialiser.
        nodes: Names of the nodes that read it.
        size: Number of values.
        largest: Largest finite magnitude.
        overflowing: Number of values above the largest value of the format.
        subnormal: Number of values that lose digits because they are subnormal in the format.
        flushed: Number of values that become 0.
    """

    name: str
    nodes: tuple[str, ...]
    size: int
    largest: float
    overflowing: int
    subnormal: int
    flushed: int


def weights_out_of_range(model: onnx.ModelProto, form: HalfFormat = FP16) -> list[WeightRange]:
    """The float32 initialisers with values that overflow, lose digits or become 0, worst first.

    :func:`~mmtrtvit.deploy.precision.to_half` leaves the readers of those that do not fit as float32 nodes. The
    others are rounded, because a small weight beside large ones hardly matters.
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
