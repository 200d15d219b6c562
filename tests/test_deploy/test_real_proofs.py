"""Whole networks of two sizes on real images: every method passes its proof in ONNX Runtime and OpenVINO.

The networks are untrained: of their thousands of boxes one may fall to the other side of a threshold by the last bit,
which depends on the processor (docs/deploy_internals.md says where that happens). So detectors get enough images for
the proof to allow one. Segmentors are compared pixel by pixel, and nearly all classes occur on a few images.
"""

import pytest

from mmtrtvit.benchmark.proofs import benchmark_deployment
from mmtrtvit.zoo.methods import METHODS

IMAGES = {'COCO': 11, 'ADE20K': 4}

pytestmark = [pytest.mark.realdata, pytest.mark.slow]


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('arch, backend', [('a', 'onnxruntime'), ('b', 'openvino')])
def test_the_artefact_finds_what_pytorch_finds(root, real_data, tmp_path, monkeypatch, method, arch, backend):
    monkeypatch.setenv('MMTRTVIT_DATA_ROOT', str(real_data))
    images = IMAGES[METHODS[method].dataset]
    result = benchmark_deployment(
        root, str(tmp_path), archs=[arch], methods=[method], backends=[backend], images=images, size=320, timed=False
    )
    (row,) = result['rows']
    assert 'error' not in row, row
    parity = row['parity']
    assert row['metrics'] and parity['images'] == images
    assert row['passed'], (row['failures'], parity)
    if 'detections' in parity:
        assert parity['detections'] >= 1000, 'one in a thousand may differ'
        assert parity['boxes']['median'] < 0.01 and parity['scores']['median'] < 1e-4, parity
    else:
        assert len(parity['classes']) >= 50, parity
