"""Building engines of TensorRT and TensorRT for RTX from an ONNX file.

TensorRT for RTX builds without a GPU, for any of its targets. TensorRT builds for the GPU that it runs on.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import onnx
import torch

from ...atomic import atomic_file
from ...errors import DeployError
from ...runtime.backends.tensorrt.support import PACKAGES, refuse_combination, require_version
from ..export.onnx_graph import read_graph
from . import tensorrt_worker
from .tensorrt_graph import BadNode, graph_inputs, is_typed, refuse_nodes, unsupported_nodes
from .tensorrt_report import EngineReport, read_inspector, read_log

Profile = tuple[Sequence[int], Sequence[int], Sequence[int]]
"""Smallest, usual and largest shape of an input."""

_SHOWN_ERRORS = 5


def check_profiles(inputs: Mapping[str, Sequence[int]], profiles: Mapping[str, Profile]) -> None:
    """Check that every input with free sides has shapes, and that the shapes fit.

    Args:
        inputs: Name of each input of the graph to its shape, -1 for a free side.
        profiles: Name of each input to its smallest, usual and largest shape.

    Raises:
        DeployError: Naming the input and the problem with its shapes.
    """

    def bad(message: str) -> DeployError:
        free = ', '.join(f'{name} {" x ".join(map(str, shape))}' for name, shape in inputs.items())
        return DeployError(
            message,
            expected=f'three shapes (smallest, usual, largest) for each input with free sides (-1) of: {free}',
            fix='correct --shape, --dynamic and --batch',
        )

    for name in profiles:
        if name not in inputs:
            raise bad(f'The graph has no input {name!r}.')
    for name, shape in inputs.items():
        if name not in profiles:
            if -1 in shape:
                raise bad(f'Input {name!r} has free sides, but no shapes were given for it.')
            continue
        smallest, usual, largest = profiles[name]
        for given in (smallest, usual, largest):
            if len(given) != len(shape) or any(side not in (-1, own) for own, side in zip(given, shape, strict=True)):
                raise bad(f'Input {name!r}: the shape {" x ".join(map(str, given))} does not fit it.')
        if not all(1 <= low <= mid <= high for low, mid, high in zip(smallest, usual, largest, strict=True)):
            raise bad(
                f'Input {name!r}: the shapes {smallest}, {usual}, {largest} are not in the order smallest, usual, '
                'largest, each side at least 1.'
            )


def _check_machine(package: str, version: tuple[int, ...], targets: Sequence[str], typed: bool) -> None:
    """Raise an error if this package cannot build on this machine or for these targets."""
    title, offered = PACKAGES[package].title, PACKAGES[package].targets
    uses = 'typed graph' if typed else 'float32 graph'
    refuse_combination(package, version, uses=uses)
    if offered:
        for target in targets:
            number = target.removeprefix('sm')
            if number.isdigit():
                refuse_combination(package, version, (int(number[:-1] or 0), int(number[-1])), uses)
            if target not in offered:
                raise DeployError(
                    f'{title} has no target {target!r}.',
                    expected=f'some of {", ".join(offered)}',
                    fix='give the compute capability of the GPU that the engine is for',
                )
        return
    if targets:
        raise DeployError(
            f'{title} has no targets: it builds for the GPU that it runs on.',
            fix='build on the GPU that the engine is for, without targets; only TensorRT for RTX builds for others',
        )
    if not torch.cuda.is_available():
        raise DeployError(
            f'{title} builds on the GPU that the engine is for, and PyTorch sees none here.',
            expected='an NVIDIA GPU with its driver',
            fix='run this command on that machine, or use --backend tensorrt-rtx, which builds without a GPU',
        )


def _named(nodes: Sequence[Mapping], model: onnx.ModelProto) -> list[BadNode]:
    """Match the nodes that a parser refused to their names in the graph."""
    named = []
    for node in nodes:
        index = node.get('index', -1)
        known = model.graph.node[index] if 0 <= index < len(model.graph.node) else onnx.NodeProto()
        reason = ' '.join(str(node['reason']).split())
        named.append(
            BadNode(
                node.get('name') or known.name or f'node {index}',
                node.get('operator') or known.op_type or 'a node',
                reason,
            )
        )
    return named


def _environment(device: int) -> dict[str, str]:
    """An environment in which only the GPU with this number is visible."""
    visible = [name for name in os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',') if name]
    return {**os.environ, 'CUDA_VISIBLE_DEVICES': visible[device] if device < len(visible) else str(device)}


def _run(request: dict, device: int, timeout: float, progress: Callable[[str], None] | None) -> tuple[dict | None, str]:
    """Run the build in a separate process.

    Returns:
        The result it wrote, or None and the way the process ended.
    """
    stage, late = 'start', threading.Event()
    with tempfile.TemporaryFile('w+', encoding='utf-8', errors='replace') as errors:
        process = subprocess.Popen(
            [sys.executable, tensorrt_worker.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding='utf-8',
            errors='replace',
            env=_environment(device),
        )

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(timeout, stop)
        timer.start()
        try:
            try:
                process.stdin.write(json.dumps(request))
                process.stdin.close()
            except BrokenPipeError:
                pass  # it exited before reading the request; its status is reported below
            for line in process.stdout:
                try:
                    told = json.loads(line)
                    stage = told['stage']
                except (ValueError, TypeError, KeyError):
                    continue  # output of a library
                if progress:
                    progress(
                        f'{told["phase"]} {told["done"]}/{told["total"]}' if 'phase' in told else f'{told["stage"]} ...'
                    )
            status = process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
        result = Path(request['result'])
        if status == 0 and result.is_file():
            return json.loads(result.read_text(encoding='utf-8')), ''
        if late.is_set():
            return None, f'took longer than {timeout:g} seconds (it was at: {stage})'
        errors.seek(0)
        said = ' '.join(errors.read().strip().splitlines()[-3:])
        ended = f'was ended by {signal.Signals(-status).name}' if status < 0 else f'ended with status {status}'
        return None, f'{ended} (it was at: {stage})' + (f': {said}' if said else '')


def _explain(result: Mapping, package: str, model: onnx.ModelProto) -> None:
    """Turn a failure that the library reported into an error."""
    title = PACKAGES[package].title
    errors = list(dict.fromkeys(' '.join(error.split()) for error in result['errors']))[:_SHOWN_ERRORS]
    if result['failed'] == 'parse' and result['nodes']:
        refuse_nodes(_named(result['nodes'], model), package)
    said = '\n'.join(f'  {error}' for error in errors) or '  (it gave no reason)'
    stages = dict(
        plugins='register the plugins that it brings',
        parse='read the graph',
        profile='take the shapes that were given',
        build='build an engine of the graph',
        inspect='load the engine that it built',
    )
    memory = any('OutOfMemory' in error or 'workspace' in error.lower() for error in errors)
    raise DeployError(
        f'{title} {result["version"]} could not {stages[result["failed"]]}:\n{said}',
        fix='leave the workspace limit out, or give smaller shapes'
        if memory
        else 'export with --flavour portable; where it fails with that, --backend onnxruntime runs the same graph',
    )


def build_engine(
    onnx_path: str | os.PathLike,
    engine_path: str | os.PathLike,
    *,
    package: str = 'tensorrt',
    profiles: Mapping[str, Profile] | None = None,
    targets: Sequence[str] | None = None,
    timing_cache: str | os.PathLike | None = None,
    workspace_mib: int | None = None,
    tf32: bool = False,
    device: int = 0,
    timeout: float = 3600.0,
    progress: Callable[[str], None] | None = None,
) -> EngineReport:
    """Build an engine in the precision of the graph.

    The build runs in a separate process, so that an abort of the library becomes an error here.

    Args:
        onnx_path: The graph.
        engine_path: The engine file. It is written completely or not at all.
        package: ``'tensorrt'`` or ``'tensorrt_rtx'``.
        profiles: Input to its smallest, usual and largest shape. Every input with free sides needs them.
        targets: GPUs to build for, such as ``('sm86', 'sm120')``. TensorRT for RTX only; by default its own choice.
        timing_cache: File with kernel timings, read if it exists and updated afterwards. A cache of another GPU or
            version is ignored and not changed; the report then has a warning.
        workspace_mib: Limit of the scratch memory, MiB. By default only the GPU limits it.
        tf32: Allow TF32 (10-bit mantissa) in float32 products: faster, but further from PyTorch.
        device: Number of the GPU that TensorRT builds on and for.
        timeout: Seconds after which the build is stopped.
        progress: Called with a line of text, at most a few times a second.

    Returns:
        A report on the engine: its layers, data types and memory.

    Raises:
        DeployError: If the package is missing or cannot work on this machine, the graph or the shapes cannot be used
            (naming every node that cannot be built), or the build fails.
    """
    version = require_version(package)
    title = PACKAGES[package].title
    if workspace_mib is not None and workspace_mib < 1:
        raise DeployError(
            f'A workspace of {workspace_mib} MiB was asked for; {title} takes that as no memory at all.',
            expected='a number of MiB above 0, or none for no limit',
            fix='leave the workspace limit out',
        )
    model = read_graph(onnx_path)
    profiles = dict(profiles or {})
    targets = [target.lower() for target in targets or ()]
    check_profiles(graph_inputs(model), profiles)
    _check_machine(package, version, targets, is_typed(model))
    refuse_nodes(unsupported_nodes(model, package), package)

    with tempfile.TemporaryDirectory() as scratch, atomic_file(engine_path) as engine:
        shapes = {name: [list(map(int, shape)) for shape in given] for name, given in profiles.items()}
        request = dict(
            package=package,
            onnx=os.path.abspath(onnx_path),
            engine=str(engine),
            result=os.path.join(scratch, 'result.json'),
            profiles=shapes,
            targets=targets,
            timing_cache=os.path.abspath(timing_cache) if timing_cache else None,
            timing_cache_out=os.path.join(scratch, 'timing.cache'),
            workspace_mib=workspace_mib,
            tf32=tf32,
            inspect=not PACKAGES[package].targets,  # an engine for other GPUs may not load on this one
            plugins=PACKAGES[package].plugins,
        )
        result, ended = _run(request, device, timeout, progress)
        if result is None:
            raise DeployError(
                f'{title} did not survive the build of {Path(onnx_path).name}: the process {ended}.',
                expected='an engine, or an error that the library tells',
                fix='try again with smaller shapes; where it persists, --backend onnxruntime runs the same graph',
            )
        if 'failed' in result:
            _explain(result, package, model)
        measured = Path(request['timing_cache_out'])
        if measured.is_file():  # missing if no cache was requested, or if the given one was ignored
            with atomic_file(timing_cache) as cache:
                cache.write_bytes(measured.read_bytes())
    told = read_log(result['log'])
    if result.get('inspector'):
        told.update(read_inspector(result['inspector']), activation_bytes=result['activation_bytes'])
    return EngineReport(
        package=package,
        version=result['version'],
        targets=targets,
        profiles=shapes,
        engine_bytes=result['engine_bytes'],
        seconds=result['seconds'],
        warnings=list(dict.fromkeys(result['warnings'])),
        **told,
    )
