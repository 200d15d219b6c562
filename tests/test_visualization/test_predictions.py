"""Predictions of a checkpoint beside the truth, one picture an image."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import mmtrtvit.visualization.predictions as predictions
from mmtrtvit.config import load_config
from mmtrtvit.errors import CheckpointError, ConfigError, DataError
from mmtrtvit.visualization import visualize


@pytest.fixture
def given(monkeypatch):
    """What the pictures are drawn from."""
    seen, draw = [], predictions.draw_side_by_side

    def spy(rows, metainfo, path, **options):
        seen.append((rows[0][0], rows[0][1], metainfo))
        draw(rows, metainfo, path, **options)

    monkeypatch.setattr(predictions, 'draw_side_by_side', spy)
    return seen


def test_detections_beside_the_truth(toy, toy_checkpoint, given, tmp_path):
    written = visualize(toy.config, str(toy_checkpoint), tmp_path / 'out', number=2)
    assert written == [tmp_path / 'out' / f'{path.stem}.png' for path in toy.images[:2]]
    assert all(Image.open(path).width > 1000 for path in written)
    for path, (image, columns, metainfo) in zip(toy.images, given, strict=False):
        np.testing.assert_array_equal(image, cv2.imread(str(path))[..., ::-1])
        assert list(columns) == [path.name, 'truth', 'prediction'] and columns[path.name] is None
        assert len(columns['truth']) > 0 and len(columns['prediction']) > 20
        assert metainfo['classes'][0] == 'disc'
        height, width = image.shape[:2]
        # in the image's own pixels, which the network never saw: it gets 128 at most
        assert columns['truth'].masks.masks.shape[1:] == columns['prediction'].masks.shape[1:] == (height, width)


def joined(config, path):
    """A config that tests on a data set twice, one after the other."""
    cfg = load_config(config)
    cfg.test_dataloader.dataset = dict(type='ConcatDataset', datasets=[cfg.test_dataloader.dataset] * 2)
    cfg.dump(path)
    return str(path)


def test_data_sets_that_are_joined(toy, toy_checkpoint, given, tmp_path):
    visualize(joined(toy.config, tmp_path / 'joined.py'), str(toy_checkpoint), tmp_path / 'out', number=1)
    image, columns, metainfo = given[0]
    assert metainfo['classes'][0] == 'disc' and len(columns['truth']) > 0
    np.testing.assert_array_equal(image, cv2.imread(str(toy.images[0]))[..., ::-1])


def test_truth_is_that_of_the_annotations(toy, toy_checkpoint, given, tmp_path):
    import json

    visualize(toy.config, str(toy_checkpoint), tmp_path / 'out', number=1)
    content = json.loads((toy.data / 'annotations' / 'instances_val2017.json').read_text())
    wanted = [
        [x, y, x + width, y + height]
        for x, y, width, height in (
            item['bbox'] for item in content['annotations'] if item['image_id'] == content['images'][0]['id']
        )
    ]
    np.testing.assert_allclose(given[0][1]['truth'].bboxes.tensor.numpy(), wanted, atol=1e-3)


def test_label_maps_beside_the_truth(toy_seg, given, tmp_path):
    written = visualize(toy_seg.config, str(toy_seg.checkpoint), tmp_path / 'out', number=1)
    assert written == [tmp_path / 'out' / f'{toy_seg.images[0].stem}.png']
    columns = given[0][1]
    truth = cv2.imread(
        str(toy_seg.data / 'annotations' / 'validation' / f'{toy_seg.images[0].stem}.png'), cv2.IMREAD_UNCHANGED
    )
    np.testing.assert_array_equal(columns['truth'].data[0].numpy(), np.where(truth == 0, 255, truth - 1))
    assert columns['prediction'].data.shape == columns['truth'].data.shape
    assert len(torch.unique(columns['prediction'].data)) > 1


def test_images_without_truth(toy_seg, given, tmp_path, monkeypatch):
    folder = tmp_path / 'folder'
    folder.mkdir()
    for name in ('b.png', 'a.JPG'):
        Image.open(toy_seg.images[0]).save(folder / name, format='PNG')
    (folder / 'notes.txt').write_text('no image')
    written = visualize(
        toy_seg.config,
        str(toy_seg.checkpoint),
        tmp_path / 'out',
        images=[folder, toy_seg.images[1], folder / 'b.png'],
        cfg_options={'test_dataloader.dataset.data_root': 'no/such/root'},
    )
    assert [path.name for path in written] == ['a.png', 'b.png', f'{toy_seg.images[1].stem}.png', 'b_2.png']
    assert [list(columns) for _, columns, _ in given] == [
        [name, 'prediction'] for name in ('a.JPG', 'b.png', toy_seg.images[1].name, 'b.png')
    ]


def test_input_that_cannot_be_used(toy_seg, tmp_path):
    def told(kind, checkpoint=toy_seg.checkpoint, **options):
        with pytest.raises(kind) as caught:
            visualize(toy_seg.config, str(checkpoint), tmp_path / 'out', **options)
        assert not (tmp_path / 'out').exists()
        return str(caught.value)

    (tmp_path / 'empty').mkdir()
    (tmp_path / 'text.jpg').write_text('no image')
    assert 'There is no image or folder' in told(DataError, images=[tmp_path / 'none.jpg'])
    assert 'There is no image in the folder' in told(DataError, images=[tmp_path / 'empty'])
    assert 'text.jpg cannot be read' in told(DataError, images=[tmp_path / 'text.jpg'])
    assert '--number 0' in told(ConfigError, number=0)
    for score in (7, -0.1, float('nan')):
        assert '--score-thr' in told(ConfigError, score_thr=score)
    assert 'There is no checkpoint' in told(CheckpointError, checkpoint=tmp_path / 'none.pth')
    options = {'test_dataloader.dataset.data_root': 'no/such/root'}
    assert 'no/such/root does not exist' in told(DataError, cfg_options=options)
