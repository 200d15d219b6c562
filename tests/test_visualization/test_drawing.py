"""Boxes, masks and label maps over an image, and sheets of them."""

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from PIL import Image

from mmtrtvit.visualization import Panel, draw_sheet, draw_side_by_side
from mmtrtvit.visualization.instances import draw_instances
from mmtrtvit.visualization.label_map import ALPHA, classes_in, draw_label_map, has_ignored

METAINFO = dict(classes=('disc', 'ring', 'star'), palette=[(255, 0, 0), (0, 255, 0), (0, 0, 255)])
GREY = 100


@pytest.fixture
def image():
    return np.full((60, 100, 3), GREY, np.uint8)


def instances(*boxes, labels, **more):
    return InstanceData(bboxes=torch.tensor(boxes, dtype=torch.float32), labels=torch.tensor(labels), **more)


def near(picture, y, x, colour, tolerance=40):
    around = picture[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).astype(int)
    return (np.abs(around - colour).max(axis=1) <= tolerance).any()


def test_boxes_lie_where_they_are(image):
    picture = draw_instances(image, instances([20, 10, 70, 50], labels=[1]), METAINFO, 500)
    assert picture.shape == (300, 500, 3)
    for y, x in ((250, 200), (150, 350), (250, 102)):  # bottom, right and left edge, five times as large
        assert near(picture, y, x, METAINFO['palette'][1]), (y, x)
    assert (picture[150, 225] == GREY).all() and (picture[20:, 450:] == GREY).all()


@pytest.mark.parametrize('box', [[97, 57, 100, 60], [-5, -5, 3, 3], [110, 70, 120, 80]])
def test_names_stay_inside(image, box):
    """The whole name is there, on the box's colour, at a corner of the image as elsewhere."""
    colour = np.array(METAINFO['palette'][1])
    whole = draw_instances(image, instances([20, 10, 40, 30], labels=[1]), METAINFO, 500)
    picture = draw_instances(image, instances(box, labels=[1]), METAINFO, 500)
    wanted, found = (
        (np.abs(drawn - colour.astype(int)).max(2) < 60).sum() for drawn in (whole[45:66, 95:135], picture)
    )
    assert found >= 0.7 * wanted > 100


def test_large_images_are_made_smaller(image):
    assert draw_instances(np.tile(image, (10, 10, 1)), instances([0, 0, 9, 9], labels=[0]), METAINFO, 500).shape == (
        300,
        500,
        3,
    )


def test_masks_are_coloured(image):
    masks = torch.zeros(2, 60, 100, dtype=torch.bool)
    masks[0, 10:50, 20:70] = True
    masks[1, 0:5, 90:100] = True
    found = instances([20, 10, 70, 50], [90, 0, 100, 5], labels=[2, 0], masks=masks)
    picture = draw_instances(image, found, METAINFO, 500).astype(int)
    inside = picture[150, 225]
    assert inside[2] > GREY + 50 and inside[0] < GREY - 20 and inside[1] < GREY - 20
    assert (picture[280, 225] == GREY).all()


def test_the_view_stays_on_the_image(image):
    """Objects at or beyond the border must not make the image smaller."""
    marked = image.copy()
    marked[30:34, 50:54] = 255
    masks = torch.ones(1, 60, 100, dtype=torch.bool)
    masks[:, 20:40, 40:60] = False
    picture = draw_instances(marked, instances([-10, -5, 120, 70], labels=[0], masks=masks), METAINFO, 500)
    ys, xs = np.nonzero((picture > 230).all(axis=2) & (np.add.outer(np.arange(300), 0 * np.arange(500)) > 120))
    inside = (ys > 130) & (ys < 190) & (xs > 210) & (xs < 290)
    assert abs(ys[inside].mean() - 159.5) < 2 and abs(xs[inside].mean() - 259.5) < 2


def test_the_same_objects_look_the_same(image):
    masks = torch.zeros(1, 60, 100, dtype=torch.bool)
    masks[:, 10:50, 20:70] = True
    found = instances([20, 10, 70, 50], labels=[2], masks=masks)
    first, second = (draw_instances(image, found, METAINFO, 300) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize('masks', [{}, {'masks': torch.zeros(0, 60, 100, dtype=torch.bool)}])
def test_nothing_found(image, masks):
    empty = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long), **masks)
    assert (draw_instances(image, empty, METAINFO, 200) == GREY).all()


def test_label_maps_are_blended(image):
    labels = torch.zeros(1, 60, 100, dtype=torch.long)
    labels[:, :, 50:] = 2
    labels[:, :10] = 255
    picture = draw_label_map(image, PixelData(data=labels), METAINFO)
    for y, x, colour in ((30, 20, (255, 0, 0)), (30, 80, (0, 0, 255)), (5, 20, (0, 0, 0))):
        expected = (1 - ALPHA) * GREY + ALPHA * np.array(colour)
        assert np.abs(picture[y, x] - expected).max() <= 1
    assert classes_in(PixelData(data=labels), METAINFO) == [0, 2]
    assert has_ignored(PixelData(data=labels), METAINFO)
    assert not has_ignored(PixelData(data=labels[:, 10:]), METAINFO)


def texts(figure):
    from matplotlib.text import Text

    return [found.get_text() for found in figure.findobj(Text) if found.get_text()]


@pytest.fixture
def drawn(monkeypatch):
    """Texts of the figures that are saved."""
    from matplotlib.figure import Figure

    seen, save = [], Figure.savefig

    def spy(self, *args, **kwargs):
        seen.append(texts(self))
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, 'savefig', spy)
    return seen


def test_side_by_side(image, drawn, tmp_path):
    truth = instances([20, 10, 70, 50], labels=[1])
    found = instances([20, 10, 70, 50], [0, 0, 9, 9], labels=[1, 0], scores=torch.tensor([0.9, 0.2]))
    path = tmp_path / 'new' / 'picture.png'
    draw_side_by_side([(image, {'a.jpg': None, 'truth': truth, 'prediction': found})], METAINFO, path)
    assert drawn == [['a.jpg', 'truth: 1', 'prediction: 1']]
    with Image.open(path) as picture:
        assert picture.width == pytest.approx(3 * 520, abs=3) and picture.height < 400
    draw_side_by_side([(image, {'prediction': found})], METAINFO, path, score_thr=0.1)
    assert drawn[-1] == ['prediction: 2']


def test_what_cannot_be_drawn_is_not_left_out(image, tmp_path):
    with pytest.raises(TypeError, match='PyTorch: BaseDataElement is neither'):
        draw_side_by_side([(image, {'PyTorch': BaseDataElement()})], METAINFO, tmp_path / 'sheet.png')
    assert not list(tmp_path.iterdir())


def test_the_legend_names_the_classes_that_are_there(image, drawn, tmp_path):
    truth = torch.zeros(1, 60, 100, dtype=torch.long)
    found = truth.clone()
    found[:, :, 50:] = 2
    panels = [Panel('truth', image, PixelData(data=truth)), Panel('prediction', image, PixelData(data=found))]
    draw_sheet([panels], METAINFO, tmp_path / 'a.png', title='both')
    assert sorted(drawn[0]) == sorted(['truth', 'prediction', 'disc', 'star', 'both'])
    truth[:, 0] = 255
    draw_sheet([panels], METAINFO, tmp_path / 'a.png')
    assert '(ignored)' in drawn[1]


def test_rows_of_different_length_and_long_titles(image, drawn, tmp_path):
    title = 'a title of many words that does not fit above a picture of this width, and is broken into lines'
    rows = [[Panel(title, image), Panel('b', np.rot90(image))], [Panel('c', image)]]
    draw_sheet(rows, METAINFO, tmp_path / 'a.png')
    assert ' '.join(drawn[0][0].split('\n')) == title and drawn[0][0].count('\n') >= 1
