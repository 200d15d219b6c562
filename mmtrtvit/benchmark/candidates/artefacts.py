"""Candidates made from an artefact of ``tools/deploy.py``: its engine by itself, and its whole way."""

import os
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime import Predictor, load
from ...runtime.backends import BACKENDS
from ...runtime.manifest import read_manifest
from ...runtime.postprocess import Detections
from ...runtime.preprocess import read_image
from ...runtime.tensor_names import ONNX_FILE
from ..parts import Part, profile_parts
from .candidate import REPEATS, Candidate, Loaded, Workshop
from .sessions import engine_call


def artefact_facts(folder: str | os.PathLike, scope: str, device: str) -> dict:
    """Fields of the row of an artefact of ``tools/deploy.py``."""
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
    folder: str | os.PathLike,
    image: np.ndarray,
    shape: Sequence[int] | None,
    device: str,
    graph: bool = False,
    parts: bool = False,
    other: str | os.PathLike | None = None,
) -> Candidate:
    """The engine of an artefact of ``tools/deploy.py``, called by itself.

    Args:
        folder: The artefact.
        image: The image whose input the engine gets: ``(H, W, 3)`` uint8, BGR.
        shape: ``(B, 3, H, W)`` of another input, random; by default that of the image.
        device: The device that it runs on.
        graph: See :func:`engine_call`.
        parts: Profile its parts as well: ``parts_ms``, and their multiply-accumulates as ``parts_macs`` in ``extra``.
        other: Another ONNX file, such as mmdeploy's own export, to run in place of the engine: on the same input, in
            the same backend. Its name is ``other`` in ``extra``.
    """
    facts = artefact_facts(folder, 'engine', device)
    if other is not None:
        facts['name'] += f' ({Path(other).name})'
        facts['extra'].update(other=Path(other).name, flavour=None)

    def load_it(workshop: Workshop) -> Loaded:
        predictor = _predictor(folder, facts['backend'], workshop)
        batch = (
            _input_of(predictor, image)
            if shape is None
            else np.random.default_rng(0).standard_normal(shape, np.float32)
        )
        session = predictor.network.session
        if other is not None:
            session = BACKENDS[facts['backend']].open_session(
                other, precision=facts['precision'], **_options(facts['backend'], workshop)
            )
        feeds = {session.inputs[0].name: batch}
        session(feeds)  # which checks the shape
        loaded = engine_call(session, feeds, graph)

        def profiled() -> dict:
            found = _profiled(folder, feeds, workshop.threads)
            return dict(
                loaded.finish(),
                macs=sum(part.macs for part in found.values()),
                parts_ms={name: part.ms for name, part in found.items()},
                extra=dict(facts['extra'], parts_macs={name: part.macs for name, part in found.items()}),
            )

        return Loaded(loaded.run, dict(shape=list(batch.shape)), profiled if parts else loaded.finish)

    shown = dict(facts, mode='graph') if graph else facts
    return Candidate(dict(shown, shape=None if shape is None else list(shape)), load_it)


def _profiled(folder: str | os.PathLike, feeds: Mapping[str, np.ndarray], threads: int) -> dict[str, Part]:
    """The parts of the network of an artefact."""
    manifest = read_manifest(folder)
    options = dict(threads=threads)
    if manifest['backend'] == 'openvino':
        options.update(precision=manifest['precision'])
    path = Path(folder)
    return profile_parts(manifest['backend'], path / manifest['engine'], path / ONNX_FILE, feeds, **options)


def _options(backend: str, workshop: Workshop) -> dict[str, Any]:
    """The options of a session that a backend takes."""
    options = dict(threads=workshop.threads, device=workshop.device_of(backend))
    return {key: value for key, value in options.items() if key in BACKENDS[backend].session_options}


def _predictor(folder: str | os.PathLike, backend: str, workshop: Workshop) -> Predictor:
    return load(folder, **_options(backend, workshop))


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
    facts = artefact_facts(folder, 'end-to-end', device)

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
                for _ in range(REPEATS):
                    spent.clear()
                    decode(image)
                    decoded.append(spent['decoding'])
                medians = dict(decoding=statistics.median(decoded) * 1e3, **medians)
            return dict(parts_ms=medians)

        return Loaded(run, dict(image=list(array.shape[:2])), parts)

    return Candidate(facts, load_it)
