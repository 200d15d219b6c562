"""On real images of all proportions, at the size of the real recipes, the runtime gives what PyTorch gives."""

import copy

import cv2
import numpy as np
import pytest

from mmtrtvit.deploy import compare_detections
from mmtrtvit.deploy.export.describe import describe_model
from mmtrtvit.deploy.proof.images import dataset_metainfo
from mmtrtvit.deploy.proof.reference import Reference
from mmtrtvit.runtime import Network, Predictor

pytestmark = [pytest.mark.realdata]

FOLDERS = {'coco': ('coco', 'val2017'), 'ade': ('ade', 'ADEChallengeData2016', 'images', 'validation')}


def of_all_proportions(folder, count):
    by_shape = {}
    for path in sorted(folder.iterdir()):
        image = cv2.imread(str(path))
        by_shape.setdefault(image.shape[:2], image)
    shapes = sorted(by_shape, key=lambda shape: shape[0] / shape[1])
    places = np.linspace(0, len(shapes) - 1, count).round().astype(int)
    return [by_shape[shapes[place]] for place in places]


@pytest.fixture(scope='module')
def images(real_data):
    return {name: of_all_proportions(real_data.joinpath(*parts), 5) for name, parts in FOLDERS.items()}


def at_scale(network, scale):
    config = copy.deepcopy(network.config)
    for transform in config.test_dataloader.dataset.pipeline:
        if transform.type == 'Resize':
            transform.scale = scale
    description = describe_model(config, dataset_metainfo(config))
    return Reference(network.model, config), Predictor(description, Network(network.session, description['task']))


@pytest.mark.parametrize('task', ['instance', 'detection'])
def test_detections(small, images, task):
    network = small(task)
    reference, predict = at_scale(network, (667, 400))
    parity = compare_detections((reference(image), predict(image)) for image in images['coco'])
    assert parity.detections >= 100 and parity.passed and parity.masks.max < 0.01, parity


def test_label_maps(small, images):
    network = small('segmentation')
    reference, predict = at_scale(network, (2048, 512))
    for image in images['ade']:
        assert (predict(image).labels == reference(image).labels).mean() > 0.9999
