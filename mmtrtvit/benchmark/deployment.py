"""Every method and size through the whole deployment, with the proof of each artefact as a row."""

import contextlib
import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.registry import MODELS, init_default_scope
from rich.console import Console

from ..apis.config import load_config
from ..deploy.conversion import deploy
from ..deploy.inference import sample_images
from ..deploy.shapes import input_shapes
from ..errors import ConfigError, UserError
from .families import FAMILIES
from .latency import machine
from .methods import METHODS
from .rows import read_rows, write_rows
from .spread import spread_outputs
from .tables import deployment_table
from .zoo import Entry, find_configs

ROWS = 'deployment.json'

RANGES = {'COCO': ('320x320', '800x1344', '1344x1344'), 'ADE20K': ('256x256', '512x512', '1024x2048')}
"""Smallest, usual and largest input of engines that need a range, by data set."""

KEPT = ('subject', 'passed', 'failures', 'parity', 'metrics', 'exact', 'latency_ratio')
"""What a row keeps of a proof."""


def _entry(root: Path, method: str, family: str, arch: str) -> Entry:
    known = [entry for entry in find_configs(root) if (entry.method, entry.family) == (method, family)]
    for entry in known:
        if entry.arch == arch and entry.schedule == METHODS[method].schedule:
            return entry
    raise ConfigError(
        f'There is no config of {method} on {family} {arch}.',
        expected=f'--methods {" ".join(METHODS)}; --family {" ".join(FAMILIES)}; --archs '
        + ' '.join(dict.fromkeys(entry.arch for entry in known)),
        fix='correct them',
    )


def _save_spread(entry: Entry, options: dict, path: Path) -> None:
    """Write a checkpoint of a network that was never trained, and whose outputs differ."""
    config = load_config(entry.path, options)
    init_default_scope(config.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(config.model))
    model.init_weights()
    spread_outputs(model, config, sample_images(config, 3))
    torch.save({'state_dict': model.state_dict()}, path)


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
        methods: Names in :data:`~mmtrtvit.benchmark.methods.METHODS`.
        backends: Names of :data:`~mmtrtvit.deploy.backends.BACKENDS`.
        precisions: Of ``fp32``, ``fp16``, ``bf16`` and ``int8``.
        images: Images of the test split to compare on.
        size: Images are resized to fit into a square of this many pixels; by default as the config has it.
        timed: Whether to time PyTorch and each artefact.
        threads: Of PyTorch; as many as it takes by default.

    Returns:
        The rows.

    Raises:
        ConfigError: If there is no such config.
    """
    console = Console(highlight=False)
    if threads:
        torch.set_num_threads(threads)
    entries = [_entry(root, method, family, arch) for method in methods for arch in archs or FAMILIES[family].archs]
    path = Path(out) / ROWS
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {_key(row): row for row in (read_rows(path) or {}).get('rows', [])}
    for number, entry in enumerate(entries, start=1):
        options = {'model.backbone.init_cfg': None}
        if size:
            place = next(i for i, step in enumerate(load_config(entry.path).test_pipeline) if step.type == 'Resize')
            for pipeline in ('test_pipeline', 'test_dataloader.dataset.pipeline'):
                options[f'{pipeline}.{place}.scale'] = (size, size)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder) / 'spread.pth'
            _save_spread(entry, options, checkpoint)
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
                    row = _row(about, entry, checkpoint, Path(folder) / 'artefact', timed, options)
                    rows[_key(row)] = row
                    result = {'rows': list(rows.values()), 'machine': [machine()]}
                    write_rows(result, path)
    (Path(out) / 'deployment.md').write_text(deployment_table(result) + '\n')
    console.print(f'Rows and table: {out}')
    return result


def _key(row: dict) -> tuple:
    return tuple(row[name] for name in ('family', 'method', 'arch', 'backend', 'precision'))


def _row(about: dict, entry: Entry, checkpoint: Path, folder: Path, timed: bool, options: dict) -> dict:
    """What the proof of one artefact says, or the message with which its conversion ended."""
    backend = about['backend']
    shapes = input_shapes(dynamic=RANGES[entry.about.dataset]) if backend.startswith('tensorrt') else None
    try:
        with contextlib.redirect_stdout(None):
            manifest, proof = deploy(
                entry.path,
                str(checkpoint),
                work_dir=folder,
                backend=backend,
                precision=about['precision'],
                shapes=shapes,
                images=about['images'],
                timed=timed,
                cfg_options=options,
            )
    except UserError as error:
        return {**about, 'error': str(error)}
    found = proof.to_dict()
    return {
        **about,
        **{name: found[name] for name in KEPT},
        'latency': {row['name']: row['median'] for row in found['latency']},
        'steady': all(row['steady'] for row in found['latency']),
        'flavour': manifest['flavour'],
        'nodes': sum(manifest['operators'].values()),
        'engine_bytes': manifest['files'][manifest['engine']]['bytes'],
        'versions': {name: manifest['versions'].get(name) for name in ('torch', 'onnxruntime', 'openvino')},
    }
