"""Candidates of a measurement: a network, how it runs, and on which input."""

import contextlib
import copy
import dataclasses
import itertools
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn as nn
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from ..deploy.engines.tensorrt_builder import build_engine
from ..deploy.precision import to_bf16, to_fp16, to_int8
from ..errors import ConfigError
from ..latency import Milliseconds
from ..runtime import Predictor, load
from ..runtime.backends import BACKENDS, Backend, Session
from ..runtime.manifest import read_manifest
from ..runtime.postprocess import Detections
from ..runtime.preprocess import read_image
from ..testing.random_inputs import random_batch
from ..testing.untrained import spread_outputs
from ..zoo.complexity import network_complexity
from .limit import SIDE, Product, write_product
from .sources import Source, export_backbone

PYTORCH = 'pytorch'

MODES = ('eager', 'compiled', 'channels_last', 'compiled+channels_last', 'graph', 'graph+channels_last')
"""Modes of PyTorch; ``graph`` is the replay of a CUDA graph."""

PYTORCH_PRECISIONS = {'cpu': ('fp32', 'bf16'), 'cuda': ('fp32', 'tf32', 'bf16', 'fp16')}
"""Device to the precisions that PyTorch computes in. TF32 is set for each run: it is off in ``fp32``."""

_DTYPES = {'fp32': torch.float32, 'tf32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}

_REPEATS = 10
"""Runs of what is measured beside the latency: copies and decoding."""


class Workshop:
    """A folder where networks are exported and converted, once for each form.

    Args:
        folder: The folder.
        threads: CPU threads of every backend.
        device: Preferred device, ``'cpu'`` or ``'cuda'``; a backend without it uses its own default.
    """

    def __init__(self, folder: Path, threads: int, device: str) -> None:
        self._folder, self._files, self._names = folder, {}, itertools.count()
        self.threads, self.device = threads, device

    def file(self, key: tuple, name: str, make: Callable[[Path], object]) -> Path:
        """The file for this key, made by ``make(path)`` when it is asked for first."""
        if key not in self._files:
            path = self._folder / str(next(self._names)) / name
            path.parent.mkdir()
            make(path)
            self._files[key] = path
        return self._files[key]

    def device_of(self, backend: str) -> str:
        """The device that a backend runs on."""
        if backend == PYTORCH:
            return self.device
        devices = BACKENDS[backend].devices
        return self.device if self.device in devices else devices[0]


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A candidate that is ready to run.

    Attributes:
        run: Does the work once.
        facts: Fields of its row that only the loaded network can tell.
        finish: Fields that are known after the runs.
    """

    run: Callable[[], object]
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    finish: Callable[[], Mapping[str, Any]] = dict


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Something to measure.

    Attributes:
        facts: Fields of its row.
        load: Loads it. Only the memory that this and the first runs take counts.
        prepare: Exports and converts it before.
    """

    facts: Mapping[str, Any]
    load: Callable[[Workshop], Loaded]
    prepare: Callable[[Workshop], object] = lambda workshop: None

    @property
    def label(self) -> str:
        """Its name in one line."""
        facts = self.facts
        mode = '' if facts.get('mode', 'plain') == 'plain' else f' {facts["mode"]}'
        shape = 'x'.join(map(str, facts['shape'])) if facts.get('shape') else ''
        return f'{facts["name"]}, {facts["scope"]}, {facts["backend"]}{mode}, {facts["precision"]} {shape}'.rstrip()


# --- PyTorch ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _arithmetic(tf32: bool) -> Iterator[None]:
    """Set TF32 of matrix products and convolutions, whatever the process had."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def _between_events(work: Callable[[], object]) -> Milliseconds:
    """Time of what ``work`` queues on PyTorch's current stream, as the GPU itself measures it."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    work()
    end.record()
    end.synchronize()
    return Milliseconds(start.elapsed_time(end))


def _captured(work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """The replay of ``work`` as a CUDA graph, and the outputs that each replay writes.

    Raises:
        ConfigError: If PyTorch sees no GPU.
    """
    if not torch.cuda.is_available():
        raise ConfigError(
            'A CUDA graph was asked for, but PyTorch sees no GPU.',
            expected='an NVIDIA GPU, and a build of PyTorch with CUDA',
            fix='choose another mode',
        )
    for _ in range(3):  # kernels are chosen and memory is taken in the first runs, outside of the graph
        work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = work()
    return graph.replay, outputs


def _pytorch_run(
    network: nn.Module, shape: Sequence[int], mode: str, precision: str, device: str
) -> Callable[[], object]:
    dtype = _DTYPES[precision]
    layout = torch.channels_last if 'channels_last' in mode else torch.contiguous_format
    network = network.to(device, dtype)
    image = torch.rand(*shape).to(device, dtype)
    if len(shape) == 4:
        network, image = network.to(memory_format=layout), image.to(memory_format=layout)
    if 'compiled' in mode:
        network = torch.compile(network)

    def run() -> object:
        with torch.inference_mode(), _arithmetic(tf32=precision == 'tf32'):
            return network(image)

    if 'graph' in mode:
        replay, _ = _captured(run)
        return lambda: _between_events(replay)
    return run if device == 'cpu' else lambda: _between_events(run)


def pytorch_candidate(source: Source, shape: Sequence[int], mode: str, precision: str, device: str) -> Candidate:
    """A network in PyTorch.

    Args:
        source: The network.
        shape: ``(B, 3, H, W)``.
        mode: One of :data:`MODES`.
        precision: One of :data:`PYTORCH_PRECISIONS`; the whole network is of that type.
        device: ``'cpu'`` or ``'cuda'``.
    """
    facts = dict(source.facts, backend=PYTORCH, mode=mode, precision=precision, device=device, shape=list(shape))

    def load_it(workshop: Workshop) -> Loaded:
        with torch.device(device):  # random weights are made sooner there
            network = source.build()
        return Loaded(_pytorch_run(network, shape, mode, precision, device), source.count(shape))

    return Candidate(facts, load_it)


def network_candidate(
    path: str | os.PathLike, config: Config, shape: Sequence[int], mode: str, precision: str, device: str
) -> Candidate:
    """A detector or segmentor in PyTorch: from its normalised input to results in pixels of the input.

    It is untrained, but its outputs differ as those of a trained network do. mmdet pastes the masks, on the device.

    Args:
        path: The config's file.
        config: The config.
        shape: ``(B, 3, H, W)``.
        mode: One of :data:`MODES`.
        precision: One of :data:`PYTORCH_PRECISIONS`.
        device: ``'cpu'`` or ``'cuda'``.
    """

    def load_it(workshop: Workshop) -> Loaded:
        batch, _, height, width = shape
        torch.manual_seed(0)
        init_default_scope(config.default_scope)
        network = MODELS.build(dict(config.model, _scope_=config.default_scope))
        noise = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        spread_outputs(network, config, list(noise))
        network.eval()
        if hasattr(network.backbone, 'switch_to_deploy'):
            network.backbone.switch_to_deploy()
        data = random_batch(config, batch, height, width)
        network = network.to(device, _DTYPES[precision])
        prepared = network.data_preprocessor(data, False)
        image, samples = prepared['inputs'].to(_DTYPES[precision]), prepared['data_samples']
        if 'channels_last' in mode:
            network, image = (part.to(memory_format=torch.channels_last) for part in (network, image))
        if 'compiled' in mode:
            network.backbone = torch.compile(network.backbone)

        def run() -> object:
            with torch.inference_mode(), _arithmetic(tf32=precision == 'tf32'):
                return network.predict(image, copy.deepcopy(samples))

        try:
            counted = network_complexity(config, (height, width))
        except ConfigError:  # a method that this package does not count
            return Loaded(run)
        return Loaded(run, dict(params=counted.params, macs=counted.total_macs * batch))

    method = config.model.type
    facts = dict(name=Path(path).stem, scope='network', method=method, source=Path(path).name, origin='registry')
    facts.update(backend=PYTORCH, mode=mode, precision=precision, device=device, shape=list(shape))
    return Candidate(facts, load_it)


# --- engines ----------------------------------------------------------------------------------------------------------


def _median(work: Callable[[], float]) -> float:
    return statistics.median(work() for _ in range(_REPEATS))


def engine_call(session: Session, feeds: Mapping[str, np.ndarray], graph: bool = False) -> Loaded:
    """The bare call of an engine.

    A session that takes tensors of the GPU (TensorRT) gets an input that is there already and is timed by CUDA events;
    its copies are measured beside it. Any other one is called with arrays.

    Args:
        session: The engine.
        feeds: Name to array for every input.
        graph: Capture the call in a CUDA graph, and time its replay.

    Raises:
        ConfigError: If ``graph`` is set and the session does not run on PyTorch's streams.
    """
    if not hasattr(session, 'run_tensors'):
        if graph:
            raise ConfigError(
                'A CUDA graph was asked for, but this engine does not run on a stream of PyTorch.',
                expected='an engine of TensorRT or TensorRT for RTX',
                fix='leave --graph out',
            )
        return Loaded(lambda: session.run(feeds))
    pinned = {name: torch.from_numpy(array).pin_memory() for name, array in feeds.items()}
    tensors = {name: tensor.cuda() for name, tensor in pinned.items()}

    def call() -> dict:
        return session.run_tensors(tensors)

    timed, outputs = _captured(call) if graph else (call, call())
    there = {name: torch.empty_like(tensor, device='cpu').pin_memory() for name, tensor in outputs.items()}

    def copies() -> dict:
        def up() -> None:
            for name, tensor in pinned.items():
                tensors[name].copy_(tensor, non_blocking=True)

        def down() -> None:
            for name, tensor in outputs.items():
                there[name].copy_(tensor, non_blocking=True)

        return dict(h2d_ms=_median(lambda: _between_events(up)), d2h_ms=_median(lambda: _between_events(down)))

    return Loaded(lambda: _between_events(timed), finish=copies)


def _converted(workshop: Workshop, key: tuple, exported: Path, backend: Backend, precision: str, feeds: dict) -> Path:
    """The file that a backend runs: the exported graph in its precision, in the format of the backend."""

    def make(path: Path) -> None:
        graph = path.with_name('end2end.onnx')
        model = onnx.load(exported)
        if precision not in ('fp32', *backend.precisions_by_setting):
            change = {'fp16': to_fp16, 'bf16': to_bf16, 'int8': lambda model: to_int8(model, [feeds])}
            model = change[precision](model)
        onnx.save(model, graph)
        if backend.needs_shapes:
            profiles = {name: (array.shape,) * 3 for name, array in feeds.items()}
            build_engine(graph, path, package=backend.module, profiles=profiles)
        elif backend.convert is not None:
            backend.convert(graph, path)

    return workshop.file((*key, backend.name, precision), backend.engine_file, make)


def _opened(workshop: Workshop, path: Path, backend: Backend, precision: str) -> Session:
    options = dict(threads=workshop.threads, device=workshop.device_of(backend.name))
    given = {name: value for name, value in options.items() if name in backend.session_options}
    return backend.open_session(path, precision=precision, **given)


def session_candidate(source: Source, shape: Sequence[int], backend: str, precision: str, device: str) -> Candidate:
    """A network in a backend, exported for this shape.

    Args:
        source: The network.
        shape: ``(B, 3, H, W)``.
        backend: A key of :data:`~mmtrtvit.runtime.backends.BACKENDS`.
        precision: One of the backend's.
        device: The device that it runs on.
    """
    about, key = BACKENDS[backend], (source.facts['name'], tuple(shape))

    def prepare(workshop: Workshop) -> tuple[Path, dict]:
        image = torch.rand(*shape)
        if source.onnx is None:
            torch.manual_seed(0)
            exported = workshop.file(key, 'exported.onnx', lambda path: export_backbone(source.build(), image, path))
            name = 'image'
        else:
            exported = source.onnx
            name = onnx.load(exported, load_external_data=False).graph.input[0].name
        feeds = {name: image.numpy()}
        return _converted(workshop, key, exported, about, precision, feeds), feeds

    def load_it(workshop: Workshop) -> Loaded:
        path, feeds = prepare(workshop)
        return dataclasses.replace(
            engine_call(_opened(workshop, path, about, precision), feeds), facts=source.count(shape)
        )

    facts = dict(source.facts, backend=backend, precision=precision, device=device, shape=list(shape))
    return Candidate(facts, load_it, prepare)


def limit_candidate(backend: str, precision: str, device: str) -> Candidate:
    """One large matrix product in a backend and a precision, the limit of the other candidates there."""
    side = SIDE['cuda' if device == 'cuda' else 'cpu']
    # TensorRT has no limit of its own: a product of PyTorch in the same precision is the GPU's
    runs_in = PYTORCH if backend == PYTORCH or BACKENDS[backend].needs_shapes else backend
    facts = dict(
        name=f'MatMul {side}',
        scope='gemm',
        backend=runs_in,
        mode='eager' if runs_in == PYTORCH else 'plain',
        precision=precision,
        device=device,
        macs=side**3,
    )
    if runs_in == PYTORCH:
        return Candidate(
            facts, lambda workshop: Loaded(_pytorch_run(Product(side), (side, side), 'eager', precision, device))
        )
    about = BACKENDS[backend]

    def load_it(workshop: Workshop) -> Loaded:
        image = {'image': np.random.default_rng(0).standard_normal((side, side), np.float32)}
        quantised = precision == 'int8'
        exported = workshop.file(('gemm', quantised), 'gemm.onnx', lambda path: write_product(path, side, quantised))
        applied = 'fp32' if quantised else precision  # the graph is quantised already
        path = _converted(workshop, ('gemm', quantised), exported, about, applied, image)
        return engine_call(_opened(workshop, path, about, precision), image)

    return Candidate(facts, load_it)


# --- artefacts --------------------------------------------------------------------------------------------------------


def _artefact_facts(folder: str | os.PathLike, scope: str, device: str) -> dict:
    manifest = read_manifest(folder)
    return dict(
        name=f'{manifest["method"]}, {Path(folder).name}',
        scope=scope,
        method=manifest['method'],
        source=Path(folder).name,
        origin='file',
        backend=manifest['backend'],
        precision=manifest['precision'],
        device=device,
        extra=dict(config=manifest.get('source', {}).get('model_config'), flavour=manifest['flavour']),
    )


def engine_candidate(
    folder: str | os.PathLike, image: np.ndarray, shape: Sequence[int] | None, device: str, graph: bool = False
) -> Candidate:
    """The engine of an artefact of ``tools/deploy.py``, called by itself.

    Args:
        folder: The artefact.
        image: The image whose input the engine gets: ``(H, W, 3)`` uint8, BGR.
        shape: ``(B, 3, H, W)`` of another input, random; by default that of the image.
        device: The device that it runs on.
        graph: See :func:`engine_call`.
    """
    facts = _artefact_facts(folder, 'engine', device)

    def load_it(workshop: Workshop) -> Loaded:
        predictor = _predictor(folder, facts['backend'], workshop)
        batch = (
            _input_of(predictor, image)
            if shape is None
            else np.random.default_rng(0).standard_normal(shape, np.float32)
        )
        session = predictor.network.session
        session({session.inputs[0].name: batch})  # which checks the shape
        loaded = engine_call(session, {session.inputs[0].name: batch}, graph)
        return dataclasses.replace(loaded, facts=dict(shape=list(batch.shape)))

    shown = dict(facts, mode='graph') if graph else facts
    return Candidate(dict(shown, shape=None if shape is None else list(shape)), load_it)


def _predictor(folder: str | os.PathLike, backend: str, workshop: Workshop) -> Predictor:
    options = dict(threads=workshop.threads, device=workshop.device_of(backend))
    return load(folder, **{key: value for key, value in options.items() if key in BACKENDS[backend].session_options})


def _input_of(predictor: Predictor, image: np.ndarray) -> np.ndarray:
    """The input of the network for an image: ``(1, 3, H, W)`` float32; of a sliding window, the first one."""
    batch, _ = predictor._preprocessing([image])
    if predictor._window is not None:
        height, width = predictor._window.size
        batch = batch[..., :height, :width]
    return np.ascontiguousarray(batch)


class _Stopwatch:
    """A part of a predictor that adds up the time it takes.

    Args:
        inner: The part.
        spent: Name to seconds of the current run.
        name: Its name there.
    """

    def __init__(self, inner: Any, spent: dict[str, float], name: str) -> None:
        self._inner, self._spent, self._name = inner, spent, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return self._inner(*args, **kwargs)
        finally:
            self._spent[self._name] += time.perf_counter() - start

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def end_to_end_candidate(folder: str | os.PathLike, image: str | os.PathLike | np.ndarray, device: str) -> Candidate:
    """An artefact as users run it: ``load(folder)(image)``, with masks pasted into the image.

    The parts are timed inside the same runs. Decoding the file is measured beside it.

    Args:
        folder: The artefact.
        image: The file of an image, or the image: ``(H, W, 3)`` uint8, BGR.
        device: The device that it runs on.
    """
    facts = _artefact_facts(folder, 'end-to-end', device)

    def load_it(workshop: Workshop) -> Loaded:
        predictor = _predictor(folder, facts['backend'], workshop)
        array = image if isinstance(image, np.ndarray) else read_image(image)
        spent: dict[str, float] = defaultdict(float)
        runs: list[dict[str, float]] = []
        predictor._preprocessing = _Stopwatch(predictor._preprocessing, spent, 'preprocessing')
        predictor.network = _Stopwatch(predictor.network, spent, 'network')
        predictor.result = _Stopwatch(predictor.result, spent, 'postprocessing')
        paste = _Stopwatch(np.asarray, spent, 'postprocessing')

        def run() -> None:
            spent.clear()
            found = predictor(array)
            if isinstance(found, Detections) and found.masks is not None:
                paste(found.masks)
            runs.append(dict(spent))

        def parts() -> dict:
            counted = runs[len(runs) // 2 :]
            medians = {name: statistics.median(run[name] for run in counted) * 1e3 for name in counted[0]}
            if not isinstance(image, np.ndarray):
                decode, decoded = _Stopwatch(read_image, spent, 'decoding'), []
                for _ in range(_REPEATS):
                    spent.clear()
                    decode(image)
                    decoded.append(spent['decoding'])
                medians = dict(decoding=statistics.median(decoded) * 1e3, **medians)
            return dict(parts_ms=medians)

        return Loaded(run, dict(image=list(array.shape[:2])), parts)

    return Candidate(facts, load_it)
