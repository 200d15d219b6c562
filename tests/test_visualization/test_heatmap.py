"""The picture of a confusion matrix."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from mmtrtvit.visualization.heatmap import WRITTEN, draw_heatmap


@pytest.fixture
def draw(monkeypatch, tmp_path):
    """Size of the picture of a matrix, and the texts in it."""
    texts, save = [], Figure.savefig

    def spy(self, *args, **kwargs):
        texts.extend(found.get_text() for found in self.findobj(Text) if found.get_text())
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, 'savefig', spy)

    def run(counts, names):
        with np.errstate(invalid='ignore'):
            draw_heatmap(counts / counts.sum(1, keepdims=True), counts, names, 'title', tmp_path / 'a.png')
        return Image.open(tmp_path / 'a.png').size, texts

    return run


def test_names_and_percentages(draw):
    _, texts = draw(np.array([[3, 1], [0, 8]]), ['disc', 'ring'])
    assert texts.count('disc') == texts.count('ring') >= 2
    assert {'75', '25', 'title', 'truth', 'prediction'} <= set(texts)


def test_classes_that_do_not_occur_are_left_out(draw):
    counts = np.zeros((4, 4), int)
    counts[0, 2] = 5
    _, texts = draw(counts, ['a1', 'b1', 'c1', 'd1'])
    assert 'a1' in texts and 'c1' in texts and 'b1' not in texts and 'd1' not in texts
    assert any('2 classes are neither' in text for text in texts)


def test_many_classes_stay_legible_and_small_enough(draw):
    (width, height), texts = draw(np.eye(150, dtype=int), [f'class {index}' for index in range(150)])
    assert 2000 < width < 5000 and 2000 < height < 5000
    assert all(f'class {index}' in texts for index in range(150)) and WRITTEN < 150
    # 100 stands at the colour bar only
    assert texts.count('100') <= 1
