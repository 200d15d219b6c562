"""Contact sheets of what a data pipeline feeds the network."""

import cv2
import mmcv
import numpy as np
import pytest
from PIL import Image

import mmtrtvit.visualization.batches as batches
from mmtrtvit.errors import ConfigError, DataError
from mmtrtvit.visualization import browse

PLAIN = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(128, 128), keep_ratio=True),
    dict(type='RandomFlip', prob=1.0),
    dict(type='PackDetInputs'),
]


@pytest.fixture
def given(monkeypatch):
    """Panels, path and title of every sheet."""
    seen, draw = [], batches.draw_sheet

    def spy(rows, metainfo, path, **options):
        seen.append(([panel for row in rows for panel in row], path, options['title']))
        draw(rows, metainfo, path, **options)

    monkeypatch.setattr(batches, 'draw_sheet', spy)
    return seen


@pytest.mark.slow
def test_images_are_those_that_the_network_gets(toy, given, tmp_path):
    options = {'train_dataloader.dataset.pipeline': PLAIN}
    written = browse(toy.config, tmp_path, number=4, cfg_options=options)
    assert written == [tmp_path / 'train_01.png'] and Image.open(written[0]).width > 2000
    panels, _, title = given[0]
    assert len(panels) == 4 and 'train images' in title
    assert len({panel.image.shape for panel in panels}) == 1, 'a batch is padded to one size'
    for panel in panels:
        name, sizes = panel.title.splitlines()
        original = cv2.imread(str(toy.data / 'train2017' / name))[..., ::-1]
        resized = mmcv.imrescale(original, (128, 128))[:, ::-1]
        height, width = resized.shape[:2]
        assert sizes == (
            f'{original.shape[0]}x{original.shape[1]} > {height}x{width} > '
            f'{panel.image.shape[0]}x{panel.image.shape[1]}, flipped'
        )
        np.testing.assert_array_equal(panel.image[:height, :width], resized)
        # what is added is 0 after normalisation, so the mean colour
        mean = np.round([123.675, 116.28, 103.53])
        assert (panel.image[height:] == mean).all() and (panel.image[:, width:] == mean).all()
        assert panel.image.shape[0] % 32 == panel.image.shape[1] % 32 == 0
        masks, boxes = panel.content.masks.masks, np.asarray(panel.content.bboxes)
        assert len(masks) == len(boxes) > 0
        for mask, box in zip(masks, boxes, strict=True):
            ys, xs = np.nonzero(mask)
            assert np.abs([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] - box).max() <= 2, 'truth moves with it'


def test_the_seed_decides(toy, given, tmp_path):
    for seed in (0, 0, 1):
        browse(toy.config, tmp_path, number=8, seed=seed)
    first, again, other = ([panel.title for panel in sheet[0]] for sheet in given)
    assert first == again != other


@pytest.mark.parametrize('split', ['val', 'test'])
def test_truth_follows_images_of_other_splits(toy_seg, given, tmp_path, split):
    assert browse(toy_seg.config, tmp_path, split=split, number=2) == [tmp_path / f'{split}_01.png']
    for path, panel in zip(toy_seg.images, given[0][0], strict=False):
        assert panel.title.startswith(path.name)
        assert panel.content.data.shape[1:] == panel.image.shape[:2] != cv2.imread(str(path)).shape[:2]
        height, width = map(int, panel.title.split(' > ')[1].split('x'))
        assert all(side % 32 == 0 for side in panel.image.shape[:2])
        labels = panel.content.data[0]
        assert (
            (labels[height:] == 255).all() and (labels[:, width:] == 255).all() and (labels[:height, :width] < 7).any()
        )


def test_crops_are_padded_with_what_is_ignored(toy_seg, given, tmp_path):
    browse(toy_seg.config, tmp_path, number=3)
    for panel in given[0][0]:
        height, width = map(int, panel.title.split(' > ')[1].split('x'))
        assert panel.image.shape == (128, 128, 3)
        labels = panel.content.data[0].numpy()
        assert (labels[height:] == 255).all() and (labels[:, width:] == 255).all()
        assert (labels[:height, :width] < 7).any()


def test_more_images_than_a_sheet_holds(toy, given, tmp_path, monkeypatch):
    monkeypatch.setattr(batches, 'PER_SHEET', 3)
    written = browse(toy.config, tmp_path, number=7)
    assert [path.name for path in written] == ['train_01.png', 'train_02.png', 'train_03.png']
    assert [len(panels) for panels, _, _ in given] == [3, 3, 1]
    assert all(path.is_file() for path in written)


def test_fewer_images_than_asked_for(toy, given, tmp_path):
    browse(toy.config, tmp_path, split='val', number=50)
    assert sum(len(panels) for panels, _, _ in given) == len(toy.images)


def test_input_that_cannot_be_used(toy, tmp_path):
    with pytest.raises(ConfigError, match='--number 0'):
        browse(toy.config, tmp_path, number=0)
    with pytest.raises(ConfigError, match='no trian_dataloader'):
        browse(toy.config, tmp_path, split='trian')
    with pytest.raises(DataError, match='no/such/root does not exist'):
        browse(toy.config, tmp_path, cfg_options={'train_dataloader.dataset.data_root': 'no/such/root'})
    assert not list(tmp_path.iterdir())
