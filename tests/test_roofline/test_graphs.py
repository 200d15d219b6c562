"""Networks by file, folder, config and name, and what tools/predict_latency.py says of them."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from mmtrtvit.config import load_config
from mmtrtvit.errors import ConfigError, DeployError
from mmtrtvit.roofline.efficiencies import CALIBRATED, device
from mmtrtvit.roofline.graphs import graph_of
from mmtrtvit.roofline.table import predict_latency
from mmtrtvit.zoo.complexity import backbone_complexity, network_complexity

from .conftest import make_model

ROOT = Path(__file__).resolve().parents[2]


def test_a_backbone_has_the_multiply_accumulates_that_counting_finds():
    graph = graph_of('efficientformer-l1', (64, 64))
    assert graph.name == 'efficientformer-l1' and graph.shape == (1, 3, 64, 64) and not graph.unknown
    # the export folds what resizes the biases of attention, which the counter counts
    assert graph.macs == pytest.approx(backbone_complexity('l1', 64, family='efficientformer').total_macs, rel=1e-4)


@pytest.mark.parametrize(
    'name', [pytest.param('fasterrcnn_trtvit_a_toy', marks=pytest.mark.slow), 'semfpn_trtvit_a_toy']
)
def test_a_config_has_the_multiply_accumulates_that_counting_finds(name):
    path = f'{ROOT}/configs/{name}.py'
    graph = graph_of(path, (64, 96))
    counted = network_complexity(load_config(path), (64, 96))
    assert graph.macs == pytest.approx(counted.total_macs, rel=1e-6) and graph.shape == (1, 3, 64, 96)


def test_a_file_is_predicted_and_printed(conv_model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(conv_model, 'small.onnx')
    prediction = predict_latency('small.onnx', 't4', batch=8, top=1, out=tmp_path / 'rows.json')
    told = capsys.readouterr().out
    assert told.startswith('Predicted, not measured: small, 8x3x8x8, fp16, TensorRT on T4')
    assert f'Predicted total: {prediction.total:.3f} ms for 8 images' in told
    assert '... and 1 more groups of layers' in told and 'Time bound by compute' in told
    assert 'Efficiencies: not calibrated for TensorRT: those of TensorRT 8.0 on this device.' in told
    rows = json.loads((tmp_path / 'rows.json').read_text())
    assert {row['kind'] for rows_ in rows.values() for row in rows_} == {'predicted'}
    assert rows['network'][0]['ms'] == pytest.approx(sum(row['total'] for row in rows['rows']))


def test_operators_that_are_left_out_are_told(tmp_path, capsys):
    nodes = [('Relu', ['image'], 'a', {}), ('NonMaxSuppression', ['a', 'a'], 'out', {})]
    onnx.save(make_model(nodes, image=(1, 4, 4)), tmp_path / 'x.onnx')
    predict_latency(str(tmp_path / 'x.onnx'), 'rtx4090', 'eager', 'fp32')
    assert 'Left out of the total: 1 NonMaxSuppression' in capsys.readouterr().out
    onnx.save(make_model([('NonMaxSuppression', ['image', 'image'], 'out', {})], image=(1, 4, 4)), tmp_path / 'y.onnx')
    with pytest.raises(DeployError, match='No layer of y can be predicted: NonMaxSuppression.*\n.*\nFix: '):
        predict_latency(str(tmp_path / 'y.onnx'), 'rtx4090')


def test_what_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='nextvit-z is not a file, a folder or a backbone.*\n.*nextvit-s.*\nFix: '):
        graph_of('nextvit-z')
    with pytest.raises(DeployError, match='holds no exported artefact'):
        graph_of(str(tmp_path))
    with pytest.raises(DeployError, match='cannot be read'):
        graph_of(str(tmp_path / 'x.onnx'))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['trtvit-z', '--device', 't4'], 'trtvit-z is not a file'),
        (['trtvit-a', '--device', 't4', '--precision', 'bf16'], 'No peak of T4 in bf16'),
        (['trtvit-a', '--device', 't4', '--batch', '0'], '--batch 0 is too small'),
        (['trtvit-a', '--device', 't4', '--top', '-1'], '--top -1 is negative'),
        (['trtvit-a', '--device', 't4', '--shape', '224'], "'224' is not an input size"),
        (['trtvit-a', '--device', 't4', '--compiler', 'openvino'], 'cannot be predicted on t4'),
    ],
)
def test_wrong_input_is_one_message(arguments, message, monkeypatch, capsys):
    import importlib.util

    spec = importlib.util.spec_from_file_location('predict_latency_tool', ROOT / 'tools/predict_latency.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(sys, 'argv', ['predict_latency.py', *arguments])
    assert tool.main() == 2
    told = capsys.readouterr()
    assert message in told.err and 'Fix: ' in told.err and told.err.count('Error: ') == 1 and not told.out


def test_this_cpu_is_measured_once():
    cpu = device('cpu')
    assert cpu is device('cpu') and cpu.matrix['fp32'] > 0.001
    assert np.isfinite([cpu.bandwidth, cpu.cache_bandwidth, cpu.cache]).all() and cpu.bandwidth > 0.5


def test_efficiencies_are_those_of_the_recorded_calibration():
    rows = json.loads((ROOT / 'docs/results/roofline.json').read_text())['summaries']
    found = {tuple(row['calibration']): row['efficiency'] for row in rows}
    assert {key: vars(value) for key, value in CALIBRATED.items()} == found
