"""Single images go the way of the test pipeline, and data sets are known by their scope."""

import cv2
import numpy as np
import pytest

from mmtrtvit.apis import load_config
from mmtrtvit.deploy.proof.inference import PHOTOGRAPHS, dataset_metainfo, images_of, read_image, sample_images
from mmtrtvit.errors import DataError


@pytest.mark.parametrize(
    'name, count, first',
    [
        ('maskrcnn_trtvit_b_coco', 80, 'person'),
        ('retinanet_trtvit_b_coco', 80, 'person'),
        ('semfpn_trtvit_b_ade20k', 150, 'wall'),
        ('semfpn_trtvit_a_toy', 7, 'background'),
        ('maskrcnn_trtvit_a_toy', 6, 'disc'),
    ],
)
def test_classes_and_colours(root, name, count, first):
    metainfo = dataset_metainfo(load_config(root / 'configs' / f'{name}.py'))
    assert len(metainfo['classes']) == len(metainfo['palette']) == count and metainfo['classes'][0] == first


def test_sample_images_are_those_of_the_test_split(root, tmp_path):
    folder = tmp_path / 'ade' / 'ADEChallengeData2016' / 'images' / 'validation'
    folder.mkdir(parents=True)
    for number in range(3):
        cv2.imwrite(str(folder / f'{number}.png'), np.full((8, 9 + number, 3), number, np.uint8))
    config = load_config(root / 'configs' / 'semfpn_trtvit_a_ade20k.py')
    config.test_dataloader.dataset.data_root = str(tmp_path / 'ade' / 'ADEChallengeData2016')
    assert [image.shape for image in sample_images(config, 2)] == [(8, 9, 3), (8, 10, 3)]
    config.test_dataloader.dataset.data_root = str(tmp_path / 'none')
    assert [image.shape for image in sample_images(config, 2)] == [(512, 512, 3), (400, 600, 3)]  # photographs


def test_images_to_calibrate_on_say_where_they_are_from(root, tmp_path):
    config = load_config(root / 'configs' / 'semfpn_trtvit_a_ade20k.py')
    data = tmp_path / 'ADEChallengeData2016'
    for name in ('train', 'test'):
        loader = config[f'{name}_dataloader'].dataset
        while 'dataset' in loader:
            loader = loader.dataset
        loader.data_root = str(data)
    assert images_of(config, 5, ('train', 'test'))[1] == PHOTOGRAPHS
    (data / 'images' / 'validation').mkdir(parents=True)
    cv2.imwrite(str(data / 'images' / 'validation' / 'a.png'), np.zeros((8, 9, 3), np.uint8))
    found, source = images_of(config, 5, ('train', 'test'))
    assert [image.shape for image in found] == [(8, 9, 3)] and source == 'the test split'
    for city in ('aachen', 'zurich'):  # a folder of each
        (data / 'images' / 'training' / city).mkdir(parents=True)
        cv2.imwrite(str(data / 'images' / 'training' / city / 'b.png'), np.zeros((8, 4, 3), np.uint8))
    found, source = images_of(config, 5, ('train', 'test'))
    assert [image.shape for image in found] == [(8, 4, 3)] * 2 and source == 'the train split'


def test_images_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match='There is no image'):
        read_image(tmp_path / 'none.png')
    (tmp_path / 'broken.png').write_bytes(b'\x89PNG')
    with pytest.raises(DataError, match='cannot be read'):
        read_image(tmp_path / 'broken.png')
