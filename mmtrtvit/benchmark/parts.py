"""Where the time of an exported network goes: profiles of ONNX Runtime and OpenVINO, added up by its parts.

Exported graphs keep the names of modules: ``/neck/fpn_convs.0/conv/Conv`` belongs to the neck. What a network does
outside of its modules, such as the selection of boxes, has no such name. It belongs to the part whose outputs it is
made from.
"""

import dataclasses
import json
import math
import os
import re
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch.nn as nn

from ..errors import DeployError
from ..models import PyramidBackbone
from ..runtime.backends import BACKENDS
from ..runtime.backends.onnxruntime import OnnxRuntimeSession
from ..runtime.backends.openvino import OpenVinoSession

INPUT = 'input'
"""The part that reads the input alone, before any module."""

PRODUCTS = ('Conv', 'ConvTranspose', 'MatMul', 'Gemm')
"""Operators whose multiply-accumulates are counted."""

_KERNEL = '_kernel_time'
"""Suffix of a kernel's event in a profile of ONNX Runtime."""


class Kernel(NamedTuple):
    """A kernel of a backend.

    Attributes:
        names: Names that may be those of nodes or tensors of the ONNX graph, the best first.
        operator: Operator, as the backend names it.
        ms: Its time: the median over the runs.
    """

    names: tuple[str, ...]
    operator: str
    ms: float


@dataclasses.dataclass
class Part:
    """A part of a network.

    Attributes:
        ms: Time of its kernels.
        macs: Its multiply-accumulates: those of its convolutions and matrix products.
        operators: Operator, as the backend names it, to its time; the longest first.
    """

    ms: float = 0.0
    macs: int = 0
    operators: dict[str, float] = dataclasses.field(default_factory=dict)


def module_of(name: str) -> str:
    """The outermost module in the name of a node, without its number; empty outside of all modules.

    ``/neck/fpn_convs.0/conv/Conv`` is in ``neck``, ``/lateral_convs.0/conv/Conv`` in ``lateral_convs``, and ``/TopK``
    in none.
    """
    first, *inner = name.strip('/').split('/')
    return re.sub(r'\.\d.*', '', first) if name.startswith('/') and inner else ''


_STAGE, _BLOCK = re.compile(r'stages[._](\d+)'), re.compile(r'(?:stages\.\d+|blocks)\.(\d+)')

_OTHERS = {'stem': re.compile(r'/stem[._/]'), 'outputs': re.compile(r'/(?:output_norms|final_norm|[A-Z]\w*$)')}
"""Nodes that are in no stage: those of the stem, and those of the backbone itself, which makes its outputs."""


def block_of(name: str) -> str:
    """The part of a backbone in the name of a node.

    Returns:
        ``'stem'``, ``'stage 1.0'`` (the first block of the first stage), ``'stage 2'`` (layers of timm's that stand
        before its blocks) or ``'outputs'`` (norms and layout of the maps that are returned); empty if it tells none.
    """
    name = name.removeprefix('/backbone')
    if stage := _STAGE.search(name):
        block = _BLOCK.search(name)
        return f'stage {int(stage[1]) + 1}' + (f'.{block[1]}' if block else '')
    return next((part for part, begins in _OTHERS.items() if begins.match(name)), '')


def parts_of(model: onnx.ModelProto, module: Callable[[str], str] = module_of) -> dict[str, str]:
    """The part of each node of a graph.

    Args:
        model: The exported graph. Its nodes are in the order in which they can run.
        module: The part that the name of a node says; empty if it says none. Such a node belongs to the part
            ``after ...``, named for the last part among those that it is made from, or to :data:`INPUT`.

    Returns:
        Name of a node, or of a tensor that it makes, to its part.
    """
    found: dict[str, str] = {}
    reached: dict[str, tuple[int, str]] = {}  # tensor to the last node with a module that it is made from
    for number, node in enumerate(model.graph.node):
        part = module(node.name)
        last = max((reached[name] for name in node.input if name in reached), default=(-1, ''))
        if part:
            last = number, part
        else:
            part = f'after {last[1]}' if last[1] else INPUT
        for name in filter(None, (*node.output, node.name)):
            found[name] = part
            reached[name] = last
    return found


class _Finder:
    """Finds the part of a kernel by names that a backend gave it.

    Args:
        model: The exported graph.
        module: As in :func:`parts_of`.
    """

    def __init__(self, model: onnx.ModelProto, module: Callable[[str], str]) -> None:
        self.parts = parts_of(model, module)
        self._nodes = {name: node for node in model.graph.node for name in (*node.output, node.name) if name}

    def part(self, names: tuple[str, ...], operator: str) -> str | None:
        """The part of the first name that the graph knows, perhaps without what a backend has appended to it."""
        for name in names:
            name = name.removeprefix('fused ')
            while name and name not in self.parts:
                name = name[: max(name.rfind(mark) for mark in '/_')] if re.search('.[/_]', name) else ''
            if name:
                return self.parts[self._product(name) if operator in PRODUCTS else name]
        return None

    def _product(self, name: str) -> str:
        """The convolution or matrix product that a node ends: a backend may name both by the last."""
        last = name
        while (node := self._nodes.get(last)) is not None:
            if node.op_type in PRODUCTS:
                return node.output[0]
            last = node.input[0] if node.input else ''
        return name


# --- profiles ---------------------------------------------------------------------------------------------------------


def _events(path: str | os.PathLike, feeds: Mapping[str, np.ndarray], runs: int, **options) -> list[dict]:
    """Events of the kernels of ONNX Runtime, in the order in which they ran."""
    with tempfile.TemporaryDirectory() as folder:
        session = OnnxRuntimeSession(path, profile=os.path.join(folder, 'profile'), **options)
        for _ in range(runs):
            session.run(feeds)
        events = json.loads(Path(session.end_profile()).read_text(encoding='utf-8'))
    return [event for event in events if event.get('cat') == 'Node' and event['name'].endswith(_KERNEL)]


def _onnxruntime(path: str | os.PathLike, feeds: Mapping[str, np.ndarray], runs: int, **options) -> list[Kernel]:
    times, operators = defaultdict(list), {}
    for event in _events(path, feeds, runs + 1, **options):
        key = event['name'].removesuffix(_KERNEL), event['args'].get('node_index')
        times[key].append(event['dur'] / 1e3)
        operators[key] = event['args']['op_name']
    return [Kernel(key[:1], operators[key], statistics.median(values[1:] or values)) for key, values in times.items()]


def _openvino(path: str | os.PathLike, feeds: Mapping[str, np.ndarray], runs: int, **options) -> list[Kernel]:
    session = OpenVinoSession(path, profile=True, **options)
    times, operators = defaultdict(list), {}
    for number in range(runs + 1):
        for name, operator, ms in session.profiled(feeds):
            operators[name] = operator
            if number:
                times[name].append(ms)
    joined = session.joined_nodes()
    return [
        Kernel((*joined.get(name, ()), name), operators[name], statistics.median(values))
        for name, values in times.items()
    ]


_PROFILES = {'onnxruntime': _onnxruntime, 'openvino': _openvino}
"""Backends that can be profiled."""


# --- multiply-accumulates ---------------------------------------------------------------------------------------------


def _macs(operator: str, inputs: list[list[int]], output: list[int]) -> int:
    """Multiply-accumulates of a node, from the shapes of its inputs and its output."""
    if operator == 'Conv':
        return math.prod(output) * math.prod(inputs[1][1:])
    if operator == 'ConvTranspose':
        return math.prod(inputs[0]) * math.prod(inputs[1][1:])
    if operator == 'MatMul':
        return math.prod(output) * inputs[0][-1]
    return math.prod(inputs[0]) * output[-1] if operator == 'Gemm' else 0


def count_macs(path: str | os.PathLike, feeds: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Multiply-accumulates of each node of an ONNX file, on these inputs.

    The graph runs once in ONNX Runtime as it is, since some shapes depend on what is found in an image.

    Args:
        path: The ONNX file.
        feeds: Name to array for every input.
    """
    found: dict[str, int] = defaultdict(int)
    for event in _events(path, feeds, 1, optimise=False):
        about = event['args']
        if about['op_name'] in PRODUCTS:
            inputs = [next(iter(shape.values())) for shape in about['input_type_shape']]
            output = next(iter(about['output_type_shape'][0].values()))
            found[event['name'].removesuffix(_KERNEL)] += _macs(about['op_name'], inputs, output)
    return dict(found)


# --- both -------------------------------------------------------------------------------------------------------------


def profile_parts(
    backend: str,
    path: str | os.PathLike,
    exported: str | os.PathLike,
    feeds: Mapping[str, np.ndarray],
    *,
    runs: int = 5,
    module: Callable[[str], str] = module_of,
    **options,
) -> dict[str, Part]:
    """Time and multiply-accumulates of each part of an exported network.

    Args:
        backend: ``'onnxruntime'`` or ``'openvino'``.
        path: The file that it runs.
        exported: The ONNX file behind it.
        feeds: Name to array for every input.
        runs: Runs whose median counts, after one that does not.
        module: As in :func:`parts_of`.
        options: Options of the session, such as ``threads``.

    Returns:
        Name of a part to its cost, in the order of the graph. The sum of the times is a little below the latency: the
        time between kernels is missing.

    Raises:
        DeployError: If this backend cannot be profiled here.
    """
    if backend not in _PROFILES:
        raise DeployError(
            f'{BACKENDS[backend].title} cannot be profiled by parts.',
            expected=' or '.join(BACKENDS[name].title for name in _PROFILES),
            fix='measure it without --parts',
        )
    finder = _Finder(onnx.load(exported, load_external_data=False), module)
    found = {part: Part() for part in finder.parts.values()}
    current = next(iter(found))
    for kernel in _PROFILES[backend](path, feeds, runs, **options):
        # a kernel that the graph does not know converts what the one before it made
        current = finder.part(kernel.names, kernel.operator) or current
        part = found[current]
        part.ms += kernel.ms
        part.operators[kernel.operator] = part.operators.get(kernel.operator, 0.0) + kernel.ms
    for name, macs in count_macs(exported, feeds).items():
        found[finder.part((name,), 'Conv') or current].macs += macs
    for part in found.values():
        part.operators = dict(sorted(part.operators.items(), key=lambda entry: -entry[1]))
    return {name: part for name, part in found.items() if part.ms or part.macs}


def module_times(network: nn.Module, run: Callable[[], object]) -> dict[str, float] | None:
    """Time of the stem and the blocks of a backbone in PyTorch, and of everything after them.

    Args:
        network: The network; only backbones of this package tell their parts.
        run: Runs it once.

    Returns:
        Medians, milliseconds; None for any other network.
    """
    if not isinstance(network, PyramidBackbone):
        return None
    modules = {'stem': network.stem}
    for number, stage in enumerate(network.stages, start=1):
        modules.update({f'stage {number}.{place}': block for place, block in enumerate(stage)})
    began: dict[str, float] = {}
    spent: dict[str, float] = {}
    hooks = []
    for name, module in modules.items():
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: began.update({name: time.perf_counter()})))
        hooks.append(
            module.register_forward_hook(lambda *_, name=name: spent.update({name: time.perf_counter() - began[name]}))
        )
    runs = []
    try:
        for _ in range(5):
            start = time.perf_counter()
            run()
            whole = time.perf_counter() - start
            found = {name: seconds * 1e3 for name, seconds in spent.items()}
            runs.append({**found, 'outputs': whole * 1e3 - sum(found.values())})
    finally:
        for hook in hooks:
            hook.remove()
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}
