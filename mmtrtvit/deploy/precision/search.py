"""Finding the layers that have to stay in float32 for the outputs to be right."""

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
        block: The module, or the nodes' common module where several were left together.
        nodes: Names of the nodes.
        error: The metric with them converted as well, or None where the evaluations ended before that was known.
    """

    block: str
    nodes: tuple[str, ...]
    error: float | None

    @property
    def reason(self) -> str:
        """Why they stay, in words."""
        if self.error is None:
            return 'not examined: the number of evaluations was reached'
        return f'converted as well, the error is {self.error:.3g}'


@dataclasses.dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        nodes_to_exclude: What stays in float32: what was asked for before, and what the search added.
        added: The blocks that the search added, with the reason.
        error: The metric with ``nodes_to_exclude``.
        tolerance: What it was to be at most.
        evaluations: How many conversions were evaluated.
    """

    nodes_to_exclude: tuple[str, ...]
    added: tuple[KeptBlock, ...]
    error: float
    tolerance: float
    evaluations: int

    @property
    def met(self) -> bool:
        """Whether the tolerance is met. It is not if even the graph without any conversion misses it."""
        return self.error <= self.tolerance


def _module(node: str) -> str:
    """The module of a node by its name, ``/backbone/stem/conv/Conv`` -> ``/backbone/stem/conv``; a node at the top
    level is a block of its own."""
    return node.rpartition('/')[0] or node


def blocks_of(nodes: Sequence[str]) -> list[tuple[str, ...]]:
    """Names of nodes grouped by module, in the order of their first nodes."""
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
    """Bisect on the modules of a graph until the outputs of the converted graph meet a tolerance.

    All modules are tried at once; where that fails, each half of them, and so on, always on top of those that were
    found to be good already. So errors that only add up are seen as well, and the result was itself evaluated.
    Modules for which no evaluations are left stay in float32.

    Args:
        model: The float32 graph.
        feeds: Inputs to evaluate on.
        metric: Takes the outputs of the original and of the converted graph for all feeds, gives the error; by
            default the one that fits the outputs (:func:`~mmtrtvit.deploy.precision.metric_for`).
        tolerance: The error allowed.
        nodes_to_exclude: Nodes and modules that stay in float32 in any case.
        convert: Converts the graph, but not the nodes that it is told to exclude.
        candidates: The names of the nodes that ``convert`` would convert.
        max_evaluations: How many conversions to evaluate at most.
        progress: Show a bar.
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

    with tqdm(total=max_evaluations, desc='search nodes to exclude', disable=not progress) as bar:
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
