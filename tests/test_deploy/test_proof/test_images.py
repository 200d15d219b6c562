"""Images come from the data set of the config, whatever their format, and data sets are known by their scope."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmtrtvit.apis import load_config
from mmtrtvit.deploy.proof.images import PHOTOGRAPHS, dataset_metainfo, images_of, sample_images


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
        cv2.imwrite(str(folder / f'{number}.jpg'), np.full((8, 9 + number, 3), number, np.uint8))
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
    cv2.imwrite(str(data / 'images' / 'validation' / 'a.jpg'), np.zeros((8, 9, 3), np.uint8))
    found, source = images_of(config, 5, ('train', 'test'))
    assert [image.shape for image in found] == [(8, 9, 3)] and source == 'the test split'
    (data / 'images' / 'training').mkdir(parents=True)
    for name in ('b', 'c'):
        cv2.imwrite(str(data / 'images' / 'training' / f'{name}.jpg'), np.zeros((8, 4, 3), np.uint8))
    found, source = images_of(config, 5, ('train', 'test'))
    assert [image.shape for image in found] == [(8, 4, 3)] * 2 and source == 'the train split'


@pytest.mark.parametrize('suffix', ['bmp', 'tif', 'webp'])
def test_images_of_any_format_are_found_in_the_data_set(toy, tmp_path, suffix):
    config = of_format(toy, tmp_path, suffix)
    found, source = images_of(config, 3, ('test',))
    assert source == 'the test split' and len(found) == 3
    wanted = [cv2.imread(str(path)) for path in toy.images[:3]]
    assert suffix == 'webp' or all((ours == theirs).all() for ours, theirs in zip(found, wanted, strict=True))


def test_images_of_data_sets_that_are_joined(toy, tmp_path):
    config = of_format(toy, tmp_path, 'bmp')
    single = config.test_dataloader.dataset
    config.test_dataloader.dataset = dict(type='ConcatDataset', datasets=[single, single])
    assert len(images_of(config, 100, ('test',))[0]) == 2 * len(toy.images)
    assert len(sample_images(config, 7)) == 7
    assert dataset_metainfo(config)['classes'][0] == 'disc'


def of_format(toy, tmp_path, suffix):
    """A config of the toy data with images in another format."""
    config = load_config(toy.config)
    (tmp_path / 'images').mkdir()
    for path in toy.images:
        cv2.imwrite(str(tmp_path / 'images' / f'{path.stem}.{suffix}'), cv2.imread(str(path)))
    content = json.loads((toy.data / 'annotations' / 'instances_val2017.json').read_text())
    for image in content['images']:
        image['file_name'] = f'{Path(image["file_name"]).stem}.{suffix}'
    (tmp_path / 'annotations.json').write_text(json.dumps(content))
    config.test_dataloader.dataset.update(
        data_root=str(tmp_path), data_prefix=dict(img='images/'), ann_file='annotations.json'
    )
    config.test_evaluator.ann_file = str(tmp_path / 'annotations.json')
    return config
