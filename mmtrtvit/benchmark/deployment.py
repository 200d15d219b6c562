"""Every method and size through the whole deployment, with the proof of each artefact as a row."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from ..deploy.export.input_shapes import input_shapes
from ..testing.untrained import find_entry, save_spread, untrained_options
from ..zoo.families import FAMILIES
from ..zoo.methods import METHODS
from .proofs import proof_row
from .results import Results
from .settings import check_settings
from .tables import deployment_table, engines_table

KEY = ('family', 'method', 'arch', 'backend', 'precision')
"""What makes a row the one that it is."""

RANGES = {'COCO': ('320x320', '800x1344', '1344x1344'), 'ADE20K': ('256x256', '512x512', '1024x2048')}
"""Smallest, usual and largest input of engines that need a range, by data set."""


def benchmark_deployment(
    root: Path,
    out: str,
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
    """Convert each method and size for each backend and precision, and keep what its proof says.

    The networks are untrained, as no weights of TRT-ViT are published: that an artefact finds what PyTorch finds can be
    measured on them, mAP and mIoU are near 0. Rows are added to those that are in ``out`` already, or replace them.

    Args:
        root: A checkout.
        out: Folder for ``deployment.json`` and ``deployment.md``.
        family: Of backbones.
        archs: Sizes; all by default.
        methods: Names in :data:`~mmtrtvit.zoo.methods.METHODS`.
        backends: Names of :data:`~mmtrtvit.runtime.backends.BACKENDS`.
        precisions: Of ``fp32``, ``fp16``, ``bf16`` and ``int8``.
        images: Images of the test split to compare on.
        size: Images are resized to fit into a square of this many pixels; by default as the config has it.
        timed: Whether to time PyTorch and each artefact.
        threads: Of PyTorch; as many as it takes by default.

    Returns:
        The rows.

    Raises:
        ConfigError: If there is no such config, a number has no meaning, or ``out`` cannot be written.
    """
    check_settings(images=images, size=size, threads=threads)
    console = Console(highlight=False)
    if threads:
        torch.set_num_threads(threads)
    sizes = archs or (FAMILIES[family].archs if family in FAMILIES else [None])
    entries = [find_entry(root, method, family, arch) for method in methods for arch in sizes]
    results = Results(out, 'deployment')
    for number, entry in enumerate(entries, start=1):
        ranges = RANGES[entry.about.dataset]
        options = untrained_options(entry, size)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder) / 'spread.pth'
            save_spread(entry, options, checkpoint)
            for backend in backends:
                for precision in precisions:
                    console.print(f'[{number}/{len(entries)}] {entry.name}, {backend}, {precision}')
                    about = dict(
                        family=family,
                        method=entry.method,
                        arch=entry.arch,
                        backend=backend,
                        precision=precision,
                        images=images,
                        size=size,
                    )
                    shapes = input_shapes(dynamic=ranges) if backend.startswith('tensorrt') else None
                    row = proof_row(
                        about,
                        entry.path,
                        checkpoint,
                        Path(folder) / 'artefact',
                        shapes=shapes,
                        timed=timed,
                        cfg_options=options,
                    )
                    result = results.add(row, KEY)
    results.show(deployment_table(result), engines_table(result))
    return result
