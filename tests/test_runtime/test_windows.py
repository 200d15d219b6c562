"""Segmentors that slide a window give what mmseg gives."""

import copy
import json

import numpy as np
import pytest

from mmtrtvit.deploy.proof.reference import Reference
from mmtrtvit.errors import DeployError
from mmtrtvit.runtime import Network, Predictor, load
from mmtrtvit.runtime.manifest import MANIFEST, sealed
from mmtrtvit.runtime.windows import Window, slide


@pytest.mark.parametrize('device', ['cpu', 'cuda'])
@pytest.mark.parametrize('crop, stride', [((64, 64), (43, 43)), ((40, 96), (17, 96)), ((1000, 1000), (500, 500))])
def test_label_maps_are_mmsegs(small, pictures, crop, stride, device):
    network = small('segmentation')
    model = copy.deepcopy(network.model)
    model.test_cfg = type(model.test_cfg)(mode='slide', crop_size=crop, stride=stride)
    reference = Reference(model, network.config)
    session = network.session
    session.device = device
    described = {**network.description, 'window': {'size': list(crop), 'stride': list(stride)}}
    predict, whole = (Predictor(what, Network(session, 'segmentation')) for what in (described, network.description))
    differ = 0
    for picture in pictures:
        session.batches.clear()
        found = predict(picture).labels
        assert (found == reference(picture).labels).mean() > 0.9999
        assert max(session.batches) == 1 or device == 'cuda'
        differ += (found != whole(picture).labels).any()
    assert differ >= 2 or crop[0] == 1000
    for one, other in zip(predict(pictures), pictures, strict=True):
        np.testing.assert_array_equal(one.labels, predict(other).labels)


@pytest.mark.parametrize(
    'side, starts', [(512, [0]), (100, [0]), (513, [0, 1]), (853, [0, 341]), (854, [0, 341, 342]), (1, [0])]
)
def test_places_of_windows(side, starts):
    window = Window((512, 512), (341, 341))
    assert [rows.start for rows, _ in window.places((side, 9))] == starts
    assert [columns.start for _, columns in window.places((9, side))] == starts


def test_classes_cannot_be_averaged(small):
    session = small('segmentation').session
    session.run = lambda feeds: {'output': np.zeros((len(feeds['input']), 1, 8, 8), np.int64)}
    with pytest.raises(DeployError, match='cannot be averaged'):
        slide(Network(session, 'segmentation'), np.zeros((3, 8, 8), np.float32), Window((8, 8), (8, 8)))


def with_window(folder, window, version=5):
    """Add a window to the manifest of an artefact."""
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(sealed({**manifest, 'format': version, 'window': window})))
    return folder


def test_windows_of_manifests(plain_segmentor):
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    folder = plain_segmentor()
    wanted = load(folder)(image).labels
    np.testing.assert_array_equal(load(with_window(folder, dict(size=[24, 24], stride=[9, 24])))(image).labels, wanted)
    for window in ({}, dict(size=[24, 24]), dict(size=[24], stride=[9, 9]), dict(size=[8, 8], stride=[9, 8]), [8, 8]):
        with pytest.raises(DeployError, match='window is .*\nExpected: size and stride'):
            load(with_window(folder, window))
