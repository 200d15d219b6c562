"""Search for the layers that must stay in float32 for accurate outputs."""

import dataclasses
from collections.abc import Callable, Sequence

import onnx
from tqdm import tqdm

from .emulation import Feed, run_graph
from .half import plan_half, to_fp16
from .metrics import Metric, metric_for

MAX_EVALUATIONS = 40


@dataclasses.dataclass(frozen=True)
class KeptBlock:
    """Nodes that the search left in float32.

    Attributes:
        block: The module, or the common module of several that were left together.
        nodes: Names of the nodes.
        error: The metric if they are converted as well; None if the evaluations ran out before it was measured.
    """

    block: str
    nodes: tuple[str, ...]
    error: float | None

    @property
    def reason(self) -> str:
        """The reason why they stay, in words."""
        if self.error is None:
            return 'not examined: the number of evaluations was reached'
        return f'converted as well, the error is {self.error:.3g}'


@dataclasses.dataclass(frozen=True)
class Search:
    """The result of a search.

    Attributes:
        nodes_to_exclude: Nodes that stay in float32: those excluded before and those added by the search.
        added: The blocks that the search added, with the reason.
        error: The metric with ``nodes_to_exclude``.
        tolerance: The largest allowed value of the metric.
        evaluations: Number of conversions that were evaluated.
    """

    nodes_to_exclude: tuple[str, ...]
    added: tuple[KeptBlock, ...]
    error: float
    tolerance: float
    evaluations: int

    @property
    def met(self) -> bool:
        """True if the tolerance is met. Even the graph without any conversion may miss it."""
        return self.error <= self.tolerance


def _module(node: str) -> str:
    """The module in the name of a node: ``/backbone/stem/conv/Conv`` -> ``/backbone/stem/conv``. A node at the top
    level is its own block."""
    return node.rpartition('/')[0] or node


def blocks_of(nodes: Sequence[str]) -> list[tuple[str, ...]]:
    """Names of nodes, grouped by module, in the order of their first nodes."""
    found: dict[str, list[str]] = {}
    for node in nodes:
        found.setdefault(_module(node), []).append(node)
    return [tuple(block) for block in found.values()]


def _common(blocks: Sequence[tuple[str, ...]]) -> str:
    parts = [_module(block[0]).split('/') for block in blocks]
    shared = []
    for level in zip(*parts):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return '/'.join(shared) or f'{_module(blocks[0][0])} ... {_module(blocks[-1][0])}'


def half_candidates(model: onnx.ModelProto, nodes_to_exclude: Sequence[str]) -> tuple[str, ...]:
    """The nodes that :func:`~mmtrtvit.deploy.precision.to_fp16` would convert."""
    return plan_half(model, nodes_to_exclude).half


def find_nodes_to_exclude(
    model: onnx.ModelProto,
    feeds: Sequence[Feed],
    metric: Metric | None = None,
    tolerance: float = 1e-2,
    *,
    nodes_to_exclude: Sequence[str] = (),
    convert: Callable[[onnx.ModelProto, Sequence[str]], onnx.ModelProto] = to_fp16,
    candidates: Callable[[onnx.ModelProto, Sequence[str]], Sequence[str]] = half_candidates,
    max_evaluations: int = MAX_EVALUATIONS,
    progress: bool = False,
) -> Search:
    """Bisect the modules of a graph until the outputs of the converted graph meet a tolerance.

    All modules are tried at once. If that fails, each half of them is tried, and so on, always together with the
    modules that were found to be good. The search therefore also sees errors that add up, and its result was itself
    evaluated. Modules stay in float32 when no evaluations are left for them.

    Args:
        model: The float32 graph.
        feeds: Inputs to evaluate on.
        metric: Returns the error from the outputs of the original and the converted graph for all feeds; by default
            the metric that suits the outputs (:func:`~mmtrtvit.deploy.precision.metric_for`).
        tolerance: The largest allowed error.
        nodes_to_exclude: Nodes and modules that stay in float32 in any case.
        convert: Converts the graph, except for the given nodes.
        candidates: Names of the nodes that ``convert`` would convert.
        max_evaluations: Maximum number of conversions to evaluate.
        progress: Show a progress bar.
    """
    metric = metric or metric_for(model)
    names = candidates(model, nodes_to_exclude)
    reference = run_graph(model, feeds)
    accepted: list[tuple[str, ...]] = []
    added: list[KeptBlock] = []
    evaluations = 0

    def excluded(blocks: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
        converted = {name for block in blocks for name in block}
        return (*nodes_to_exclude, *(name for name in names if name not in converted))

    def evaluate(blocks: Sequence[tuple[str, ...]]) -> float:
        nonlocal evaluations
        evaluations += 1
        bar.update()
        return metric(reference, run_graph(convert(model, excluded(blocks)), feeds))

    with tqdm(total=max_evaluations, desc='search nodes to exclude', disable=None if progress else True) as bar:
        error = None
        queue = [blocks_of(names)] if names else []
        while queue:
            group = queue.pop()
            if evaluations >= max_evaluations:
                nodes = tuple(name for block in group for name in block)
                added.append(KeptBlock(_common(group), nodes, None))
                continue
            tried = evaluate([*accepted, *group])
            if tried <= tolerance:
                accepted.extend(group)
                error = tried
            elif len(group) == 1:
                added.append(KeptBlock(_common(group), group[0], tried))
            else:
                middle = len(group) // 2
                queue += [group[middle:], group[:middle]]
            bar.set_postfix(converted=len(accepted), kept=len(added))
        if error is None:
            error = metric(reference, run_graph(convert(model, excluded([])), feeds))
    return Search(excluded(accepted), tuple(added), error, tolerance, evaluations)
