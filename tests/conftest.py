"""What all tests share: where real data may lie, and tests that skip, saying why, where they cannot run."""

import dataclasses
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# COCO and ADE20K subsets beside the checkout, or wherever the variable says.
REAL_DATA = Path(os.environ.get('MMTRTVIT_REAL_DATA', ROOT.parent / 'shared' / 'data'))


@pytest.fixture(scope='session')
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope='session')
def real_data() -> Path:
    """Folder with real data in ``coco/`` and ``ade/``, for tests marked ``realdata``."""
    return REAL_DATA


@pytest.fixture(autouse=True)
def pictures_are_drawn_by_the_visualizer_of_now() -> Iterator[None]:
    """Forget mmengine's visualizers: hooks draw with the one that was named last in the process, whoever asks."""
    yield
    if 'mmengine.visualization' in sys.modules:
        sys.modules['mmengine.visualization'].Visualizer._instance_dict.clear()


@pytest.fixture(autouse=True)
def children_that_end_interrupt_nothing() -> Iterator[None]:
    """Take back the handler of ended children that PyTorch's data loader leaves in the process for good.

    With it, and after hundreds of tests with several native libraries, a child that ended while its parent waited
    brought the parent down by SIGSEGV, in ``poll``: the kernel could not deliver the signal.
    """
    yield
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs data, a GPU or another implementation that is not here."""
    reasons = {}
    if not (REAL_DATA / 'coco').is_dir():
        reasons['realdata'] = f'no real data at {REAL_DATA} (set MMTRTVIT_REAL_DATA)'
    if any(item.get_closest_marker('gpu') for item in items) and not _has_gpu():
        reasons['gpu'] = 'torch sees no CUDA GPU'
    if importlib.util.find_spec('timm') is None:
        reasons['reference'] = 'no reference implementation in this environment (make parity runs this test)'
    for item in items:
        for marker, reason in reasons.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


# --- a small detector, trained and then given outputs that differ: for training, export and the command lines ---------

TOY_CONFIG = """
_base_ = {base!r}

data_root = {data!r}
channels = 32
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, widths=(32, 32, 64, 64), depths=(1, 1, 2, 2), block_types=('C', 'C', 'C', 'M')
        )
    ),
    neck=dict(in_channels=[32, 32, 64, 64], out_channels=channels),
    rpn_head=dict(in_channels=channels, feat_channels=channels),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=channels),
        bbox_head=dict(in_channels=channels, fc_out_channels=64),
        mask_roi_extractor=dict(out_channels=channels),
        mask_head=dict(num_convs=1, in_channels=channels, conv_out_channels=channels),
    ),
    test_cfg=dict(rcnn=dict(max_per_img=100)),
)
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=2, val_interval=2)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=10)]
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(max_keep_ckpts=3))
randomness = dict(seed=0)
"""


@dataclasses.dataclass(frozen=True)
class Toy:
    """A config of a Mask R-CNN on a TRT-ViT of a few thousand parameters, and the data that it reads."""

    config: Path
    data: Path

    @property
    def images(self) -> list[Path]:
        """The images of the test split."""
        return sorted((self.data / 'val2017').iterdir())


@pytest.fixture(scope='session')
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """16 training images, 5 to evaluate on, and a config for them."""
    import torch

    from mmtrtvit.datasets.toy import make_toy_dataset

    torch.set_num_threads(1)  # the network is so small that threads would only wait for each other

    folder = tmp_path_factory.mktemp('toy')
    data = make_toy_dataset(folder / 'data', train=16, val=5, progress=False).coco
    config = folder / 'tiny.py'
    config.write_text(
        TOY_CONFIG.format(base=str(ROOT / 'configs' / 'maskrcnn_trtvit_a_toy.py'), data=f'{data.as_posix()}/')
    )
    return Toy(config, data)


@pytest.fixture(scope='session')
def toy_run(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work dir of two epochs of training: epoch_1.pth, epoch_2.pth and the logs."""
    from mmtrtvit.apis import train

    work_dir = tmp_path_factory.mktemp('toy_run')
    train(toy.config, work_dir=str(work_dir))
    return work_dir


@pytest.fixture(scope='session')
def toy_checkpoint(toy: Toy, toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, without training state, whose detections are many and differ."""
    import cv2
    import torch

    from mmtrtvit.apis import load_config
    from mmtrtvit.deploy.proof.inference import build_pytorch_model
    from mmtrtvit.testing.untrained import spread_outputs

    config = load_config(toy.config)
    model = build_pytorch_model(config, str(toy_run / 'epoch_2.pth'))
    # with this seed, one image has fewer objects than the network has places for
    spread_outputs(model, config, [cv2.imread(str(path)) for path in toy.images], seed=8)
    path = tmp_path_factory.mktemp('toy_checkpoint') / 'spread.pth'
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, path)
    return path


# --- a small segmentor, for the tests of evaluation and pictures -----------------------------------------------------

TOY_SEG_CONFIG = """
_base_ = {base!r}

data_root = {data!r}
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True, widths=(32, 32, 64, 64), depths=(1, 1, 2, 2), block_types=('C', 'C', 'C', 'M')
        )
    ),
    neck=dict(in_channels=[32, 32, 64, 64], out_channels=16),
    decode_head=dict(in_channels=[16, 16, 16, 16], channels=16),
)
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
"""


@dataclasses.dataclass(frozen=True)
class ToySeg:
    """A config of a Semantic FPN on a TRT-ViT of a few thousand parameters, its data, and an untrained checkpoint."""

    config: Path
    data: Path
    checkpoint: Path

    @property
    def images(self) -> list[Path]:
        """The images of the test split."""
        return sorted((self.data / 'images' / 'validation').iterdir())


@pytest.fixture(scope='session')
def toy_seg(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> ToySeg:
    """The scenes of ``toy`` in the ADE20K layout, and a segmentor whose predictions have many classes."""
    import cv2
    import numpy as np
    import torch
    from mmengine.registry import MODELS, init_default_scope

    from mmtrtvit.apis import load_config

    folder = tmp_path_factory.mktemp('toy_seg')
    data = toy.data.parent / 'ade' / 'ADEChallengeData2016'
    config = folder / 'tiny_seg.py'
    config.write_text(
        TOY_SEG_CONFIG.format(base=str(ROOT / 'configs' / 'semfpn_trtvit_a_toy.py'), data=f'{data.as_posix()}/')
    )
    made = ToySeg(config, data, folder / 'spread.pth')

    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(load_config(config).model)
    images = np.stack([cv2.resize(cv2.imread(str(path)), (128, 96))[..., ::-1] for path in made.images])
    batch = torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float()
    batch = (batch - model.data_preprocessor.mean) / model.data_preprocessor.std
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None
    with torch.no_grad():
        model.train()(batch)
        model.eval()
        # an untrained head scores all classes nearly alike, and one class wins everywhere
        scores = model(batch)
        model.decode_head.conv_seg.bias.copy_(-scores.mean((0, 2, 3)))
        model.decode_head.conv_seg.weight.mul_(3 / scores.std())
        model.decode_head.conv_seg.bias.mul_(3 / scores.std())
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, made.checkpoint)
    return made
