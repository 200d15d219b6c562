"""A session behind the interface of a PyTorch network gives its data samples, and its metrics."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch

from mmtrtvit.apis import evaluate, evaluate_artefact
from mmtrtvit.deploy import compare_detections, compare_label_maps
from mmtrtvit.deploy.export.describe import describe_model
from mmtrtvit.deploy.export.fixed_size import FixedShapeDetDataPreprocessor
from mmtrtvit.deploy.proof.artefact import Artefact
from mmtrtvit.deploy.proof.backend_model import BackendModel
from mmtrtvit.deploy.proof.inference import run_on_image
from mmtrtvit.errors import DeployError
from mmtrtvit.runtime.manifest import sealed


@pytest.mark.parametrize('task', ['instance', 'detection'])
def test_detections_are_pytorchs(small, pictures, task):
    network = small(task)
    model = BackendModel(network.session, network.description)
    pairs = [
        tuple(run_on_image(net, picture, network.config) for net in (network.model, model)) for picture in pictures
    ]
    parity = compare_detections(pairs)
    assert parity.detections >= 100 and parity.passed and parity.boxes.max < 1e-3 and parity.masks.max < 0.01, parity
    ours, theirs = pairs[0]
    assert set(ours.keys()) == set(theirs.keys())
    for name in ours.keys():  # noqa: SIM118  (InstanceData is no dict)
        assert ours[name].dtype == theirs[name].dtype and ours[name].shape == theirs[name].shape, name


@pytest.mark.parametrize('name', ['segmentation', 'fixed segmentation'])
def test_label_maps_are_pytorchs(small, pictures, name):
    network = small(name)
    model = BackendModel(network.session, network.description)
    for picture in pictures:
        ours, theirs = (run_on_image(net, picture, network.config) for net in (network.model, model))
        torch.testing.assert_close(ours.seg_logits.data, theirs.seg_logits.data)
        assert theirs.pred_sem_seg.data.shape == (1, *picture.shape[:2])
        assert compare_label_maps([(ours, theirs)]).passed and ours.metainfo.keys() <= theirs.metainfo.keys()


def test_detections_of_a_fixed_shape_are_pytorchs(small, pictures):
    network, shape = small('instance'), (160, 192)
    model = BackendModel(network.session, describe_model(network.config, {}, shape))
    given = []
    run = model.network.session.run
    model.network.session.run = lambda feeds: given.append(feeds['input'].shape) or run(feeds)
    reference = copy.copy(network.model)  # shares its layers
    reference._modules = dict(network.model._modules)
    settings = {key: value for key, value in network.config.model.data_preprocessor.items() if key != 'type'}
    reference.data_preprocessor = FixedShapeDetDataPreprocessor(fixed_shape=shape, **settings)
    pairs = [tuple(run_on_image(net, picture, network.config) for net in (reference, model)) for picture in pictures]
    parity = compare_detections(pairs)
    assert set(given) == {(1, 3, *shape)}
    assert parity.detections >= 100 and parity.passed and parity.masks.max < 0.01, parity


def test_nothing_found(small, pictures):
    network = small('instance')
    session = network.session
    run = session.run
    session.run = lambda feeds: {name: array * 0 for name, array in run(feeds).items()}
    found = run_on_image(BackendModel(session, network.description), pictures[0], network.config)
    assert len(found) == 0 and found.masks.shape == (0, *pictures[0].shape[:2]) and found.bboxes.shape == (0, 4)


def test_whether_the_selection_was_certain(small, pictures):
    network = small('instance')
    session = network.session
    run = session.run
    model = BackendModel(session, network.description)
    run_on_image(model, pictures[0], network.config)
    assert model.exact == []
    for value in (1.0, 0.0):
        session.run = lambda feeds, value=value: {**run(feeds), 'exact': np.array([value], np.float32)}
        run_on_image(model, pictures[0], network.config)
    assert model.exact == [True, False]


def test_it_cannot_be_trained(small):
    network = small('segmentation')
    with pytest.raises(NotImplementedError, match='cannot loss'):
        BackendModel(network.session, network.description)(torch.zeros(1, 3, 32, 32), [], mode='loss')


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_metrics_of_a_segmentor_are_pytorchs(small, segmentor, backend, tmp_path):
    network = small('fixed segmentation')
    folder = segmentor(backend)
    ours = evaluate(network.file, str(network.checkpoint), work_dir=str(tmp_path / 'ours'))
    theirs = evaluate_artefact(
        network.file, str(folder), work_dir=str(tmp_path / 'theirs'), out=str(tmp_path / 'found.pkl')
    )
    assert set(ours) == set(theirs) and {'mIoU', 'aAcc'} <= set(ours)
    assert ours['aAcc'] > 0 and theirs == pytest.approx(ours, abs=0.011)  # of 100
    assert len(pickle.loads((tmp_path / 'found.pkl').read_bytes())) == 5


def test_a_network_that_gives_labels(small, segmentor, pictures):
    network = small('fixed segmentation')
    model = Artefact.read(segmentor(labels=True)).model
    for picture in pictures:
        ours, theirs = (run_on_image(net, picture, network.config) for net in (network.model, model))
        assert theirs.pred_sem_seg.data.shape == (1, *picture.shape[:2]) and 'seg_logits' not in theirs
        parity = compare_label_maps([(ours, theirs)])
        assert parity.same > 0.8 * parity.pixels and parity.logits is None


def test_an_artefact_of_another_config(small, segmentor, tmp_path):
    with pytest.raises(DeployError, match=r'EncoderDecoder, 7 classes\) was not exported from this config \(RetinaNet'):
        evaluate_artefact(small('detection').file, str(segmentor()), work_dir=str(tmp_path))


def test_the_data_preprocessor_is_made_of_numbers_only(segmentor):
    """A type in a manifest is not looked up: registries would call whatever it names."""
    folder = segmentor()
    manifest = json.loads((folder / 'manifest.json').read_text())
    manifest['preprocessing'] |= {'type': 'os.getcwd'}
    manifest['model'] = {'type': 'os.getcwd'}
    (folder / 'manifest.json').write_text(json.dumps(sealed(manifest)))
    preprocessor = Artefact.read(folder).model.data_preprocessor
    assert type(preprocessor).__name__ == 'SegDataPreProcessor'
    np.testing.assert_allclose(preprocessor.mean.flatten(), manifest['preprocessing']['mean'])
