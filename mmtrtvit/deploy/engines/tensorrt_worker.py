"""Build one engine, in the process that :mod:`mmtrtvit.deploy.engines.tensorrt_builder` starts.

The build has its own process because TensorRT can abort. This script imports nothing but TensorRT, because importing
the package would take longer than most builds. It reads a request as JSON from standard input, reports progress as
lines of JSON on standard output, and writes the engine and a JSON file with the result.

The same code serves TensorRT 10 and 11 and TensorRT for RTX. It detects features by looking for them, not by the
version. It sets no precision flags: the engine has the precision of the graph.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorrt as trt

KEPT = ('Layers:', 'Total Activation Memory', 'Total Weights Memory', 'Max Scratch Memory')
"""Prefixes of the log messages that the report is made of if no engine inspector can be asked."""


class Failure(Exception):
    """A failed build: the stage, and the nodes that the library named."""

    def __init__(self, stage: str, nodes: list[dict] | None = None) -> None:
        super().__init__(stage)
        self.stage, self.nodes = stage, nodes or []


def make_log(trt: ModuleType, kept: tuple[str, ...]) -> 'trt.ILogger':
    """A logger that keeps errors, warnings, and the other messages that begin with one of ``kept``.

    TensorRT hands hundreds of thousands of messages to a logger in Python, so the others are dropped first.
    """
    low = {trt.ILogger.Severity.INFO, trt.ILogger.Severity.VERBOSE}

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []
            self.kept: list[str] = []

        def log(self, severity: 'trt.ILogger.Severity', message: str) -> None:
            if severity in low:
                if kept and message.startswith(kept):
                    self.kept.append(message)
            elif severity == trt.ILogger.Severity.WARNING:
                self.warnings.append(message)
            else:
                self.errors.append(message)

    return Log()


def make_monitor(trt: ModuleType, tell: Callable[..., None]) -> 'trt.IProgressMonitor':
    """A monitor that reports the progress of each phase, at most a few times a second."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}
            self.told = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if time.monotonic() - self.told > 0.25:
                self.told = time.monotonic()
                tell(stage='build', phase=phase_name, done=step + 1, total=self.steps.get(phase_name, 0))
            return True  # continue the build

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Monitor()


def network_flags(trt: ModuleType) -> int:
    """Strong typing, and explicit batch if it is still a flag (before 11)."""
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    if hasattr(trt.NetworkDefinitionCreationFlag, 'EXPLICIT_BATCH'):
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    return flags


def parse(trt: ModuleType, network: 'trt.INetworkDefinition', log: 'trt.ILogger', path: str) -> 'trt.OnnxParser':
    """Read the graph into a network.

    Returns:
        The parser, which owns the weights and must outlive the network.

    Raises:
        Failure: Naming every node that was refused.
    """
    parser = trt.OnnxParser(network, log)
    if parser.parse_from_file(path):
        return parser
    nodes = []
    for index in range(parser.num_errors):
        error: trt.ParserError = parser.get_error(index)
        nodes.append(
            dict(index=error.node(), reason=error.desc(), name=error.node_name(), operator=error.node_operator())
        )
    raise Failure('parse', nodes)


def use_timing_cache(config: 'trt.IBuilderConfig', path: str) -> str:
    """Load earlier kernel timings into a build.

    Returns:
        A warning if the cache is ignored because another GPU or version made it; otherwise empty.
    """
    content = b''
    if os.path.isfile(path):
        with open(path, 'rb') as file:
            content = file.read()
    cache = config.create_timing_cache(content)
    if cache is not None and config.set_timing_cache(cache, False):
        return ''
    return (
        f'The timing cache {path} was ignored and left as it is: it is of another GPU or version, or damaged. '
        'Give another file by --timing-cache.'
    )


def configure(trt: ModuleType, builder: 'trt.Builder', request: dict, tell: Callable[..., None]) -> tuple:
    """Create the settings of a build, except for its timing cache.

    Returns:
        The config, and the objects that must outlive it: the profile and the monitor.
    """
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not request['tf32']:
        config.clear_flag(trt.BuilderFlag.TF32)
    if request['workspace_mib'] is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request['workspace_mib'] << 20)
    if request['targets']:
        config.num_compute_capabilities = len(request['targets'])
        for index, target in enumerate(request['targets']):
            config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), index)
    monitor = make_monitor(trt, tell)
    config.progress_monitor = monitor
    profile = None
    if request['profiles']:
        profile = builder.create_optimization_profile()
        for name, (smallest, usual, largest) in request['profiles'].items():
            profile.set_shape(name, tuple(smallest), tuple(usual), tuple(largest))
        if config.add_optimization_profile(profile) < 0:
            raise Failure('profile')
    return config, (profile, monitor)


def inspect(trt: ModuleType, log: 'trt.ILogger', plan: bytes) -> dict:
    """Data of the engine inspector for the usual shapes. Needs a GPU."""
    runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise Failure('inspect')
    inspector = engine.create_engine_inspector()
    context = engine.create_execution_context()
    if context is not None:  # without it, the inspector omits the data types if sizes are free
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
                context.set_input_shape(name, tuple(engine.get_tensor_profile_shape(name, 0)[1]))
        inspector.execution_context = context
    memory = engine.device_memory_size_v2 if hasattr(engine, 'device_memory_size_v2') else engine.device_memory_size
    return dict(
        inspector=inspector.get_engine_information(trt.LayerInformationFormat.JSON), activation_bytes=int(memory)
    )


def build(trt: ModuleType, request: dict, tell: Callable[..., None]) -> dict:
    """Build the engine of a request.

    Args:
        trt: ``tensorrt`` or ``tensorrt_rtx``.
        request: See :func:`mmtrtvit.deploy.engines.tensorrt_builder.build_engine`.
        tell: Called with progress as keywords.

    Returns:
        The data on the engine at ``request['engine']`` for a report, or the stage that failed and the errors.
    """
    log = make_log(trt, () if request['inspect'] else KEPT)
    said = dict(version=trt.__version__)
    try:
        tell(stage='parse')
        start = time.perf_counter()
        if request['plugins'] and not trt.init_libnvinfer_plugins(log, ''):
            raise Failure('plugins')
        builder = trt.Builder(log)
        network = builder.create_network(network_flags(trt))
        parser = parse(trt, network, log, request['onnx'])
        parsed = time.perf_counter()
        tell(stage='build')
        config, alive = configure(trt, builder, request, tell)
        ignored = use_timing_cache(config, request['timing_cache']) if request['timing_cache'] else ''
        if ignored:
            log.warnings.append(ignored)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise Failure('build')
        built = time.perf_counter()
        del parser, alive
        content = bytes(plan)
        with open(request['engine'], 'wb') as file:
            file.write(content)
        if request['timing_cache'] and not ignored:
            measured = config.get_timing_cache()
            if measured is not None:
                with open(request['timing_cache_out'], 'wb') as file:
                    file.write(bytes(measured.serialize()))
        said.update(engine_bytes=len(content), seconds=dict(parse=parsed - start, build=built - parsed), log=log.kept)
        if request['inspect']:
            tell(stage='inspect')
            said.update(inspect(trt, log, content))
    except Failure as failure:
        said.update(failed=failure.stage, nodes=failure.nodes)
    return dict(said, errors=log.errors, warnings=log.warnings)


def main() -> None:
    """Serve the one request on standard input."""
    # the folder of a script comes first in the path, where its modules would hide packages of the same name
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder or '.') != here]
    request = json.load(sys.stdin)
    trt = __import__(request['package'])

    def tell(**progress) -> None:
        print(json.dumps(progress), flush=True)

    result = build(trt, request, tell)
    with open(request['result'], 'w', encoding='utf-8') as file:
        json.dump(result, file)


if __name__ == '__main__':
    main()
