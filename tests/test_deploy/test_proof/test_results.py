"""An artefact behind mmengine's runner gives PyTorch's data samples, and its metrics."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData

from mmtrtvit.apis import evaluate, evaluate_artefact
from mmtrtvit.deploy.proof.reference import Reference
from mmtrtvit.deploy.proof.results import PredictorModel, predicted, result_of
from mmtrtvit.errors import DeployError
from mmtrtvit.runtime import Network, Predictor


def predictor_of(network):
    return Predictor(network.description, Network(network.session, network.description['task']))


@pytest.mark.parametrize('task', ['instance', 'detection', 'segmentation'])
def test_samples_are_those_of_pytorch(small, pictures, task):
    network = small(task)
    reference, model = Reference(network.model, network.config), PredictorModel(predictor_of(network))
    for picture in pictures:
        item = reference.prepare(picture)
        wanted = reference.test(item)
        image = torch.from_numpy(picture).permute(2, 0, 1)
        (sample,) = model.test_step(dict(inputs=[image], data_samples=[item['data_samples']]))
        if task == 'segmentation':
            assert (sample.pred_sem_seg.data == wanted.pred_sem_seg.data).float().mean() > 0.9999
            assert sample.pred_sem_seg.data.dtype == wanted.pred_sem_seg.data.dtype
            continue
        ours, theirs = wanted.pred_instances, sample.pred_instances
        assert set(ours.keys()) == set(theirs.keys())
        for name in ours.keys():  # noqa: SIM118  (InstanceData is no dict)
            assert ours[name].dtype == theirs[name].dtype and ours[name].shape == theirs[name].shape, name
        torch.testing.assert_close(theirs.bboxes, ours.bboxes, rtol=0, atol=1e-3)


@pytest.mark.parametrize('task', ['instance', 'segmentation'])
def test_there_and_back(small, pictures, task):
    found = predictor_of(small(task))(pictures[0])
    content = predicted(found)
    assert isinstance(content, PixelData if task == 'segmentation' else InstanceData)
    sample = small(task)
    sample = Reference(sample.model, sample.config).prepare(pictures[0])['data_samples']
    sample.set_data({'pred_sem_seg' if task == 'segmentation' else 'pred_instances': content})
    again = result_of(sample)
    for name in ('labels',) if task == 'segmentation' else ('boxes', 'scores', 'labels', 'masks'):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))


def test_nothing_found(small, pictures):
    network = small('instance')
    session = network.session
    run = session.run
    session.run = lambda feeds: {name: array * 0 for name, array in run(feeds).items()}
    found = Predictor(network.description, Network(session, 'instance'))(pictures[0])
    instances = predicted(found)
    assert len(instances) == 0 and instances.masks.shape == (0, *pictures[0].shape[:2])
    assert instances.bboxes.shape == (0, 4)


def test_it_cannot_be_trained(small):
    with pytest.raises(NotImplementedError, match='cannot loss'):
        PredictorModel(predictor_of(small('segmentation')))(torch.zeros(1, 3, 32, 32), [], mode='loss')


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


def test_metrics_are_those_of_the_predictor(small, segmentor, tmp_path, monkeypatch):
    """A mistake in the runtime shows in the figures of ``tools/test.py --backend-dir``."""
    network, folder = small('fixed segmentation'), segmentor()
    right = evaluate_artefact(network.file, str(folder), work_dir=str(tmp_path))
    call = Predictor.__call__
    monkeypatch.setattr(
        Predictor,
        '__call__',
        lambda self, images, **options: call(self, [image[..., ::-1] for image in images], **options),
    )
    wrong = evaluate_artefact(network.file, str(folder), work_dir=str(tmp_path))
    assert wrong['mIoU'] != right['mIoU']


def test_an_artefact_of_another_config(small, segmentor, tmp_path):
    with pytest.raises(DeployError, match=r'EncoderDecoder, 7 classes\) was not exported from this config \(RetinaNet'):
        evaluate_artefact(small('detection').file, str(segmentor()), work_dir=str(tmp_path))
