"""Folders of images for each class: what is wrong with them is found before anything is built."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mmtrtvit.datasets.class_folders import check_class_folders, count_images, read_class_folders
from mmtrtvit.errors import DataError


def fill(folder: Path, **counts: int) -> Path:
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(folder / name / f'{number}.png'), np.zeros((4, 4, 3), np.uint8))
    return folder


def faults(folder, classes, named=True):
    return [finding.message for finding in check_class_folders(folder, classes, named)]


def test_images_are_counted_in_the_order_of_the_names(tmp_path):
    fill(tmp_path, bees=2, ants=3)
    (tmp_path / 'ants' / 'notes.txt').write_text('no image')
    (tmp_path / 'ants' / 'more').mkdir()
    (tmp_path / 'ants' / '0.png').rename(tmp_path / 'ants' / 'more' / '0.PNG')
    assert list(count_images(tmp_path).items()) == [('ants', 3), ('bees', 2)]
    assert not faults(tmp_path, ('ants', 'bees'))


def test_classes_in_another_order_are_an_error(tmp_path):
    fill(tmp_path, ants=1, bees=1)
    (message,) = faults(tmp_path, ('bees', 'ants'))
    assert 'bees, ants' in message
    assert not faults(tmp_path, ('worker', 'queen'), named=False)  # ImageNet's folders are not named like its classes
    assert faults(tmp_path, ('one', 'two', 'three'), named=False)


def test_folders_without_images_are_an_error(tmp_path):
    assert 'no folders' in faults(tmp_path, ('ants',))[0]
    assert 'no images of bees' in faults(fill(tmp_path, ants=1, bees=0), ('ants', 'bees'))[0]


def test_a_data_set_knows_its_classes_and_the_accuracy_of_guessing(tmp_path):
    fill(tmp_path / 'train', ants=2, bees=2)
    fill(tmp_path / 'val', ants=1, bees=3)
    found = read_class_folders(tmp_path)
    assert found.classes == ('ants', 'bees')
    assert found.images == dict(train=4, val=4)
    assert found.largest == 0.75


@pytest.mark.parametrize('val', [{}, dict(ants=1), dict(ants=1, wasps=1), dict(ants=1, bees=0)])
def test_a_data_set_that_cannot_be_used_is_refused(tmp_path, val):
    fill(tmp_path / 'train', ants=1, bees=1)
    fill(tmp_path / 'val', **val)
    with pytest.raises(DataError, match='Fix: '):
        read_class_folders(tmp_path)


def test_one_class_cannot_be_told_from_another(tmp_path):
    fill(tmp_path / 'train', ants=1)
    fill(tmp_path / 'val', ants=1)
    with pytest.raises(DataError, match='one class, ants'):
        read_class_folders(tmp_path)
