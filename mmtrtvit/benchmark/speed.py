"""The commands of ``tools/benchmark.py`` that measure latency."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..config import load_config
from ..errors import ConfigError
from ..runtime.backends import BACKENDS
from ..runtime.manifest import read_manifest
from ..runtime.preprocess import read_image
from .candidates import (
    MODES,
    PYTORCH,
    PYTORCH_PRECISIONS,
    Candidate,
    end_to_end_candidate,
    engine_candidate,
    network_candidate,
    pytorch_candidate,
    session_candidate,
)
from .sources import Source, config_backbone, onnx_file, our_backbones, timm_backbone
from .sweep import Sweep

ROWS = 'rows.jsonl'
"""The file of rows in the folder ``out``."""


def parse_shape(text: str) -> tuple[int, int]:
    """Height and width of ``224`` or ``800x1344``.

    Raises:
        ConfigError: If it is neither.
    """
    found = re.fullmatch(r'([1-9]\d*)(?:x([1-9]\d*))?', text)
    if not found:
        raise ConfigError(
            f'--shapes or --size {text} is not a size.', expected='224, or 800x1344 (height x width)', fix='correct it'
        )
    return int(found[1]), int(found[2] or found[1])


def known_names(option: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Make sure that names are known.

    Args:
        option: The option that they were given by.
        given: The names.
        known: Those that can be given.

    Raises:
        ConfigError: If one is not known.
    """
    known = list(known)
    for name in given:
        if name not in known:
            raise ConfigError(f'{option} {name} is unknown.', expected=f'some of {", ".join(known)}', fix='correct it')


def check_backends(backends: Iterable[str]) -> None:
    """Make sure that backends are known.

    Raises:
        ConfigError: If one is not.
    """
    known_names('--backends', backends, (PYTORCH, *BACKENDS))


def _positive(**numbers: float | None) -> None:
    for name, value in numbers.items():
        if value is not None and value <= 0:
            raise ConfigError(
                f'--{name.replace("_", "-")} {value} is too small.', expected='a number above 0', fix='correct it'
            )


def candidates_of(
    source: Source,
    shape: Sequence[int],
    backends: Sequence[str],
    modes: Sequence[str],
    precisions: Sequence[str],
    device: str,
    parts: bool = False,
) -> list[Candidate]:
    """One candidate for each backend, mode of PyTorch and precision that go together.

    Args:
        source: The network.
        shape: ``(B, 3, H, W)``.
        backends, modes, precisions: As in :func:`measure_inputs`.
        device: Preferred device; a backend without it runs on its own default.
        parts: Time the blocks too, where a backend tells.
    """
    found = []
    for backend in backends:
        if backend == PYTORCH:
            if source.onnx is None:
                able = PYTORCH_PRECISIONS[device]
                found += [
                    pytorch_candidate(source, shape, mode, precision, device, parts)
                    for mode in modes
                    for precision in precisions
                    if precision in able
                ]
            continue
        about = BACKENDS[backend]
        runs_on = device if device in about.devices else about.devices[0]
        found += [
            session_candidate(source, shape, backend, precision, runs_on, parts)
            for precision in precisions
            if precision in about.precisions
        ]
    return found


def measure_sources(
    sources: Sequence[Source],
    out: str | os.PathLike,
    *,
    batches: Sequence[int] = (1,),
    shapes: Sequence[str] = ('224',),
    **settings: Any,
) -> list[dict]:
    """Measure networks with one image input: those of one batch and shape in turn.

    Args:
        sources: The networks.
        out: Folder of ``rows.jsonl``; rows are added to those that are there.
        batches: Numbers of images.
        shapes: Sizes of the input: ``'224'`` or ``'800x1344'``.
        settings: Further arguments of :func:`measure_inputs`.

    Returns:
        The rows.

    Raises:
        ConfigError: If a size is not one, and as :func:`measure_inputs`.
    """
    sizes = [parse_shape(text) for text in shapes]
    groups = [[(source, (batch, 3, *size)) for source in sources] for size in sizes for batch in batches]
    return measure_inputs(groups, out, **settings)


def measure_inputs(
    groups: Sequence[Sequence[tuple[Source, Sequence[int]]]],
    out: str | os.PathLike,
    *,
    backends: Sequence[str] = (PYTORCH, 'onnxruntime', 'openvino'),
    modes: Sequence[str] = ('eager',),
    precisions: Sequence[str] = ('fp32',),
    parts: bool = False,
    **settings: float | str | bool | None,
) -> list[dict]:
    """Measure networks on inputs of their own: those of one group in turn.

    Args:
        groups: Networks, each with the shape of its input, ``(B, C, H, W)``.
        out: Folder of ``rows.jsonl``; rows are added to those that are there.
        backends: ``'pytorch'`` and names in :data:`~mmtrtvit.runtime.backends.BACKENDS`.
        modes: Modes of PyTorch, some of :data:`~mmtrtvit.benchmark.candidates.pytorch.MODES`.
        precisions: Precisions; each backend is measured in those that it has.
        parts: Time the blocks of backbones too, where a backend tells.
        settings: Arguments of :class:`~mmtrtvit.benchmark.sweep.Sweep`.

    Returns:
        The rows.

    Raises:
        ConfigError: If a name is unknown, a number is not positive, or the machine is busy.
    """
    check_backends(backends)
    known_names('--modes', modes, MODES)
    able = {p for names in PYTORCH_PRECISIONS.values() for p in names} | {
        p for backend in BACKENDS.values() for p in backend.precisions
    }
    known_names('--precisions', precisions, sorted(able))
    for group in groups:
        for _, shape in group:
            _positive(batches=shape[0])
    sweep = make_sweep(out, **settings)
    candidates = [
        [
            candidate
            for source, shape in group
            for candidate in candidates_of(source, shape, backends, modes, precisions, sweep.device, parts)
        ]
        for group in groups
    ]
    if not any(candidates):
        raise ConfigError(
            f'No backend of {", ".join(backends)} has the precision {", ".join(precisions)} on {sweep.device}.',
            expected='; '.join(f'{backend.name}: {" ".join(backend.precisions)}' for backend in BACKENDS.values()),
            fix='choose another precision or backend',
        )
    return sweep(candidates)


def make_sweep(out: str | os.PathLike, **settings) -> Sweep:
    """The run whose rows go into ``out``, once its numbers are checked.

    Raises:
        ConfigError: If a number is not positive, the device is not there, or the machine is busy.
    """
    _positive(**{name: settings.get(name) for name in ('threads', 'max_seconds', 'min_runs')})
    given = {name: value for name, value in settings.items() if value is not None}
    return Sweep(Path(out) / ROWS, **given)


def benchmark_backbone(
    families: Sequence[str] | None = None,
    archs: Sequence[str] | None = None,
    configs: Sequence[str] = (),
    timm: Sequence[str] = (),
    out: str | os.PathLike = 'work_dirs/benchmark',
    **settings,
) -> list[dict]:
    """Measure backbones.

    Args:
        families: Names in :data:`~mmtrtvit.zoo.families.FAMILIES`; by default all, or none if another network is named.
        archs: Their sizes; by default all.
        configs: Configs of mmdet or mmseg, whose backbones are measured.
        timm: Names of timm's models.
        out: Folder of ``rows.jsonl``.
        settings: Further arguments of :func:`measure_sources`.

    Returns:
        The rows.

    Raises:
        ConfigError: As :func:`measure_sources`.
    """
    ours = our_backbones(families, archs) if families or archs or not (configs or timm) else []
    others = [*map(config_backbone, configs), *map(timm_backbone, timm)]
    return measure_sources([*ours, *others], out, **settings)


def benchmark_onnx(files: Sequence[str], out: str | os.PathLike = 'work_dirs/benchmark', **settings) -> list[dict]:
    """Measure ONNX files with one image input, in every backend that is named.

    Args:
        files: The files.
        out: Folder of ``rows.jsonl``.
        settings: Further arguments of :func:`measure_sources`.

    Returns:
        The rows.

    Raises:
        ConfigError: As :func:`measure_sources`.
        DataError: If a file is missing.
    """
    return measure_sources(list(map(onnx_file, files)), out, **settings)


def benchmark_network(
    configs: Sequence[str],
    out: str | os.PathLike = 'work_dirs/benchmark',
    *,
    batches: Sequence[int] = (1,),
    shapes: Sequence[str] = ('800x1344',),
    modes: Sequence[str] = ('eager',),
    precisions: Sequence[str] = ('fp32',),
    **settings,
) -> list[dict]:
    """Measure detectors and segmentors in PyTorch, untrained.

    Args:
        configs: Model configs.
        out: Folder of ``rows.jsonl``.
        batches, shapes, modes, precisions: As in :func:`measure_sources` and :func:`measure_inputs`.
        settings: Arguments of :class:`~mmtrtvit.benchmark.sweep.Sweep`.

    Returns:
        The rows.

    Raises:
        ConfigError: If a config cannot be read, a name is unknown, a number is not positive, or the machine is busy.
    """
    known_names('--modes', modes, MODES)
    known_names('--precisions', precisions, PYTORCH_PRECISIONS['cuda'])
    for batch in batches:
        _positive(batches=batch)
    loaded = {path: load_config(path) for path in configs}
    sizes = [parse_shape(text) for text in shapes]
    sweep = make_sweep(out, **settings)
    return sweep(
        [
            [
                network_candidate(path, config, (batch, 3, *size), mode, precision, sweep.device)
                for path, config in loaded.items()
                for mode in modes
                for precision in precisions
            ]
            for size in sizes
            for batch in batches
        ]
    )


def image_or_noise(image: str | None, size: str) -> str | np.ndarray:
    """The file of an image, or random pixels of a size if there is none."""
    if image is not None:
        return image
    return np.random.default_rng(0).integers(0, 256, (*parse_shape(size), 3), dtype=np.uint8)


def benchmark_engine(
    folders: Sequence[str],
    out: str | os.PathLike = 'work_dirs/benchmark',
    *,
    image: str | None = None,
    size: str = '800x1333',
    shapes: Sequence[str] = (),
    batches: Sequence[int] = (1,),
    graph: bool = False,
    profiler: bool = False,
    parts: bool = False,
    beside: Sequence[str] = (),
    **settings,
) -> list[dict]:
    """Measure the engines of artefacts of ``tools/deploy.py``, called by themselves.

    Args:
        folders: The artefacts.
        out: Folder of ``rows.jsonl``.
        image: The file of the image whose input the engine gets; by default random pixels.
        size: Size of the random pixels.
        shapes: Sizes of random inputs instead.
        batches: Numbers of images of those.
        graph: Replay a CUDA graph; TensorRT only.
        profiler: Measure each in mmdeploy's own wrapper and by its own counter as well, on the image.
        parts: Profile the parts of the networks as well; ONNX Runtime and OpenVINO.
        beside: Other ONNX files of the same network, such as those of mmdeploy's own export, that are measured in the
            backend of each artefact on the same input.
        settings: Arguments of :class:`~mmtrtvit.benchmark.sweep.Sweep`.

    Returns:
        The rows.

    Raises:
        ConfigError: If a number is not positive, or the machine is busy.
        DataError: If the image or a file cannot be read.
        DeployError: If an artefact is incomplete.
    """
    for batch in batches:
        _positive(batches=batch)
    for file in beside:
        onnx_file(file)  # which looks whether it is there
    inputs = [(batch, 3, *parse_shape(text)) for text in shapes for batch in batches] or [None]
    given = image_or_noise(image, size)
    pixels = read_image(given)
    sweep = make_sweep(out, **settings)
    groups = [
        [
            engine_candidate(folder, pixels, shape, device_of(folder, sweep), graph, parts and other is None, other)
            for folder in folders
            for other in (None, *beside)
        ]
        for shape in inputs
    ]
    if profiler:
        groups[0] += profiler_candidates(folders, given, sweep)
    return sweep(groups)


def profiler_candidates(folders: Sequence[str], image: str | np.ndarray, sweep: Sweep) -> list[Candidate]:
    """The engines of artefacts in mmdeploy's own wrapper. Needs mmdeploy, which the other measurements do not."""
    from .candidates.mmdeploy_profiler import profiler_candidate

    return [profiler_candidate(folder, image, device_of(folder, sweep)) for folder in folders]


def device_of(folder: str, sweep: Sweep) -> str:
    """The device that an artefact is measured on."""
    devices = BACKENDS[read_manifest(folder)['backend']].devices
    return sweep.device if sweep.device in devices else devices[0]


def benchmark_end_to_end(
    folders: Sequence[str],
    out: str | os.PathLike = 'work_dirs/benchmark',
    *,
    image: str | None = None,
    size: str = '800x1333',
    **settings,
) -> list[dict]:
    """Measure artefacts as users run them: ``load(folder)(image)``, split into its parts.

    Args:
        folders: The artefacts.
        out: Folder of ``rows.jsonl``.
        image: The file of an image; by default random pixels, which are not decoded.
        size: Size of the random pixels.
        settings: Arguments of :class:`~mmtrtvit.benchmark.sweep.Sweep`.

    Returns:
        The rows.

    Raises:
        ConfigError: If a number is not positive, or the machine is busy.
        DataError: If the image cannot be read.
        DeployError: If an artefact is incomplete.
    """
    given = image_or_noise(image, size)
    read_image(given)
    sweep = make_sweep(out, **settings)
    return sweep([[end_to_end_candidate(folder, given, device_of(folder, sweep)) for folder in folders]])
