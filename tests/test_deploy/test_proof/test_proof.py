"""The verdict on an artefact: each tolerance is looked at, and each kind of failure shows."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from mmcv.ops import nms
from mmcv.transforms import Compose
from mmengine.structures import PixelData

from mmtrtvit.apis import load_config
from mmtrtvit.deploy.export.describe import describe_model
from mmtrtvit.deploy.proof import prove as prove_module
from mmtrtvit.deploy.proof import reference as reference_module
from mmtrtvit.deploy.proof.detection_parity import DetectionParity
from mmtrtvit.deploy.proof.equal_scores import EqualScoresByPlace
from mmtrtvit.deploy.proof.images import dataset_metainfo
from mmtrtvit.deploy.proof.proof import Metric, Proof
from mmtrtvit.deploy.proof.prove import SCOPE, prove
from mmtrtvit.deploy.proof.reference import build_pytorch_model
from mmtrtvit.deploy.proof.segmentation_parity import ClassPixels, SegmentationParity
from mmtrtvit.deploy.proof.tolerance import Tolerance
from mmtrtvit.deploy.steps import quiet
from mmtrtvit.errors import CheckpointError, DataError
from mmtrtvit.latency import Latency
from mmtrtvit.runtime import Network, Predictor, load, predictor
from mmtrtvit.runtime.backends import Session, TensorSpec
from mmtrtvit.runtime.backends.onnxruntime import OnnxRuntimeSession
from mmtrtvit.runtime.postprocess import label_map

PRECISIONS = ('fp32', 'fp16', 'bf16', 'int8')


def detections(same=1000, extra=0, ties=0, precision='fp32'):
    return DetectionParity(4, 1000, same, ties, extra, tolerance=Tolerance.of(precision))


def label_maps(same=100_000, precision='fp32'):
    pixels = {0: ClassPixels(100_000, 100_000, same)}
    return SegmentationParity(2, 100_000, same, pixels, None, Tolerance.of(precision))


def proof_of(parity=None, metrics=None, exact=None, precision='fp32'):
    metrics = {name: Metric(*figures) for name, figures in (metrics or {}).items()}
    return Proof('the engine', precision, parity or detections(precision=precision), metrics, exact, [])


def assert_failed(proof, *reasons):
    assert not proof.passed and len(proof.failures) == len(reasons)
    for failure, reason in zip(proof.failures, reasons, strict=True):
        assert reason in failure and ', limit ' in failure and '. Next: ' in failure, failure
    data = proof.to_dict()
    assert data['passed'] is False and data['failures'] == proof.failures
    assert data['verdict'] == proof.verdict == 'FAIL' and str(proof).startswith('FAIL: ')


def assert_passed(proof):
    assert proof.passed and proof.failures == proof.doubts == [] and str(proof) == proof.verdict == 'PASS'
    assert proof.to_dict()['passed'] is True and proof.to_dict()['failures'] == []


def test_all_is_well():
    metrics = {'coco/bbox_mAP': (0.4, 0.4), 'coco/segm_mAP': (0.35, 0.36)}
    assert_passed(proof_of(metrics=metrics, exact=1.0))
    assert_passed(proof_of())  # neither annotated data nor a portable selection


@pytest.mark.parametrize('precision', PRECISIONS)
def test_detections_beyond_the_tolerance_fail(precision):
    least = round(1000 * Tolerance.of(precision).matched)
    for parity, passed in (
        (detections(least, precision=precision), True),
        (detections(least - 1, precision=precision), False),
        (detections(extra=round(0.95 * (1000 - least)), precision=precision), True),
        (detections(extra=1001 - least, precision=precision), False),
    ):
        proof = proof_of(parity, precision=precision)
        if passed:
            assert_passed(proof)
        else:
            assert_failed(proof, 'more than PyTorch' if parity.extra else 'what it finds differs from PyTorch')


@pytest.mark.parametrize('precision', PRECISIONS)
def test_label_maps_beyond_the_tolerance_fail(precision):
    least = round(100_000 * Tolerance.of(precision).matched)
    assert_passed(proof_of(label_maps(least, precision), precision=precision))
    assert_failed(proof_of(label_maps(least - 1, precision), precision=precision), 'what it finds differs')


@pytest.mark.parametrize('precision', PRECISIONS)
@pytest.mark.parametrize('name, ours', [('coco/bbox_mAP', 0.412), ('coco/segm_mAP', 0.371), ('mIoU', 45.31)])
def test_a_metric_that_drops_too_far_fails(precision, name, ours):
    allowed = Tolerance.of(precision).metric_drop * (100 if name == 'mIoU' else 1)
    for drop, passed in ((-0.5, True), (0.0, True), (0.95, True), (1.05, False), (4.0, False)):
        proof = proof_of(metrics={name: (ours, ours - drop * allowed), 'other': (1.0, 0.0)}, precision=precision)
        if passed:
            assert_passed(proof)
        else:
            assert_failed(proof, f'{name} drops: from {ours} -> ')


def test_a_metric_that_is_no_number_fails():
    assert_failed(
        proof_of(metrics={'coco/bbox_mAP': (0.4, float('nan'))}), 'bbox_mAP drops: from 0.4 -> nan, limit 0.001 less'
    )


@pytest.mark.parametrize('precision', PRECISIONS)
@pytest.mark.parametrize('name, ours, step', [('coco/bbox_mAP', 0.401, 1.0), ('mIoU', 40.1, 100.0)])
def test_a_metric_may_drop_by_as_much_as_allowed(precision, name, ours, step):
    # metrics are rounded to as many digits as the tolerance has
    lower = round(ours - Tolerance.of(precision).metric_drop * step, 3)
    assert_passed(proof_of(metrics={name: (ours, lower)}, precision=precision))


def test_where_nothing_was_compared_nothing_is_proved():
    nothing = DetectionParity(4, 0, 0, 0, 0)
    assert_failed(proof_of(nothing), 'nothing was compared')
    assert_failed(proof_of(SegmentationParity(0, 0, 0, {}, None)), 'nothing was compared')


def test_percent_stay_percent_below_one():
    assert_passed(proof_of(metrics={'mIoU': (0.9, 0.85)}))
    assert_failed(proof_of(metrics={'mIoU': (0.9, 0.75)}), 'mIoU drops')


def test_the_tolerances_grow_with_the_loss_of_precision():
    drops = [Tolerance.of(precision).metric_drop for precision in PRECISIONS]
    assert drops == sorted(drops) and len(set(drops)) == 4 and drops[0] > 0 and drops[-1] < 0.05


def test_metrics_of_other_kinds_are_shown_and_not_judged():
    metrics = {'coco/bbox_mAP_50': (0.6, 0.1), 'coco/bbox_mAP_s': (0.2, 0.0), 'aAcc': (80.0, 10.0), 'mAcc': (50.0, 1.0)}
    proof = proof_of(metrics=metrics)
    assert_passed(proof)
    assert proof.to_dict()['metrics']['aAcc'] == {'pytorch': 80.0, 'artefact': 10.0, 'loss_interval': None}


@pytest.mark.parametrize('precision', ['fp16', 'bf16', 'int8'])
def test_a_metric_is_undecided_where_its_interval_has_the_limit_inside(precision):
    limit = Tolerance.of(precision).metric_drop
    for low, high, verdict in (
        (-limit, 0.9 * limit, 'PASS'),
        (-limit, 1.1 * limit, 'UNDECIDED'),
        (0.9 * limit, 3 * limit, 'UNDECIDED'),
        (1.1 * limit, 3 * limit, 'FAIL'),
    ):
        loss = (low + high) / 2
        proof = proof_of(metrics={'coco/bbox_mAP': (0.5, 0.5 - loss, (low, high))}, precision=precision)
        assert proof.verdict == verdict and proof.to_dict()['verdict'] == verdict
        assert proof.passed is (verdict == 'PASS')
    assert proof_of(metrics={'coco/bbox_mAP': (0.5, 0.499, (0.0, 0.01))}).passed  # FP32: its detections are the same


def test_a_doubt_names_value_limit_and_the_next_command():
    (doubt,) = proof_of(metrics={'coco/bbox_mAP': (0.483, 0.448, (-0.01, 0.08))}, precision='int8').doubts
    assert doubt == (
        'coco/bbox_mAP may drop: from 0.483 -> 0.448 (loss -0.0100 to 0.0800), limit 0.03 less. '
        'Next: tools/deploy.py --images 16, or as many as the test split has'
    )
    proof = proof_of(detections(same=970, ties=30), metrics={'coco/bbox_mAP': (0.5, 0.4)})
    assert proof.verdict == 'FAIL' and len(proof.doubts) == 1, 'a failure is not left open by a doubt'


def test_a_selection_that_was_not_certain_fails():
    assert_passed(proof_of(exact=1.0))
    assert_failed(proof_of(exact=0.875), 'not certain: in 12.5% of the images')
    assert_failed(proof_of(exact=0.0), '100.0%')


def test_failures_add_up():
    metrics = {'coco/bbox_mAP': (0.4, 0.3), 'coco/segm_mAP': (0.4, 0.39)}
    proof = proof_of(detections(same=1), metrics, exact=0.5)
    assert_failed(proof, 'differs', 'bbox_mAP drops: from 0.4 -> 0.3', 'segm_mAP drops', 'not certain')


def test_everything_is_in_the_data():
    settings = dict(image='40x50', batch=1, precision='fp16', device='cpu', threads=1)
    rows = [
        Latency('PyTorch', SCOPE, [10.0, 20.0, 60.0], settings),
        Latency('artefact', SCOPE, [5.0, 5.0, 6.0], settings),
    ]
    parity = detections(990, precision='fp16')
    proof = Proof(
        'end2end.onnx', 'fp16', parity, {'coco/bbox_mAP': Metric(0.5, 0.499, (0.0, 0.002))}, 1.0, rows, threads=3
    )
    data = json.loads(json.dumps(proof.to_dict()))
    assert (data['subject'], data['precision'], data['exact'], data['passed']) == ('end2end.onnx', 'fp16', 1.0, True)
    assert data['metric_drop_allowed'] == Tolerance.of('fp16').metric_drop
    assert data['parity']['same'] == 990 and data['parity']['tolerance'] == dataclasses.asdict(Tolerance.of('fp16'))
    assert data['metrics'] == {'coco/bbox_mAP': {'pytorch': 0.5, 'artefact': 0.499, 'loss_interval': [0.0, 0.002]}}
    assert data['threads'] == 3
    assert [row['median'] for row in data['latency']] == [20.0, 5.0]
    assert data['latency_ratio'] == 4.0  # the median of 2, 4 and 10
    assert proof_of().to_dict()['latency_ratio'] is None


@pytest.mark.parametrize('descending', [True, False])
def test_equal_values_are_sorted_by_their_place(descending):
    values = torch.randint(0, 5, (7, 300))
    # Python leaves equal ones as they were in either direction
    order = [sorted(range(300), key=row.__getitem__, reverse=descending) for row in values.tolist()]
    with EqualScoresByPlace():
        assert values.sort(descending=descending).indices.tolist() == order
        assert values.sort(-1, descending).indices.tolist() == order
        assert torch.sort(values.T, dim=0, descending=descending)[1].T.tolist() == order
        assert values.argsort(descending=descending).tolist() == order


def test_of_equal_scores_the_first_suppresses_the_others():
    left = torch.randperm(300).float()
    boxes = torch.stack([left, torch.zeros(300), left + 10, torch.full((300,), 10.0)], dim=1)
    with EqualScoresByPlace():
        found = nms(boxes, torch.full((300,), 0.5), iou_threshold=0.5)[1].tolist()
    kept = []
    for place, corner in enumerate(left.tolist()):
        # squares of side 10 that are less than 4 apart have an IoU above 0.5
        if all(abs(corner - left[other].item()) >= 4 for other in kept):
            kept.append(place)
    assert found == kept


def test_a_network_that_scores_all_anchors_alike_is_proved(toy, toy_checkpoint, deployed, tmp_path):
    config = load_config(toy.config)
    with quiet():
        reference = build_pytorch_model(config, str(toy_checkpoint))
    with torch.no_grad():
        reference.rpn_head.rpn_cls.weight.zero_()
    graph = onnx.load(deployed.folder / 'end2end.onnx')
    (weight,) = (value for value in graph.graph.initializer if value.name == 'rpn_head.rpn_cls.weight')
    weight.CopyFrom(onnx.numpy_helper.from_array(np.zeros(weight.dims, np.float32), weight.name))
    onnx.save(graph, tmp_path / 'alike.onnx')
    session = OnnxRuntimeSession(tmp_path / 'alike.onnx', threads=1)
    artefact = Predictor(deployed.manifest, Network(session, 'instance'))
    settings = dict(subject='the graph', precision='fp32', images=2, timed=False, progress=False)
    for images in ({}, {'image': str(toy.images[0])}):
        proof, _ = prove(reference, artefact, config, **settings, **images)
        assert proof.parity.detections >= 50, proof.parity
        assert proof.parity.same == proof.parity.detections and proof.parity.ties == 0, proof.parity


def shuffled(toy, tmp_path):
    """A config of the toy data whose annotations list the images in another order, as COCO's own do."""
    config = load_config(toy.config)
    content = json.loads(Path(config.test_evaluator.ann_file).read_text())
    content['images'] = content['images'][::-1]
    path = tmp_path / 'annotations.json'
    path.write_text(json.dumps(content))
    config.test_evaluator.ann_file = config.test_dataloader.dataset.ann_file = str(path)
    return config


SETTINGS = dict(subject='itself', precision='fp32', timed=False, progress=False)


def test_the_first_images_are_those_of_the_data_set(toy, toy_checkpoint, deployed, tmp_path):
    config = shuffled(toy, tmp_path)
    with quiet():
        model = build_pytorch_model(config, str(toy_checkpoint))
    proof, ((image, _),) = prove(model, load(deployed.folder), config, images=1, **SETTINGS)
    assert proof.passed and proof.parity.images == 1 and 'coco/bbox_mAP' in proof.metrics
    assert all(metric.pytorch >= 0 for metric in proof.metrics.values())
    np.testing.assert_array_equal(image[..., ::-1], cv2.imread(str(toy.images[-1])))


def test_a_split_without_images_is_refused(toy, toy_checkpoint, deployed, tmp_path):
    config = shuffled(toy, tmp_path)
    path = Path(config.test_evaluator.ann_file)
    path.write_text(json.dumps(dict(json.loads(path.read_text()), images=[], annotations=[])))
    with quiet():
        model = build_pytorch_model(config, str(toy_checkpoint))
    with pytest.raises(DataError, match='has no images'):
        prove(model, load(deployed.folder), config, images=1, **SETTINGS)


class SegmentorSession(Session):
    """PyTorch's own segmentor with the input and output of an exported one."""

    inputs = (TensorSpec('input', 'float32', (-1, 3, -1, -1)),)
    outputs = (TensorSpec('output', 'float32', (-1, -1, -1, -1)),)

    def __init__(self, model, change=lambda logits: logits):
        self.model, self.change = model, change

    @torch.no_grad()
    def run(self, feeds):
        images = torch.from_numpy(feeds['input'])
        logits = self.model.encode_decode(images, [dict(img_shape=images.shape[2:])])
        return {'output': self.change(logits.numpy())}


@pytest.fixture
def segmentor(toy_seg):
    """A small segmentor in PyTorch, its config, and what makes an artefact of it that may change its logits."""
    config = load_config(toy_seg.config)
    with quiet():
        model = build_pytorch_model(config, str(toy_seg.checkpoint))
    description = describe_model(config, dataset_metainfo(config))

    def artefact(**settings):
        return Predictor(description, Network(SegmentorSession(model, **settings), 'segmentation'))

    return model, config, artefact


def test_label_maps_are_there_to_be_drawn(segmentor):
    model, config, artefact = segmentor
    proof, drawn = prove(model, artefact(), config, images=2, **SETTINGS)
    assert proof.passed and len(drawn) == 2 and proof.parity.logits.cosine > 0.9999
    assert proof.metrics['mIoU'].pytorch > 0
    for image, found in drawn:
        for content in found.values():
            assert isinstance(content, PixelData) and content.data.shape == (1, *image.shape[:2])


def test_the_artefact_is_given_the_image_and_nothing_else(segmentor, monkeypatch):
    """Its pre- and post-processing are the runtime's: a mistake in either shows in the proof."""
    model, config, artefact = segmentor
    swapped = artefact()
    swapped._preprocessing = dataclasses.replace(swapped._preprocessing, rgb=not swapped._preprocessing.rgb)
    assert not prove(model, swapped, config, images=2, **SETTINGS)[0].passed
    small = artefact()
    small._preprocessing = dataclasses.replace(small._preprocessing, resize=dict(rule='edges', width=64, height=64))
    assert not prove(model, small, config, images=2, **SETTINGS)[0].passed
    monkeypatch.setattr(predictor, 'label_map', lambda output, frame: np.flipud(label_map(output, frame)).copy())
    proof, _ = prove(model, artefact(), config, images=2, **SETTINGS)
    assert not proof.passed and proof.metrics['mIoU'].artefact != proof.metrics['mIoU'].pytorch


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_a_network_that_is_not_finite_never_passes(segmentor, value):
    model, config, artefact = segmentor
    broken = artefact(change=lambda logits: np.full_like(logits, value))
    proof, _ = prove(model, broken, config, images=1, **SETTINGS)
    assert any('logits are infinite or not a number' in failure for failure in proof.failures)
    with torch.no_grad():
        model.decode_head.conv_seg.bias.fill_(value)
    proof, _ = prove(model, artefact(), config, images=1, **SETTINGS)  # both are wrong alike
    assert proof.verdict == 'FAIL' and proof.not_finite == 'decode_head.conv_seg'
    assert proof.failures[0].startswith(
        'PyTorch itself gives values that are infinite or not a number: first in layer decode_head.conv_seg, limit none'
    )


def test_weights_that_are_not_finite_are_refused(toy_seg, tmp_path):
    checkpoint = torch.load(toy_seg.checkpoint, weights_only=False)
    weights = checkpoint['state_dict']
    weights['decode_head.conv_seg.bias'][1] = float('nan')
    weights[next(iter(weights))][:] = float('inf')
    torch.save(checkpoint, tmp_path / 'nan.pth')
    with pytest.raises(CheckpointError, match=r'2 of \d+ tensors hold .* not a number: \S+, decode_head.conv_seg.bias'):
        build_pytorch_model(load_config(toy_seg.config), str(tmp_path / 'nan.pth'))


def test_both_are_timed_from_one_image_on_the_device_of_the_artefact(segmentor, monkeypatch, toy_seg):
    model, config, artefact = segmentor
    predict, moves, measured = artefact(), [], {}
    monkeypatch.setattr(model, 'to', moves.append)
    built, seen = [], []
    monkeypatch.setattr(reference_module, 'Compose', lambda steps: built.append(1) or Compose(steps))
    monkeypatch.setattr(Predictor, '__call__', lambda self, image: seen.append(image))

    def measure(subjects, **settings):
        measured.update(settings, moves=list(moves))
        pipelines = len(built)
        assert subjects['PyTorch']().pred_sem_seg.data.shape[1:] == cv2.imread(str(toy_seg.images[0])).shape[:2]
        subjects['artefact']()
        assert len(built) == pipelines, 'no pipeline is built inside of the timed call'
        return []

    monkeypatch.setattr(prove_module, 'measure', measure)
    prove(model, predict, config, images=1, device='cuda', **{**SETTINGS, 'timed': True})
    assert measured['settings']['device'] == 'cuda' and measured['moves'] == ['cuda'] and moves == ['cuda', 'cpu']
    np.testing.assert_array_equal(seen[0], cv2.imread(str(toy_seg.images[0])))
