"""The proof of one artefact as a row."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from ..deploy.conversion import deploy
from ..deploy.export.input_shapes import InputShapes
from ..deploy.proof.report import REPORT
from ..errors import UserError

KEPT = ('subject', 'passed', 'failures', 'parity', 'metrics', 'exact', 'latency_ratio')
"""What a row keeps of a proof."""

KEPT_OF_ENGINE = ('package', 'version', 'targets', 'profiles', 'seconds', 'activation_bytes', 'share_of_layers')
"""What it keeps of what a backend says of its engine."""


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
    """Convert a checkpoint, and keep what the proof says or the message with which the conversion ended.

    Args:
        about: What the row begins with; among it ``backend``, ``precision`` and ``images``.
        config: The model config.
        checkpoint: The checkpoint.
        folder: Where the artefact goes.
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
