"""Errors of a data pipeline name the image, also from a worker process."""

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, ConcatDataset, pseudo_collate

from mmtrtvit.datasets.loading import name_images_in_errors
from mmtrtvit.errors import DataError, UserError, library_errors_explained


class Images(BaseDataset):
    def load_data_list(self):
        return [dict(img_path=f'{number}.jpg') for number in range(3)]


def fails(data):
    if data['img_path'] == '1.jpg':
        raise ValueError('cannot reshape array of size 9 into shape (2,4)')
    return data


def full(data):
    raise MemoryError


@pytest.mark.parametrize('workers', [0, 1])
def test_the_image_is_named(workers):
    dataset = ConcatDataset([Images(pipeline=[fails]), Images(pipeline=[])])
    name_images_in_errors(dataset)
    loader = torch.utils.data.DataLoader(
        dataset,
        num_workers=workers,
        collate_fn=pseudo_collate,
        multiprocessing_context='fork' if workers else None,
    )
    with pytest.raises(DataError) as caught, library_errors_explained():
        list(loader)
    said = str(caught.value)
    assert said.startswith('The image 1.jpg, or its annotations, cannot be loaded: ValueError: cannot reshape')
    assert 'Traceback' not in said and 'Fix: python tools/check_data.py' in said


def test_known_errors_stay_what_they_are():
    dataset = Images(pipeline=[full])
    name_images_in_errors(dataset)
    with pytest.raises(UserError, match='memory of this machine'), library_errors_explained():
        dataset[0]


def loads(data):
    return {**data, 'img': np.zeros((4, 6, 3))}


def turns(data):
    return {**data, 'img': data['img'].transpose(1, 0, 2)}


def test_the_size_is_compared_where_the_image_is_loaded():
    dataset = Images(pipeline=[loads, turns])
    name_images_in_errors(dataset)
    assert dataset.pipeline(dict(img_path='a.jpg', height=4, width=6))['img'].shape == (6, 4, 3)
    assert dataset.pipeline(dict(img_path='a.jpg'))['img'].shape == (6, 4, 3)
    with pytest.raises(DataError, match=r'a.jpg is 6 x 4, its annotations are for 4 x 6'):
        dataset.pipeline(dict(img_path='a.jpg', height=6, width=4))
