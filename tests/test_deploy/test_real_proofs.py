"""Whole networks of two sizes on real images: every method finds what PyTorch finds in ONNX Runtime and OpenVINO.

The networks are untrained: of their thousands of boxes one that falls to the other side of a threshold by the last bit,
which depends on the processor, already fails the proof of detectors (docs/deploy.md says where that happens).
"""

import pytest

from mmtrtvit.benchmark.deployment import benchmark_deployment
from mmtrtvit.benchmark.methods import METHODS

pytestmark = [pytest.mark.realdata, pytest.mark.slow]


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('arch, backend', [('a', 'onnxruntime'), ('b', 'openvino')])
def test_the_artefact_finds_what_pytorch_finds(root, real_data, tmp_path, monkeypatch, method, arch, backend):
    monkeypatch.setenv('MMTRTVIT_DATA_ROOT', str(real_data))
    result = benchmark_deployment(
        root, str(tmp_path), archs=[arch], methods=[method], backends=[backend], images=3, size=320, timed=False
    )
    (row,) = result['rows']
    assert 'error' not in row, row
    parity = row['parity']
    assert row['metrics'] and parity['images'] == 3
    if 'detections' in parity:
        assert parity['detections'] >= 60 and parity['same'] >= 0.99 * parity['detections'], parity
        assert parity['boxes']['median'] < 0.01 and parity['scores']['median'] < 1e-4, parity
    else:
        assert row['passed'] and len(parity['classes']) >= 5, parity
    page = (tmp_path / 'deployment.md').read_text()
    assert f'{METHODS[method].title}, TRT-ViT-{arch.upper()}' in page and str(parity['same']) in page
