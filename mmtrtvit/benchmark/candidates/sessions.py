"""Candidates that run in a session of a backend: the graph of a backbone, and the bare call of an engine."""

import dataclasses
import functools
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from ...deploy.engines.tensorrt_builder import build_engine
from ...deploy.precision import to_bf16, to_fp16, to_int8
from ...errors import ConfigError
from ...runtime.backends import BACKENDS, Backend, Session
from ..parts import block_of, profile_parts
from ..sources import Source, export_backbone
from .candidate import REPEATS, Candidate, Loaded, Workshop
from .cuda import between_events, captured


def _median(work: Callable[[], float]) -> float:
    return statistics.median(work() for _ in range(REPEATS))


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

    timed, outputs = captured(call) if graph else (call, call())
    there = {name: torch.empty_like(tensor, device='cpu').pin_memory() for name, tensor in outputs.items()}

    def copies() -> dict:
        def up() -> None:
            for name, tensor in pinned.items():
                tensors[name].copy_(tensor, non_blocking=True)

        def down() -> None:
            for name, tensor in outputs.items():
                there[name].copy_(tensor, non_blocking=True)

        return dict(h2d_ms=_median(lambda: between_events(up)), d2h_ms=_median(lambda: between_events(down)))

    return Loaded(lambda: between_events(timed), finish=copies)


def converted(workshop: Workshop, key: tuple, exported: Path, backend: Backend, precision: str, feeds: dict) -> Path:
    """The file that a backend runs: the exported graph in its precision, in the format of the backend."""

    def make(path: Path) -> None:
        graph = path.with_name('end2end.onnx')
        model = onnx.load(exported)
        if precision not in ('fp32', *backend.precisions_by_setting):
            int8 = functools.partial(to_int8, feeds=[feeds], form=backend.int8)
            model = dict(fp16=to_fp16, bf16=to_bf16, int8=int8)[precision](model)
        onnx.save(model, graph)
        if backend.needs_shapes:
            profiles = {name: (array.shape,) * 3 for name, array in feeds.items()}
            build_engine(graph, path, package=backend.module, profiles=profiles)
        elif backend.convert is not None:
            backend.convert(graph, path)

    return workshop.file((*key, backend.name, precision), backend.engine_file, make)


def _options(workshop: Workshop, backend: Backend, **options: Any) -> dict[str, Any]:
    """The options of a session that a backend has: the device and the threads of the workshop, and others."""
    options.update(threads=workshop.threads, device=workshop.device_of(backend.name))
    return {name: value for name, value in options.items() if name in backend.session_options}


def opened(workshop: Workshop, path: Path, backend: Backend, precision: str) -> Session:
    """The session of a file, on the device and with the threads of the workshop."""
    return backend.open_session(path, precision=precision, **_options(workshop, backend))


def session_candidate(
    source: Source, shape: Sequence[int], backend: str, precision: str, device: str, parts: bool = False
) -> Candidate:
    """A network in a backend, exported for this shape.

    Args:
        source: The network.
        shape: ``(B, 3, H, W)``.
        backend: A key of :data:`~mmtrtvit.runtime.backends.BACKENDS`.
        precision: One of the backend's.
        device: The device that it runs on.
        parts: Profile the blocks of a backbone as well: ``parts_ms``, and in ``extra`` their multiply-accumulates
            (``parts_macs``) and the time of each operator (``operators_ms``).
    """
    about, key = BACKENDS[backend], (source.facts['name'], source.onnx, tuple(shape))

    def prepare(workshop: Workshop) -> tuple[Path, Path, dict]:
        image = torch.rand(*shape)
        if source.onnx is None:
            torch.manual_seed(0)
            exported = workshop.file(key, 'exported.onnx', lambda path: export_backbone(source.build(), image, path))
            name = 'image'
        else:
            exported = source.onnx
            name = onnx.load(exported, load_external_data=False).graph.input[0].name
        feeds = {name: image.numpy()}
        return converted(workshop, key, exported, about, precision, feeds), exported, feeds

    def load_it(workshop: Workshop) -> Loaded:
        path, exported, feeds = prepare(workshop)
        loaded = dataclasses.replace(
            engine_call(opened(workshop, path, about, precision), feeds), facts=source.count(shape)
        )
        options = _options(workshop, about, precision=precision)

        def profiled() -> dict[str, Any]:
            found = profile_parts(backend, path, exported, feeds, module=block_of, **options)
            operators: Counter[str] = Counter()
            for part in found.values():
                operators.update(part.operators)
            return dict(
                parts_ms={name: part.ms for name, part in found.items()},
                extra=dict(
                    source.facts.get('extra', {}),
                    parts_macs={name: part.macs for name, part in found.items()},
                    operators_ms=dict(operators.most_common()),
                ),
            )

        return dataclasses.replace(loaded, finish=profiled) if parts and not about.needs_shapes else loaded

    facts = dict(source.facts, backend=backend, precision=precision, device=device, shape=list(shape))
    return Candidate(facts, load_it, prepare)
