"""Small networks of three methods, and the commands of ``tools/`` on them."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

RETINANET = """
_base_ = {base!r}

data_root = {data!r}
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, widths=(32, 32, 64, 64), depths=(1, 1, 2, 2), block_types=('C', 'C', 'C', 'M')
        )
    ),
    neck=dict(in_channels=[32, 32, 64, 64]),
)
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator
"""


@dataclasses.dataclass(frozen=True)
class Network:
    """A config, a checkpoint whose predictions are many and differ, and images of its test split."""

    config: Path
    checkpoint: Path
    images: list[Path]


def _retinanet(root: Path, toy, folder: Path) -> Network:
    import torch
    from mmengine.registry import MODELS, init_default_scope

    from mmtrtvit.apis import load_config
    from mmtrtvit.deploy.proof.images import sample_images
    from mmtrtvit.testing.untrained import spread_outputs

    made = Network(folder / 'retinanet.py', folder / 'retinanet.pth', toy.images)
    base = root / 'configs' / 'retinanet_trtvit_a_toy.py'
    made.config.write_text(RETINANET.format(base=str(base), data=f'{toy.data.as_posix()}/'))
    config = load_config(made.config)
    init_default_scope(config.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    spread_outputs(model, config, sample_images(config, 5))
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, made.checkpoint)
    return made


@pytest.fixture(scope='session')
def networks(root, toy, toy_checkpoint, toy_seg, tmp_path_factory) -> dict[str, Network]:
    """Mask R-CNN, RetinaNet and Semantic FPN on a TRT-ViT of a few thousand parameters."""
    return {
        'maskrcnn': Network(toy.config, toy_checkpoint, toy.images),
        'retinanet': _retinanet(root, toy, tmp_path_factory.mktemp('retinanet')),
        'semfpn': Network(toy_seg.config, toy_seg.checkpoint, toy_seg.images),
    }


@pytest.fixture(scope='session')
def python(root) -> Callable[..., subprocess.CompletedProcess]:
    """Run Python in a process of its own, with this checkout's package."""

    def run(*args) -> subprocess.CompletedProcess:
        environment = {**os.environ, 'PYTHONPATH': str(root)}
        return subprocess.run(
            [sys.executable, *map(str, args)], cwd=root, env=environment, capture_output=True, text=True
        )

    return run


@pytest.fixture(scope='session')
def deployed(root, python) -> Callable[..., dict]:
    """Put a network through ``tools/deploy.py``, and give what its report says."""

    def run(network: Network, folder: Path, *options) -> dict:
        tool = root / 'tools' / 'deploy.py'
        done = python(tool, network.config, network.checkpoint, '--work-dir', folder, '--images', 5, *options)
        # 1: the artefact is there, and the verdict is that it differs, which is for the tests to judge
        assert done.returncode in (0, 1, 3), done.stdout[-3000:] + done.stderr[-3000:]
        return json.loads((folder / 'deploy_report.json').read_text())

    return run
