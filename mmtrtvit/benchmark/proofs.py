"""Proofs of artefacts in each backend and precision, as rows: of untrained networks, or of a checkpoint."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console

from ..deploy.conversion import deploy
from ..deploy.export.input_shapes import InputShapes, input_shapes
from ..deploy.proof.report import REPORT
from ..errors import ConfigError, UserError
from ..runtime.backends import BACKENDS, find_backend
from ..testing.untrained import save_spread, untrained_options
from ..zoo.configs import select_configs
from ..zoo.methods import METHODS
from .rows import Results, check_settings

KEPT = ('subject', 'verdict', 'passed', 'failures', 'doubts', 'parity', 'metrics', 'exact', 'latency_ratio')
"""Fields of a proof that a row keeps."""

KEPT_OF_ENGINE = ('package', 'version', 'targets', 'profiles', 'seconds', 'activation_bytes', 'share_of_layers')
"""Fields of the report of an engine that a row keeps."""

RANGES = {'COCO': ('320x320', '800x1344', '1344x1344'), 'ADE20K': ('256x256', '512x512', '1024x2048')}
"""Smallest, usual and largest input of engines that need a range, by data set."""


def proof_row(
    about: Mapping,
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    folder: Path,
    *,
    shapes: InputShapes | None,
    timed: bool,
    cfg_options: Mapping | None,
) -> dict:
    """Convert a checkpoint and return its proof as a row, or the message of a failed conversion.

    Args:
        about: The first fields of the row; among them ``backend``, ``precision`` and ``images``.
        config: The model config.
        checkpoint: The checkpoint.
        folder: Folder of the artefact.
        shapes: Input sizes, which TensorRT needs.
        timed: Whether to time PyTorch and the artefact.
        cfg_options: Changes to the model config, dotted key to value.
    """
    try:
        with contextlib.redirect_stdout(None):
            manifest, proof = deploy(
                config,
                str(checkpoint),
                work_dir=folder,
                backend=about['backend'],
                precision=about['precision'],
                shapes=shapes,
                images=about['images'],
                timed=timed,
                cfg_options=cfg_options,
            )
    except UserError as error:
        # rows are read on other machines
        return {**about, 'error': str(error).replace(f'{folder}{os.sep}', '')}
    found = proof.to_dict()
    report = json.loads((folder / REPORT).read_text())
    engine = report['engine']
    return {
        **about,
        **{name: found[name] for name in KEPT},
        'latency': {row['name']: row['median'] for row in found['latency']},
        'steady': all(row['steady'] for row in found['latency']),
        'flavour': manifest['flavour'],
        'nodes': sum(manifest['operators'].values()),
        'engine_bytes': report['engine_bytes'],
        'versions': {name: manifest['versions'].get(name) for name in ('torch', 'onnxruntime', 'openvino')},
        'engine': engine and {**{name: engine[name] for name in KEPT_OF_ENGINE}, 'layers': len(engine['layers'])},
    }


def _add_proofs(
    results: Results,
    about: Mapping,
    key: Sequence[str],
    wanted: Iterable[tuple[str, str]],
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    *,
    dynamic: Sequence[str] | None,
    timed: bool,
    cfg_options: Mapping | None,
) -> dict:
    """Convert a checkpoint for each backend and precision, and add the rows to ``results``.

    Args:
        results: The file of rows; a row takes the place of an earlier one of the same network, backend and precision.
        about: The first fields of every row.
        key: Those of them that name the network.
        wanted: Backends and precisions.
        config: The model config.
        checkpoint: The checkpoint.
        dynamic: Smallest, usual and largest input size, each HxW, for TensorRT.
        timed: Whether to time PyTorch and each artefact.
        cfg_options: Changes to the model config.

    Returns:
        The content of the file.
    """
    console = Console(highlight=False)
    result = {}
    for backend, precision in wanted:
        console.print(f'{Path(config).stem}, {backend}, {precision}', markup=False)
        shapes = input_shapes(dynamic=dynamic) if find_backend(backend).needs_shapes else None
        with tempfile.TemporaryDirectory() as folder:
            row = proof_row(
                {**about, 'backend': backend, 'precision': precision},
                config,
                checkpoint,
                Path(folder) / 'artefact',
                shapes=shapes,
                timed=timed,
                cfg_options=cfg_options,
            )
        result = results.add(row, (*key, 'backend', 'precision'))
    return result


def _line(row: Mapping) -> str:
    """A row as one line of text."""
    name = row.get('config') or f'{row["method"]} {row["family"]} {row["arch"]}'
    said = f'{name}, {row["backend"]}, {row["precision"]}: '
    if 'error' in row:
        return said + row['error'].splitlines()[0]
    parity = row['parity']
    said += f'{row.get("verdict") or ("PASS" if row["passed"] else "FAIL")}, {parity["same"]} of '
    said += f'{parity["detections"]} detections' if 'detections' in parity else f'{parity["pixels"]} pixels'
    return said + (f', {row["latency_ratio"]:.2f} times as fast as PyTorch' if row['latency_ratio'] else '')


def benchmark_deployment(
    root: Path,
    out: str = 'work_dirs/deployment',
    *,
    family: str = 'trtvit',
    archs: Sequence[str] | None = None,
    methods: Sequence[str] = tuple(METHODS),
    backends: Sequence[str] = ('onnxruntime', 'openvino'),
    precisions: Sequence[str] = ('fp32',),
    images: int = 4,
    size: int | None = None,
    timed: bool = True,
    threads: int | None = None,
) -> dict:
    """Convert each method and size, untrained, for each backend and precision.

    No weights of TRT-ViT are published, so mAP and mIoU are near 0; agreement with PyTorch can still be measured. Rows
    are added to those that are in ``out`` already, or replace them.

    Args:
        root: A checkout.
        out: Folder for ``deployment.json``.
        family: The family of the backbones.
        archs: Sizes; all by default.
        methods: Names in :data:`~mmtrtvit.zoo.methods.METHODS`.
        backends: Names of :data:`~mmtrtvit.runtime.backends.BACKENDS`.
        precisions: Any of ``fp32``, ``fp16``, ``bf16`` and ``int8``.
        images: Images of the test split to compare on.
        size: Images are resized to fit into a square of this many pixels; by default as the config has it.
        timed: Whether to time PyTorch and each artefact.
        threads: PyTorch's threads; its own choice by default.

    Returns:
        The content of ``deployment.json``: ``rows`` and the ``machine``.

    Raises:
        ConfigError: If no config matches, a number is not positive, or ``out`` cannot be written.
    """
    check_settings(images=images, size=size, threads=threads)
    if threads:
        torch.set_num_threads(threads)
    entries = select_configs(Path(root), family, methods, archs)
    results, result = Results(out, 'deployment'), {'rows': []}
    wanted = [(backend, precision) for backend in backends for precision in precisions]
    for entry in entries:
        about = dict(family=family, method=entry.method, arch=entry.arch, images=images, size=size)
        options = untrained_options(entry, size)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder) / 'spread.pth'
            save_spread(entry, options, checkpoint)
            result = _add_proofs(
                results,
                about,
                ('family', 'method', 'arch'),
                wanted,
                entry.path,
                checkpoint,
                dynamic=RANGES[entry.about.dataset],
                timed=timed,
                cfg_options=options,
            )
    results.show(map(_line, result['rows']))
    return result


def benchmark_precisions(
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    out: str = 'work_dirs/precisions',
    *,
    backends: Sequence[str] = ('onnxruntime', 'openvino'),
    precisions: Sequence[str] | None = None,
    dynamic: Sequence[str] | None = None,
    images: int = 80,
    timed: bool = True,
    threads: int | None = None,
    cfg_options: Mapping | None = None,
) -> dict:
    """Convert a trained checkpoint in each precision for each backend.

    Rows are added to those that are in ``out`` already, or replace them, so that several networks share a file.

    Args:
        config: The model config.
        checkpoint: The checkpoint.
        out: Folder for ``precisions.json``.
        backends: Names of :data:`~mmtrtvit.runtime.backends.BACKENDS`.
        precisions: Any of ``fp32``, ``fp16``, ``bf16`` and ``int8``; by default all that each backend has.
        dynamic: Smallest, usual and largest input size, each HxW, which TensorRT needs.
        images: Images of the test split to compare and evaluate on.
        timed: Whether to time PyTorch and each artefact.
        threads: PyTorch's threads; its own choice by default.
        cfg_options: Changes to the model config, dotted key to value.

    Returns:
        The content of ``precisions.json``: ``rows`` and the ``machine``.

    Raises:
        ConfigError: If a backend or precision is unknown, a number is not positive, or ``out`` cannot be written.
    """
    check_settings(images=images, threads=threads)
    wanted = [
        (backend, precision)
        for backend in backends
        if backend in BACKENDS
        for precision in BACKENDS[backend].precisions
        if precision in (precisions or BACKENDS[backend].precisions)
    ]
    unknown = [name for name in backends if name not in BACKENDS]
    unknown += [name for name in precisions or () if name not in {precision for _, precision in wanted}]
    if unknown:
        known = '; '.join(f'{backend.name}: {" ".join(backend.precisions)}' for backend in BACKENDS.values())
        raise ConfigError(f'There is no {", ".join(unknown)} here.', expected=known, fix='correct the names')
    if threads:
        torch.set_num_threads(threads)
    results = Results(out, 'precisions')
    about = dict(config=Path(config).stem, images=images)
    result = _add_proofs(
        results, about, ['config'], wanted, config, checkpoint, dynamic=dynamic, timed=timed, cfg_options=cfg_options
    )
    results.show(map(_line, result['rows']))
    return result
