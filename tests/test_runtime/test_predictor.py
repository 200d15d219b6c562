"""The runtime gives what PyTorch gives, through preprocessing and post-processing of its own."""

import warnings

import cv2
import numpy as np
import pytest

from mmtrtvit.deploy import compare_detections, load
from mmtrtvit.deploy.proof.reference import Reference
from mmtrtvit.errors import DataError, DeployError
from mmtrtvit.runtime import Detections, LabelMap, Network, Predictor


def predictor_of(network) -> Predictor:
    return Predictor(network.description, Network(network.session, network.description['task']))


def test_boxes_and_masks_are_pytorchs(small, pictures):
    network = small('instance')
    reference, predict, seen = Reference(network.model, network.config), predictor_of(network), 0
    for picture in pictures:
        wanted, found = reference(picture), predict(picture)
        assert isinstance(found, Detections) and len(found) == len(wanted)
        np.testing.assert_allclose(found.boxes, wanted.boxes, rtol=0, atol=1e-4)
        np.testing.assert_allclose(found.scores, wanted.scores, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(found.labels, wanted.labels)
        assert found.masks.dtype == bool and found.masks.shape == (len(found), *picture.shape[:2])
        masks = np.asarray(found.masks)
        differing = (masks ^ wanted.masks).sum()
        assert differing <= 1e-5 * masks.sum(), differing
        assert found.names[0] == network.description['classes'][found.labels[0]]
        seen += len(found)
    assert seen > 100


def test_boxes_are_pytorchs(small, pictures):
    network = small('detection')
    reference, predict, pairs = Reference(network.model, network.config), predictor_of(network), []
    for picture in pictures:
        wanted, found = reference(picture), predict(picture)
        assert found.masks is None and len(found) == len(wanted)
        pairs.append((wanted, found))
    parity = compare_detections(pairs)
    assert parity.detections >= 100 and parity.passed and parity.boxes.max < 1e-3, parity


@pytest.mark.parametrize('name', ['segmentation', 'fixed segmentation'])
def test_label_maps_are_pytorchs(small, pictures, name):
    network = small(name)
    reference, predict = Reference(network.model, network.config), predictor_of(network)
    for picture in pictures:
        wanted = reference(picture).labels
        found = predict(picture)
        assert isinstance(found, LabelMap) and found.labels.shape == picture.shape[:2]
        assert (found.labels == wanted).mean() > 0.9999
        assert len(np.unique(wanted)) > 1 and set(found.names) <= set(network.description['classes'])
        assert found.palette.shape == (7, 3) and found.palette.dtype == np.uint8


@pytest.mark.parametrize('device', ['cpu', 'cuda'])
@pytest.mark.parametrize('task', ['instance', 'segmentation'])
def test_images_of_a_list_do_not_see_each_other(small, pictures, task, device):
    network = small(task)
    session = network.session
    session.device = device
    predict = Predictor(network.description, Network(session, task))
    several = [pictures[0], pictures[2], pictures[0][:, ::-1].copy()]
    alone = [predict(picture) for picture in several]
    session.batches.clear()
    together = predict(several)
    # on a GPU, the two of one size went through it together; on a CPU, results are equal bit for bit
    assert sorted(session.batches) == ([1, 1, 1] if device == 'cpu' else [1, 2])
    close = 0 if device == 'cpu' else 1
    for one, other in zip(alone, together, strict=True):
        if task == 'instance':
            np.testing.assert_allclose(one.boxes, other.boxes, rtol=0, atol=1e-3 * close)
            np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=1e-5 * close)
        else:
            assert (one.labels == other.labels).mean() >= 1 - 1e-3 * close
    assert predict([]) == []


def test_detections_above_a_score(small, pictures):
    found = predictor_of(small('instance'))(pictures[0])
    middle = float(np.median(found.scores))
    kept = found.above(middle)
    assert 0 < len(kept) == (found.scores > middle).sum() == len(kept.boxes) == len(kept.masks) == len(kept.names)


def test_an_image_by_its_path(small, toy):
    predict = predictor_of(small('segmentation'))
    path = toy.images[0]
    np.testing.assert_array_equal(predict(str(path)).labels, predict(cv2.imread(str(path))).labels)
    np.testing.assert_array_equal(predict([path])[0].labels, predict(path).labels)


@pytest.mark.parametrize(
    'image, message',
    [
        (np.zeros((8, 8), np.uint16), r'given as 8 x 8 uint16.\n.*\nFix: bring its values to 0 to 255'),
        (np.zeros(8, np.uint8), 'given as 8 uint8'),
        (np.zeros((8, 8, 4), np.uint8), 'given as 8 x 8 x 4 uint8'),
        (np.zeros((3, 8, 8), np.uint8), 'given as 3 x 8 x 8 uint8'),
        (np.zeros((8, 8, 3), np.float32), 'given as 8 x 8 x 3 float32'),
        (np.zeros((0, 8, 3), np.uint8), 'given as 0 x 8 x 3'),
        (7, 'given as int'),
        (None, 'given as NoneType'),
        ('nowhere.jpg', 'There is no image nowhere.jpg'),
    ],
)
def test_what_is_no_image(small, image, message):
    predict = predictor_of(small('segmentation'))
    for given in (image, [image]):
        with pytest.raises(DataError, match=message):
            predict(given)


def test_files_that_are_no_images(small, tmp_path):
    predict = predictor_of(small('segmentation'))
    for content in (b'', b'no JPEG'):
        (tmp_path / 'broken.jpg').write_bytes(content)
        with pytest.raises(DataError, match='broken.jpg cannot be read'):
            predict(tmp_path / 'broken.jpg')


def test_a_network_that_was_cut_short_says_so_once(small, pictures):
    network = small('instance')
    session = network.session
    run = session.run
    session.run = lambda feeds: {**run(feeds), 'exact': np.array([1, 0], np.float32)[-len(feeds['input']) :]}
    predict = Predictor(network.description, Network(session, 'instance'))
    with pytest.warns(UserWarning, match="may differ from PyTorch's"):
        predict(pictures[0])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        predict(pictures[0])
        session.run = lambda feeds: {**run(feeds), 'exact': np.ones(len(feeds['input']), np.float32)}
        Predictor(network.description, Network(session, 'instance'))(pictures[0])


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_an_artefact_in_its_folder(small, segmentor, pictures, backend):
    network = small('fixed segmentation')
    reference = Reference(network.model, network.config)
    predict = load(segmentor(backend), threads=1)
    for picture in pictures:
        wanted = reference(picture).labels
        assert (predict(picture).labels == wanted).mean() > 0.999
    assert len(predict(pictures)) == len(pictures)


def test_a_network_that_gives_labels(small, segmentor, pictures):
    network = small('fixed segmentation')
    reference = Reference(network.model, network.config)
    predict = load(segmentor(labels=True), threads=1)
    for picture in pictures:
        wanted = reference(picture).labels
        found = predict(picture).labels
        assert found.shape == picture.shape[:2] and found.dtype == np.int64
        # only the borders of regions differ: labels are resized to the nearest, logits smoothly
        assert (found == wanted).mean() > 0.8


def test_a_network_of_another_kind(small, segmentor):
    for task in ('detection', 'instance'):
        with pytest.raises(DeployError, match=f'outputs output; those are not of a network for {task}'):
            Network(small('segmentation').session, task)
