"""Whole networks of two sizes on real images: every method passes its proof in ONNX Runtime and in OpenVINO."""

import pytest

from mmtrtvit.benchmark.deployment import benchmark_deployment
from mmtrtvit.benchmark.methods import METHODS

pytestmark = [pytest.mark.realdata, pytest.mark.slow]


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('arch, backend', [('a', 'onnxruntime'), ('b', 'openvino')])
def test_the_proof_passes(root, real_data, tmp_path, monkeypatch, method, arch, backend):
    monkeypatch.setenv('MMTRTVIT_DATA_ROOT', str(real_data))
    result = benchmark_deployment(
        root, str(tmp_path), archs=[arch], methods=[method], backends=[backend], images=3, size=320, timed=False
    )
    (row,) = result['rows']
    assert row.get('passed'), row
    assert row['metrics'] and row['parity']['images'] == 3
    assert row['parity'].get('detections', 0) >= 60 or len(row['parity'].get('classes', ())) >= 5
    page = (tmp_path / 'deployment.md').read_text()
    assert f'{METHODS[method].title}, TRT-ViT-{arch.upper()}' in page and 'PASS' in page
