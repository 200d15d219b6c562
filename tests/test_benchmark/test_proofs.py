"""Proofs as rows: what is asked for is checked, rows are added, and a conversion may end with a message."""

import pytest

from mmtrtvit.benchmark import proofs
from mmtrtvit.benchmark.proofs import benchmark_deployment, benchmark_precisions, proof_row
from mmtrtvit.benchmark.rows import read_rows
from mmtrtvit.errors import ConfigError, DeployError

ABOUT = dict(family='trtvit', backend='tensorrt-rtx', precision='fp16', images=4)


def test_a_message_without_the_folders_of_this_machine(monkeypatch, tmp_path):
    def deploy(config, checkpoint, *, work_dir, **options):
        assert options['precision'] == 'fp16' and options['images'] == 4
        raise DeployError(f'{work_dir / "end2end.onnx"} cannot be built.', expected='another graph')

    monkeypatch.setattr(proofs, 'deploy', deploy)
    row = proof_row(ABOUT, 'a.py', 'a.pth', tmp_path, shapes=None, timed=False, cfg_options=None)
    assert row == {**ABOUT, 'error': 'end2end.onnx cannot be built.\nExpected: another graph'}


def test_other_errors_are_not_hidden(monkeypatch, tmp_path):
    def deploy(*args, **options):
        raise ZeroDivisionError

    monkeypatch.setattr(proofs, 'deploy', deploy)
    with pytest.raises(ZeroDivisionError):
        proof_row(ABOUT, 'a.py', 'a.pth', tmp_path, shapes=None, timed=False, cfg_options=None)


ROW = dict(passed=True, parity=dict(detections=200, same=181), latency_ratio=4.1)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(archs=['z']), '--archs z.*some of a, b, c, d'),
        (dict(methods=['yolo']), '--methods yolo.*maskrcnn'),
        (dict(family='resnet'), '--family resnet.*nextvit'),
        (dict(images=0), '--images 0 is too small'),
        (dict(size=0), '--size 0'),
        (dict(threads=0), '--threads 0'),
    ],
    ids=str,
)
def test_networks_without_a_config_and_bad_numbers_are_refused(root, tmp_path, options, message):
    with pytest.raises(ConfigError, match=f'(?s){message}'):
        benchmark_deployment(root, str(tmp_path / 'out'), **options)
    assert not (tmp_path / 'out').exists()


def test_every_network_backend_and_precision_is_a_row(root, tmp_path, monkeypatch, capsys):
    def proof_row(about, config, checkpoint, folder, *, shapes, timed, cfg_options):
        assert checkpoint.is_file() and cfg_options['model.backbone.init_cfg'] is None and not timed
        largest = list(shapes.profile[2][2:]) if shapes else None
        if about['precision'] == 'fp16':
            return {**about, 'error': 'It overflows.\nExpected: less'}
        return {**ROW, **about, 'largest': largest}

    monkeypatch.setattr(proofs, 'proof_row', proof_row)
    monkeypatch.setattr(proofs, 'save_spread', lambda entry, options, path: path.write_text(entry.name))
    options = dict(archs=['a'], backends=['openvino', 'tensorrt-rtx'], precisions=['fp32', 'fp16'], timed=False)
    result = benchmark_deployment(root, str(tmp_path), methods=['retinanet', 'semfpn'], **options)
    again = benchmark_deployment(root, str(tmp_path), methods=['semfpn'], **options)
    assert len(result['rows']) == len(again['rows']) == 8
    assert read_rows(tmp_path / 'deployment.json') == again
    largest = {(row['method'], row['backend']): row.get('largest') for row in result['rows'] if 'passed' in row}
    assert largest == {
        ('retinanet', 'openvino'): None,
        ('retinanet', 'tensorrt-rtx'): [1344, 1344],
        ('semfpn', 'openvino'): None,
        ('semfpn', 'tensorrt-rtx'): [1024, 2048],
    }
    told = capsys.readouterr().out
    assert 'retinanet trtvit a, openvino, fp16: It overflows.' in told and 'Expected' not in told


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
    with pytest.raises(ConfigError, match='--images 0 is too small'):
        benchmark_precisions('config.py', 'x.pth', str(tmp_path / 'out'), images=0)
    assert not (tmp_path / 'out').exists()


def test_all_that_a_backend_has_and_only_that(monkeypatch, tmp_path, capsys):
    asked = []

    def proof_row(about, config, checkpoint, folder, *, shapes, timed, cfg_options):
        asked.append((about['backend'], about['precision'], shapes and shapes.profile))
        return {**ROW, **about, 'passed': len(asked) > 3}

    monkeypatch.setattr(proofs, 'proof_row', proof_row)
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
    told = capsys.readouterr().out
    assert told.count('net, onnxruntime, int8: PASS, 181 of 200 detections, 4.10 times as fast as PyTorch') == 1
    assert 'net, tensorrt-rtx, fp32: FAIL' in told
