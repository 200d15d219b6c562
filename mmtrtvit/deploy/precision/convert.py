"""The precision of an exported graph: converted in place, compared tensor by tensor, and searched where asked."""

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
from .int8 import quantise
from .rules import FORMATS

COMPARED, SEARCHED = 4, 4
"""Images that tensors are compared on, overflow looked for among them, and that a search is evaluated on."""

SHOWN = 20
"""Tensors in the report, the worst ones."""

ROUNDS = 5
"""How often layers are kept that overflow, before a search gives up: a value is passed on to the next layer."""

_OVERFLOW = 'its values, or those that it reads, overflow'

Convert = Callable[[onnx.ModelProto, Sequence[str]], onnx.ModelProto]
NodeNames = Callable[[onnx.ModelProto, Sequence[str]], Sequence[str]]


@dataclasses.dataclass(frozen=True)
class ConvertedPrecision:
    """What became of the graph.

    Attributes:
        summary: What there is to say of it in a line.
        tensors: How far tensors are from the float32 graph; ``None`` where the graph was left as it was.
        search: What a search for nodes to exclude found.
        overflowing: Layers that the search kept at once, as values overflow in them or in what they read.
    """

    summary: str
    tensors: PrecisionReport | None = None
    search: Search | None = None
    overflowing: tuple[str, ...] = ()

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
                added=[
                    *(dict(block=layer, reason=_OVERFLOW) for layer in self.overflowing),
                    *(dict(block=block.block, reason=block.reason) for block in self.search.added),
                ],
            )
        return found


def needs_conversion(precision: str, backend: str) -> bool:
    """Whether the exported graph is changed: some backends compute float32 graphs in BF16 by a setting."""
    return precision != 'fp32' and precision not in BACKENDS[backend].precisions_by_setting


def check_exclusion(precision: str, backend: str, nodes_to_exclude: Sequence[str], search: bool) -> None:
    """Make sure that there is a conversion that nodes can be left out of.

    Raises:
        ConfigError: If nodes are to be excluded where no graph is converted.
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
    """Two functions: the conversion of the graph ``model``, and the names of the nodes that it converts.

    Args:
        nodes_to_exclude: Nodes that stay in float32; others that are left out of INT8 may be FP16.
    """
    if precision == 'int8':
        prepared = prepare(model)
        inputs = {node.name: node.input[0] for node in prepared.graph.node}
        ranges = calibrate(
            prepared, (inputs[name] for name in int8_candidates(prepared, nodes_to_exclude)), feeds, calibration
        )

        def quantised(model: onnx.ModelProto, excluded: Sequence[str]) -> onnx.ModelProto:
            model = quantise(model, int8_candidates(model, excluded), ranges)
            beside = BACKENDS[backend].int8_beside
            return model if beside == 'fp32' else to_half(model, nodes_to_exclude, FORMATS[beside])

        return quantised, int8_candidates
    form = FORMATS[precision]
    return (
        lambda model, excluded: to_half(model, excluded, form),
        lambda model, excluded: plan_half(model, excluded, form).half,
    )


def _overflowing_layers(report: PrecisionReport, model: onnx.ModelProto) -> list[str]:
    """The layers whose values overflow, and those that read them: they would get them in half precision again."""
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
        backend: What will run it, a key of :data:`~mmtrtvit.runtime.backends.BACKENDS`.
        feeds: Gives inputs made of real images; called only if they are needed.
        nodes_to_exclude: Nodes and modules that stay in FP32.
        search: Look for further ones until the outputs are close enough.
        calibration: How ranges are chosen for INT8, see :data:`~mmtrtvit.deploy.precision.calibration.METHODS`.

    Raises:
        ConfigError: If there is no such node, or none is converted.
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
