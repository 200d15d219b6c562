"""The precision of an exported graph: converted in place, compared tensor by tensor, and searched where asked."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx

from ..atomic import atomic_file
from ..errors import DeployError
from .onnx_graph import read_graph
from .precision import (
    Keep,
    PrecisionReport,
    Search,
    compare_precision,
    find_layers_to_keep,
    int8_candidates,
    metric_for,
    plan_half,
    to_bf16,
    to_fp16,
    to_int8,
    weights_out_of_range,
)
from .precision.rules import BF16, FP16

COMPARED, SEARCHED = 1, 4
"""Images that tensors are compared on (their values fill the memory), and that a search is evaluated on."""

SHOWN = 20
"""Tensors in the report, the worst ones."""

SEARCH_TOLERANCE = {'fp16': 0.02, 'bf16': 0.05, 'int8': 0.2}
"""Share of detections or of pixels that may differ, which a search for layers to keep aims at."""

_HALF = {'fp16': (to_fp16, FP16), 'bf16': (to_bf16, BF16)}

Feeds = list[dict[str, np.ndarray]]
Convert = Callable[[onnx.ModelProto, Keep], onnx.ModelProto]
Names = Callable[[onnx.ModelProto, Keep], Sequence[str]]


@dataclasses.dataclass(frozen=True)
class ConvertedPrecision:
    """What became of the graph.

    Attributes:
        summary: What there is to say of it in a line.
        tensors: How far tensors are from the float32 graph; ``None`` where the graph was left as it was.
        search: What a search for layers to keep found.
    """

    summary: str
    tensors: PrecisionReport | None = None
    search: Search | None = None

    def to_dict(self) -> dict:
        """As plain data, with the worst tensors only."""
        found: dict = dict(summary=self.summary)
        if self.tensors is not None:
            report = self.tensors.to_dict()
            found['tensors'] = dict(report, tensors=report['tensors'][:SHOWN], of=len(report['tensors']))
        if self.search is not None:
            found['search'] = dict(
                met=self.search.met,
                error=self.search.error,
                tolerance=self.search.tolerance,
                evaluations=self.search.evaluations,
                added=[dict(block=block.block, reason=block.reason) for block in self.search.added],
            )
        return found


def _converter(precision: str, backend: str, feeds: Feeds) -> tuple[Convert, Names]:
    """What converts a graph but for the layers to keep, and what names the nodes that it converts."""
    if precision == 'int8':

        def quantised(model: onnx.ModelProto, keep: Keep) -> onnx.ModelProto:
            model = to_int8(model, feeds, keep)
            # GPUs are as slow in float32 as they are quick in INT8: what is not quantised is computed in FP16
            return to_fp16(model) if backend.startswith('tensorrt') else model

        return quantised, int8_candidates
    convert, form = _HALF[precision]
    return convert, lambda model, keep: plan_half(model, keep, form).half


def _refuse_overflow(report: PrecisionReport, precision: str) -> None:
    worst = report.overflowing[:5]
    if worst:
        named = '; '.join(f'{tensor.layer} ({tensor.operator}, up to {tensor.largest:.3g})' for tensor in worst)
        raise DeployError(
            f'{len(report.overflowing)} tensors overflow in {precision.upper()}: {named}.',
            expected='values of at most 65504 in FP16',
            fix=f'keep these layers in FP32: --keep {" ".join(tensor.layer for tensor in worst)}; or let --search find '
            'what to keep, or use --precision bf16',
        )


def convert_precision(
    path: Path,
    precision: str,
    *,
    backend: str,
    feeds: Callable[[], Feeds],
    keep: Sequence[str] = (),
    search: bool = False,
) -> ConvertedPrecision:
    """Convert an exported float32 graph, in place.

    Args:
        path: The ONNX file.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``.
        backend: What will run it: OpenVINO computes float32 graphs in BF16 by a setting.
        feeds: Gives inputs made of real images; called only if they are needed.
        keep: Layers that stay in FP32.
        search: Look for further ones until the outputs are close enough.

    Raises:
        ConfigError: If there is no such layer to keep.
        DeployError: If values overflow and no search was asked for.
    """
    if precision == 'fp32' or (precision == 'bf16' and backend == 'openvino'):
        return ConvertedPrecision('the graph as exported' if precision == 'fp32' else 'by a setting of OpenVINO')
    original, given = read_graph(path), feeds()
    kept = Keep(tuple(keep))
    convert, names = _converter(precision, backend, given)
    found = None
    if search:
        found = find_layers_to_keep(
            original,
            given[:SEARCHED],
            metric_for(original),
            tolerance=SEARCH_TOLERANCE[precision],
            keep=kept,
            convert=convert,
            candidates=names,
            progress=True,
        )
        kept = found.keep
    converted = convert(original, kept)
    report = compare_precision(original, converted, given[:COMPARED])
    if not search:
        _refuse_overflow(report, precision)
    with atomic_file(path) as temporary:
        onnx.save(converted, temporary)
    said = [f'{len(names(original, kept))} nodes']
    if precision == 'fp16':
        lossy = [weight for weight in weights_out_of_range(original) if weight.overflowing]
        said += [f'{len(lossy)} weights out of range, kept in FP32'] if lossy else []
    if precision == 'int8':
        said.append(f'calibrated on {len(given)} images')
    if found is not None:
        said.append(f'{len(found.added)} blocks kept in FP32 by the search, error {found.error:.2g}')
    return ConvertedPrecision(', '.join(said), report, found)
