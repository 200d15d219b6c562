"""Training from scratch: a row for each run, reproducible, resumable, and honest about failures."""

import json

import cv2
import numpy as np
import pytest
import torch

from mmtrtvit.errors import ConfigError, DataError
from mmtrtvit.study import networks, training
from mmtrtvit.study.networks import Network
from mmtrtvit.study.training import Photographs, Recipe, study_training

SETTINGS = dict(size=32, width=0.25, epochs=2, batch=4, threads=1)


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """Red and blue images of odd sizes, and small networks to learn them."""
    random = np.random.default_rng(0)
    for split, number in (('train', 8), ('val', 4)):
        for name, colour in (('blue', (200, 60, 60)), ('red', (60, 60, 200))):
            folder = tmp_path / 'data' / split / name
            folder.mkdir(parents=True)
            for place in range(number):
                noise = random.integers(-40, 40, (41 + 7 * place, 90 - 5 * place, 3))
                cv2.imwrite(str(folder / f'{place}.png'), np.clip(colour + noise, 0, 255).astype(np.uint8))
    for name, types in dict(a='CCCC', b='CCCM').items():
        monkeypatch.setitem(networks.NETWORKS, name, Network(types, (1, 1, 1, 1)))
    return tmp_path / 'data'


def test_runs_leave_rows_and_are_not_repeated(photographs, tmp_path, monkeypatch, capfd):
    rows = study_training(photographs, ['a', 'b'], [0, 1], tmp_path / 'out', **SETTINGS)
    assert [(row['name'], row['seed']) for row in rows] == [('a', 0), ('b', 0), ('a', 1), ('b', 1)]
    for row in rows:
        assert row['status'] == 'OK' and len(row['losses']) == 2 and row['guess'] == 50.0
        assert (row['train_images'], row['val_images'], row['classes']) == (16, 8, ['blue', 'red'])
        assert 0 <= row['top1'] <= 100 and row['recipe']['size'] == 32 and row['data'] == 'data'
    assert rows[0]['params'] != rows[1]['params'] and rows[0]['macs'] < rows[1]['macs'] * 2
    assert rows[0]['losses'] != rows[2]['losses']  # another seed

    file = tmp_path / 'out' / 'study_accuracy.json'
    file.write_text(json.dumps(dict(rows=rows[1:])))
    trained = []
    real = training.train_network
    monkeypatch.setattr(training, 'train_network', lambda *args: trained.append(args[-1]) or real(*args))
    again = study_training(photographs, ['a', 'b'], [0, 1], tmp_path / 'out', **SETTINGS)
    assert trained == [0]
    (one,) = (row for row in again if (row['name'], row['seed']) == ('a', 0))
    assert (one['losses'], one['top1']) == (rows[0]['losses'], rows[0]['top1'])
    assert '3 of 4 runs have a row' in ''.join(capfd.readouterr())
    study_training(photographs, ['a'], [0], tmp_path / 'out', **dict(SETTINGS, epochs=1))
    assert len(trained) == 2  # another recipe is another run


def test_what_can_be_learnt_is_learnt(photographs, tmp_path):
    (row,) = study_training(photographs, ['b'], [0], tmp_path / 'out', **dict(SETTINGS, epochs=8))
    assert row['top1'] == 100.0 and row['losses'][-1] < row['losses'][0]


def test_a_run_that_fails_is_a_row_and_the_others_go_on(photographs, tmp_path, monkeypatch):
    real = Network.backbone

    def backbone(network, *args, **settings):
        built = real(network, *args, **settings)
        if network.types == 'CCCC':
            built.forward = lambda x: (built.stem(x).mean((2, 3), keepdim=True)[:, :1].expand(-1, 256, 1, 1) * np.nan,)
        return built

    monkeypatch.setattr(Network, 'backbone', backbone)
    a, b = study_training(photographs, ['a', 'b'], [0], tmp_path / 'out', **SETTINGS)
    assert a['status'] == 'FAILED' and 'nan' in a['reason'] and 'top1' not in a
    assert b['status'] == 'OK'


def test_an_interruption_keeps_the_rows(photographs, tmp_path, monkeypatch):
    real = training.train_network

    def interrupted(network, *args):
        if network.types == 'CCCM':
            raise KeyboardInterrupt
        return real(network, *args)

    monkeypatch.setattr(training, 'train_network', interrupted)
    with pytest.raises(KeyboardInterrupt):
        study_training(photographs, ['a', 'b'], [0], tmp_path / 'out', **SETTINGS)
    (row,) = json.loads((tmp_path / 'out' / 'study_accuracy.json').read_text())['rows']
    assert (row['name'], row['status']) == ('a', 'OK')


def test_images_are_read_once_and_cut_to_the_input(photographs):
    split = Photographs(training.read_class_folders(photographs), 'val', 32)
    assert split.labels == [0] * 4 + [1] * 4
    red = [image.reshape(-1, 3).mean(0).argmax() for image in split.images]
    assert red == [2] * 4 + [0] * 4  # RGB: blue images first
    assert all(min(image.shape[:2]) <= 64 for image in split.images)
    random = np.random.default_rng(0)
    for image in [*split.images, np.zeros((3, 500, 3), np.uint8)]:
        assert training._crop(image, 32, Recipe(), random).shape == (32, 32, 3)
        assert training._middle(image, 32).shape == (32, 32, 3)
    batch = training._batch([np.full((4, 4, 3), training.MEAN, np.float32)])
    torch.testing.assert_close(batch, torch.zeros(1, 3, 4, 4))


def test_the_rate_rises_and_falls_to_zero():
    rates = [training._rate(step, 100, Recipe(epochs=10, warmup=2)) for step in range(100)]
    assert rates[0] == pytest.approx(0.05) and max(rates) == rates[19] and rates[-1] < 0.001


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(networks=['ResNett']), '--networks ResNett'),
        (dict(epochs=0), '--epochs 0'),
        (dict(width=0.3), '--width 0.3'),
        (dict(threads=0), '--threads 0'),
        (dict(lr=-1.0), '--lr -1'),
    ],
)
def test_settings_that_cannot_be_used_are_refused(photographs, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=f'(?s){message}.*Fix: '):
        study_training(photographs, **{'networks': ['MixNetV'], 'out': tmp_path / 'out', **changes})
    assert not (tmp_path / 'out').exists()


def test_a_folder_without_classes_is_refused(tmp_path):
    (tmp_path / 'train').mkdir()
    with pytest.raises(DataError, match='(?s)no folder val.*Fix: '):
        study_training(tmp_path, out=tmp_path / 'out')
