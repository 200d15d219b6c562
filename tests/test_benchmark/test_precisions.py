"""Precisions side by side: what is asked for is checked, rows are added, and the table says what the rows say."""

import pytest

from mmtrtvit.benchmark import precisions as module
from mmtrtvit.benchmark.precisions import benchmark_precisions
from mmtrtvit.benchmark.rows import read_rows
from mmtrtvit.benchmark.tables import precisions_table
from mmtrtvit.errors import ConfigError

MACHINE = dict(processor='A processor', torch_threads=2)


def row(**changes) -> dict:
    made = dict(
        config='retinanet_trtvit_a_toy',
        backend='openvino',
        precision='int8',
        images=80,
        passed=False,
        parity=dict(detections=200, same=181, ties=3),
        metrics={
            'coco/bbox_mAP': dict(pytorch=0.5061, artefact=0.4912),
            'coco/bbox_mAP_50': dict(pytorch=0.8, artefact=0.7),
        },
        nodes=1200,
        latency={'PyTorch': 40.2, 'artefact': 9.8},
        latency_ratio=4.1,
        steady=False,
        engine_bytes=6_840_000,
        engine=None,
    )
    return {**made, **changes}


@pytest.mark.parametrize(
    'options, named',
    [(dict(backends=['onnx']), 'onnx'), (dict(precisions=['fp8']), 'fp8'), (dict(precisions=['bf16']), 'bf16')],
    ids=str,
)
def test_what_no_backend_has_is_refused(tmp_path, options, named):
    options = {'backends': ['onnxruntime'], **options}
    with pytest.raises(ConfigError, match=f'There is no {named} here') as error:
        benchmark_precisions('config.py', 'x.pth', str(tmp_path / 'out'), **options)
    assert 'openvino: fp32 bf16 int8' in str(error.value)
    assert not (tmp_path / 'out').exists()


def test_no_images_are_refused(tmp_path):
    with pytest.raises(ConfigError, match='--images 0 has no meaning'):
        benchmark_precisions('config.py', 'x.pth', str(tmp_path / 'out'), images=0)
    assert not (tmp_path / 'out').exists()


def test_all_that_a_backend_has_and_only_that(monkeypatch, tmp_path):
    asked = []

    def proof_row(about, config, checkpoint, folder, *, shapes, timed, cfg_options):
        asked.append((about['backend'], about['precision'], shapes and shapes.profile))
        return row(**about, engine=None, passed=len(asked) > 3)

    monkeypatch.setattr(module, 'proof_row', proof_row)
    sizes = ('64x64', '64x96', '128x128')
    for backends, precisions in ((['onnxruntime', 'tensorrt-rtx'], ['fp32', 'fp16']), (['onnxruntime'], None)):
        benchmark_precisions(
            'a/net.py', 'x.pth', str(tmp_path), backends=backends, precisions=precisions, dynamic=sizes, images=7
        )
    shapes = asked[2][2]
    assert [list(shape[2:]) for shape in shapes] == [[64, 64], [64, 96], [128, 128]]
    assert asked == [
        ('onnxruntime', 'fp32', None),
        ('onnxruntime', 'fp16', None),
        ('tensorrt-rtx', 'fp32', shapes),
        ('tensorrt-rtx', 'fp16', shapes),
        ('onnxruntime', 'fp32', None),
        ('onnxruntime', 'fp16', None),
        ('onnxruntime', 'int8', None),
    ]
    rows = read_rows(tmp_path / 'precisions.json')['rows']
    assert len(rows) == 5, 'a second run replaces rows of the same name'
    assert all(found['passed'] for found in rows if found['backend'] == 'onnxruntime')
    assert (tmp_path / 'precisions.md').read_text().count('| net |') == 5


def test_the_table_says_what_the_rows_say():
    refused = dict(config='upernet', backend='onnxruntime', precision='fp16', images=80, error='Overflow.\nExpected: 1')
    segmented = row(
        config='semfpn', parity=dict(pixels=50, same=50), passed=True, metrics={'mIoU': dict(pytorch=81.2, artefact=81)}
    )
    text = precisions_table({'rows': [refused, segmented, row()], 'machine': [MACHINE]})
    first, second, third = text.splitlines()[2:5]
    for said in ('OpenVINO', 'INT8', 'box AP 50.6, 49.1 |', '6.8', 'FAIL', '181 of 200, 3 near ties', '40 / 10', '(u)'):
        assert said in first
    assert 'mIoU 81.2, 81.0' in second and 'PASS' in second and '50 of 50' in second
    assert 'Overflow.' in third and 'Expected' not in third
    assert 'A processor (2 threads), 80 images' in text and 'not run' not in text
    built = row(backend='tensorrt-rtx', latency={}, latency_ratio=None)
    assert 'built and not run' in precisions_table({'rows': [built], 'machine': [MACHINE]})
    assert 'tools/benchmark.py precisions' in precisions_table(None)
