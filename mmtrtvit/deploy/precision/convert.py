"""Conversion of an exported graph to a precision, in place, with a comparison and an optional search."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx

from ...atomic import atomic_file
from ...errors import ConfigError, DeployError
from ...runtime.backends import BACKENDS
from ...runtime.precisions import PRECISIONS
from ..export.onnx_graph import read_graph
from . import (
    PrecisionReport,
    Search,
    compare_precision,
    find_nodes_to_exclude,
    int8_candidates,
    metric_for,
    plan_half,
    weights_out_of_range,
)
from .calibration import calibrate
from .emulation import Feed
from .graph import prepare
from .half import to_half
from .int8 import quantise, quantised_tensors
from .rules import FORMATS

COMPARED, SEARCHED = 4, 4
"""Number of images for the comparison of tensors, which also looks for overflow, and for the search."""

SHOWN = 20
"""Number of tensors in the report, the worst ones."""

ROUNDS = 5
"""Attempts to keep overflowing layers before the search gives up: the overflow may move to the next layer each time."""

_OVERFLOW = 'its values, or those that it reads, overflow'

Convert = Callable[[onnx.ModelProto, Sequence[str]], onnx.ModelProto]
NodeNames = Callable[[onnx.ModelProto, Sequence[str]], Sequence[str]]


@dataclasses.dataclass(frozen=True)
class ConvertedPrecision:
    """The result of a precision conversion.

    Attributes:
        summary: Summary in one line.
        tensors: Comparison with the float32 graph; ``None`` if the graph was not changed.
        search: Result of the search for nodes to exclude.
        overflowing: Layers that the search kept from the start, because they compute or read values that overflow.
    """

    summary: str
    tensors: PrecisionReport | None = None
    search: Search | None = None
    overflowing: tuple[str, ...] = ()

    def to_dict(self) -> dict:
        """The result as plain data, with the worst tensors only."""
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
                added=[
                    *(dict(block=layer, reason=_OVERFLOW) for layer in self.overflowing),
                    *(dict(block=block.block, reason=block.reason) for block in self.search.added),
                ],
            )
        return found


def needs_conversion(precision: str, backend: str) -> bool:
    """True if the exported graph has to be changed. Some backends compute float32 graphs in BF16 by a setting."""
    return precision != 'fp32' and precision not in BACKENDS[backend].precisions_by_setting


def check_exclusion(precision: str, backend: str, nodes_to_exclude: Sequence[str], search: bool) -> None:
    """Check that nodes can be excluded, which requires a conversion.

    Raises:
        ConfigError: If nodes are to be excluded but the graph is not converted.
    """
    asked = [f'--nodes-to-exclude {" ".join(nodes_to_exclude)}'] if nodes_to_exclude else []
    asked += ['--search'] if search else []
    if asked and not needs_conversion(precision, backend):
        raise ConfigError(
            f'{" and ".join(asked)} with --backend {backend} --precision {precision}, where no layer is converted.',
            expected='a precision that changes the graph',
            fix='leave it out, or choose another precision',
        )


def _converter(
    precision: str,
    backend: str,
    feeds: Sequence[Feed],
    model: onnx.ModelProto,
    nodes_to_exclude: Sequence[str],
    calibration: str,
) -> tuple[Convert, NodeNames]:
    """Two functions: one converts the graph ``model``, the other names the nodes that the first one converts.

    Args:
        nodes_to_exclude: Nodes that stay in float32. Other nodes that are not quantised to INT8 may become FP16.
    """
    if precision == 'int8':
        prepared, form = prepare(model), BACKENDS[backend].int8
        tensors = quantised_tensors(prepared, int8_candidates(prepared, nodes_to_exclude), form)
        ranges = calibrate(prepared, tensors, feeds, calibration)

        def quantised(model: onnx.ModelProto, excluded: Sequence[str]) -> onnx.ModelProto:
            model = quantise(model, int8_candidates(model, excluded), ranges, form)
            return model if form.beside == 'fp32' else to_half(model, nodes_to_exclude, FORMATS[form.beside])

        return quantised, int8_candidates
    form = FORMATS[precision]
    return (
        lambda model, excluded: to_half(model, excluded, form),
        lambda model, excluded: plan_half(model, excluded, form).half,
    )


def _overflowing_layers(report: PrecisionReport, model: onnx.ModelProto) -> list[str]:
    """The layers with values that overflow, and the layers that read them and would convert them to half again."""
    tensors = {tensor.tensor for tensor in report.overflowing}
    found = [tensor.layer for tensor in report.overflowing]
    found += [node.name for node in prepare(model).graph.node if tensors.intersection(node.input)]
    return list(dict.fromkeys(found))


def _refuse_overflow(report: PrecisionReport, model: onnx.ModelProto, precision: str) -> None:
    worst = report.overflowing[:5]
    if worst:
        named = '; '.join(
            f'{tensor.layer} ({tensor.operator}, {tensor.dtype}, up to {tensor.largest:.3g})' for tensor in worst
        )
        others = '' if precision == 'bf16' else ', or use --precision bf16'
        raise DeployError(
            f'{len(report.overflowing)} tensors overflow in {precision.upper()}: {named}.',
            expected='values of at most 65504 in FP16',
            fix=f'leave these in FP32: --nodes-to-exclude {" ".join(_overflowing_layers(report, model))}; '
            f'or let --search find them{others}',
        )


def convert_precision(
    path: Path,
    precision: str,
    *,
    backend: str,
    feeds: Callable[[], Sequence[Feed]],
    nodes_to_exclude: Sequence[str] = (),
    search: bool = False,
    calibration: str = 'minmax',
) -> ConvertedPrecision:
    """Convert an exported float32 graph, in place.

    Args:
        path: The ONNX file.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``.
        backend: The backend that will run it, a key of :data:`~mmtrtvit.runtime.backends.BACKENDS`.
        feeds: Returns inputs made from real images. Called only if they are needed.
        nodes_to_exclude: Nodes and modules that stay in FP32.
        search: Search for more of them until the outputs are close enough.
        calibration: Method for the ranges of INT8, see :data:`~mmtrtvit.deploy.precision.calibration.METHODS`.

    Raises:
        ConfigError: If a node to exclude does not exist, or the graph is not converted at all.
        DeployError: If values overflow.
    """
    check_exclusion(precision, backend, nodes_to_exclude, search)
    if precision == 'fp32':
        return ConvertedPrecision('the graph as exported')
    original, given = read_graph(path), feeds()
    excluded = tuple(nodes_to_exclude)
    if not needs_conversion(precision, backend):
        report = compare_precision(original, to_half(original, form=FORMATS[precision]), given[:COMPARED])
        return ConvertedPrecision(f'by a setting of {BACKENDS[backend].title}', report)
    convert, names = _converter(precision, backend, given, original, excluded, calibration)
    found, overflowing = None, ()
    if search:
        for _ in range(ROUNDS):
            layers = _overflowing_layers(
                compare_precision(original, convert(original, excluded), given[:COMPARED]), original
            )
            if not layers:
                break
            overflowing = tuple(dict.fromkeys((*overflowing, *layers)))
            excluded = (*nodes_to_exclude, *overflowing)
            convert, names = _converter(precision, backend, given, original, excluded, calibration)
        found = find_nodes_to_exclude(
            original,
            given[:SEARCHED],
            metric_for(original),
            tolerance=PRECISIONS[precision].search_error,
            nodes_to_exclude=excluded,
            convert=convert,
            candidates=names,
            progress=True,
        )
        excluded = found.nodes_to_exclude
    converted = convert(original, excluded)
    report = compare_precision(original, converted, given[:COMPARED])
    _refuse_overflow(report, original, precision)
    with atomic_file(path) as temporary:
        onnx.save(converted, temporary)
    said = [f'{len(names(original, excluded))} nodes']
    if precision == 'fp16':
        lossy = [weight for weight in weights_out_of_range(original) if weight.overflowing]
        said += [f'{len(lossy)} weights out of range, kept in FP32'] if lossy else []
    if precision == 'int8':
        said.append(f'calibrated on {len(given)} images')
    if found is not None:
        said.append(f'{len(found.added) + len(overflowing)} blocks kept in FP32 by the search, error {found.error:.2g}')
    return ConvertedPrecision(', '.join(said), report, found, overflowing)
