"""Every method, flavour and backend: what is exported finds what PyTorch finds, at sizes that were never traced."""

import json

import cv2
import numpy as np
import pytest
import torch

from mmtrtvit.deploy import Detections, LabelMap, deploy, load
from mmtrtvit.deploy.export.input_shapes import input_shapes
from mmtrtvit.errors import ConfigError, DeployError
from mmtrtvit.runtime import Predictor

FREE = None
UPRIGHT = input_shapes('160x128')
RANGE = input_shapes(dynamic=['64x64', '128x128', '192x192'], batch=[1, 1, 2])

SLOW = pytest.mark.slow

CASES = [
    # method, backend, flavour, shapes, precision: every method, backend and flavour in each run, the others in some
    pytest.param('maskrcnn', 'onnxruntime', 'portable', FREE, 'fp32', marks=SLOW),
    pytest.param('maskrcnn', 'openvino', 'native', UPRIGHT, 'fp32', marks=SLOW),
    ('fasterrcnn', 'onnxruntime', 'native', UPRIGHT, 'fp32'),
    pytest.param('fasterrcnn', 'openvino', 'portable', FREE, 'fp32', marks=SLOW),
    pytest.param('retinanet', 'onnxruntime', 'native', FREE, 'fp32', marks=SLOW),
    ('retinanet', 'openvino', 'portable', UPRIGHT, 'fp32'),
    pytest.param('semfpn', 'onnxruntime', None, UPRIGHT, 'fp32', marks=SLOW),
    pytest.param('semfpn', 'openvino', None, FREE, 'fp32', marks=SLOW),
    pytest.param('upernet', 'onnxruntime', None, RANGE, 'fp32', marks=SLOW),
    ('upernet', 'openvino', None, FREE, 'bf16'),
    pytest.param('upernet', 'onnxruntime', None, FREE, 'fp16', marks=SLOW),
    ('semfpn', 'onnxruntime', None, FREE, 'int8'),
]


def lacks_bfloat16(backend):
    """Whether this CPU has no bfloat16 units, as OpenVINO sees it: most CPUs with AVX2 only have none."""
    openvino = pytest.importorskip('openvino')
    return backend == 'openvino' and 'BF16' not in openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')


@pytest.mark.parametrize('method, backend, flavour, shapes, precision', CASES)
def test_the_artefact_finds_what_pytorch_finds(networks, toy, tmp_path, method, backend, flavour, shapes, precision):
    config, checkpoint = networks[method]
    options = dict(backend=backend, flavour=flavour, shapes=shapes, precision=precision)
    if precision == 'bf16' and lacks_bfloat16(backend):
        with pytest.raises(DeployError, match='no bfloat16 arithmetic'):
            deploy(config, str(checkpoint), work_dir=tmp_path, images=5, timed=False, **options)
        assert not (tmp_path / 'deploy.json').exists() and not list(tmp_path.glob('*.onnx'))
        return
    manifest, proof = deploy(config, str(checkpoint), work_dir=tmp_path, images=5, timed=False, **options)
    parity = proof.parity
    assert parity.images == 5 and proof.metrics
    if method not in ('semfpn', 'upernet'):
        # of each image one may hang by the last bit of a score or an overlap, which depends on the processor
        assert parity.detections >= 100 and parity.same + parity.ties >= parity.detections - 5 and parity.extra <= 5
        assert parity.boxes.median < 0.01
        assert proof.exact == (1.0 if flavour == 'portable' else None)
    else:
        assert proof.passed, proof.failures
        assert len(parity.classes) >= 4  # no class wins everywhere
    forbidden = {'NonMaxSuppression', 'RoiAlign', 'NonZero', 'Loop', 'If'} if flavour == 'portable' else {'Loop', 'If'}
    assert not forbidden & manifest['operators'].keys()
    assert json.loads((tmp_path / 'deploy_report.json').read_text())['proof']['passed'] is proof.passed

    image = cv2.imread(str(toy.images[0]))[:101, :77]
    run = load(tmp_path)
    found = run(image)
    if shapes is not UPRIGHT:
        other, again = run([cv2.flip(image, 0), image])
        assert_same(again, found, tolerance=1e-3 if precision == 'fp32' else 0.1)
        assert not np.array_equal(other.labels, found.labels)
    assert isinstance(found, LabelMap if method in ('semfpn', 'upernet') else Detections)
    if isinstance(found, LabelMap):
        assert found.labels.shape == image.shape[:2]
    else:
        assert np.all(found.boxes[:, 2] <= 77 + 1e-3) and (found.masks is None) == (method != 'maskrcnn')


def test_a_segmentor_slides_its_window_as_it_was_trained(networks, toy, tmp_path):
    config, checkpoint = networks['semfpn']
    slide = {'model.test_cfg': dict(mode='slide', crop_size=(64, 64), stride=(43, 43))}
    options = dict(work_dir=tmp_path, images=5, timed=False, cfg_options=slide)
    for shapes in (UPRIGHT, input_shapes(dynamic=['32x32', '32x32', '64x32'])):
        with pytest.raises(ConfigError, match='slides a window of 64x64.\n(.*\n)Fix: use --dynamic'):
            deploy(config, str(checkpoint), shapes=shapes, **options)
    manifest, proof = deploy(config, str(checkpoint), **options)
    assert proof.passed and len(proof.parity.classes) >= 4, proof.failures
    assert manifest['window'] == {'size': [64, 64], 'stride': [43, 43]} and manifest['format'] == 5
    assert not (tmp_path / 'deploy.json').exists()  # the SDK slides no window
    image = cv2.imread(str(toy.images[0]))
    whole = Predictor({key: manifest[key] for key in manifest if key != 'window'}, load(tmp_path).network)
    assert (load(tmp_path)(image).labels != whole(image).labels).any()


def assert_same(ours, theirs, tolerance):
    """That an image in a batch has the result that it has alone."""
    if isinstance(ours, LabelMap):
        assert np.mean(ours.labels == theirs.labels) > 1 - tolerance
        return
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=tolerance)
    assert ours.masks is None or np.mean(np.asarray(ours.masks) == theirs.masks) > 1 - tolerance


RTX = [
    pytest.param('maskrcnn', 'fp16', marks=SLOW),
    pytest.param('retinanet', 'fp32', marks=SLOW),
    ('semfpn', 'int8'),
    pytest.param('upernet', 'fp16', marks=SLOW),
]


@pytest.mark.parametrize('method, precision', RTX)
def test_engines_of_tensorrt_for_rtx_are_built(networks, tmp_path, method, precision):
    pytest.importorskip('tensorrt_rtx', reason='TensorRT for RTX is not installed (make tensorrt-rtx)')
    config, checkpoint = networks[method]
    manifest, proof = deploy(
        config,
        str(checkpoint),
        work_dir=tmp_path,
        backend='tensorrt-rtx',
        precision=precision,
        shapes=RANGE,
        images=2,
        timed=False,
    )
    assert (tmp_path / manifest['engine']).stat().st_size > 100_000
    assert proof.parity.images == 2 and 'no GPU here' in proof.subject or torch.cuda.is_available()
    page = (tmp_path / 'deploy_report.md').read_text()
    assert 'layers' in page.partition('## The engine')[2]
    assert manifest['profiles'] == {'input': RANGE.to_dict()}
