"""One trained network in every precision of every backend: what each costs in accuracy, and what it brings."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console

from ..deploy.engines.build import PRECISIONS
from ..deploy.export.input_shapes import input_shapes
from ..errors import ConfigError
from .proofs import proof_row
from .results import Results
from .settings import check_settings
from .tables import precisions_table

KEY = ('config', 'backend', 'precision')
"""What makes a row the one that it is."""


def benchmark_precisions(
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    out: str,
    *,
    backends: Sequence[str] = ('onnxruntime', 'openvino'),
    precisions: Sequence[str] | None = None,
    dynamic: Sequence[str] | None = None,
    images: int = 80,
    timed: bool = True,
    threads: int | None = None,
    cfg_options: Mapping | None = None,
) -> dict:
    """Convert a trained checkpoint in each precision for each backend, and keep what its proof says.

    Rows are added to those that are in ``out`` already, or replace them, so that several networks share a table.

    Args:
        config: The model config.
        checkpoint: The checkpoint.
        out: Folder for ``precisions.json`` and ``precisions.md``.
        backends: Names of :data:`~mmtrtvit.runtime.backends.BACKENDS`.
        precisions: Of ``fp32``, ``fp16``, ``bf16`` and ``int8``; by default all that each backend has.
        dynamic: Smallest, usual and largest input size, each HxW, which TensorRT needs.
        images: Images of the test split to compare and evaluate on.
        timed: Whether to time PyTorch and each artefact.
        threads: Of PyTorch; as many as it takes by default.
        cfg_options: Changes to the model config, dotted key to value.

    Returns:
        The rows.

    Raises:
        ConfigError: If there is no such backend or precision, a number has no meaning, or ``out`` cannot be written.
    """
    check_settings(images=images, threads=threads)
    wanted = [
        (backend, precision)
        for backend in backends
        for precision in PRECISIONS.get(backend, ())
        if precision in (precisions or PRECISIONS[backend])
    ]
    unknown = [name for name in backends if name not in PRECISIONS]
    unknown += [name for name in precisions or () if name not in {precision for _, precision in wanted}]
    if unknown:
        known = '; '.join(f'{backend}: {" ".join(names)}' for backend, names in PRECISIONS.items())
        raise ConfigError(f'There is no {", ".join(unknown)} here.', expected=known, fix='correct the names')
    console = Console(highlight=False)
    if threads:
        torch.set_num_threads(threads)
    results = Results(out, 'precisions')
    name = Path(config).stem
    for number, (backend, precision) in enumerate(wanted, start=1):
        console.print(f'[{number}/{len(wanted)}] {name}, {backend}, {precision}')
        about = dict(config=name, backend=backend, precision=precision, images=images)
        with tempfile.TemporaryDirectory() as folder:
            row = proof_row(
                about,
                config,
                checkpoint,
                Path(folder) / 'artefact',
                shapes=input_shapes(dynamic=dynamic) if backend.startswith('tensorrt') else None,
                timed=timed,
                cfg_options=cfg_options,
            )
        result = results.add(row, KEY)
    results.show(precisions_table(result))
    return result
