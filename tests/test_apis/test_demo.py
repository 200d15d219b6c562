"""The demonstration runs to its end and sums up what it measured."""

import json

import cv2
import pytest

from mmtrtvit.apis.demo import METRICS, demo


@pytest.mark.slow
def test_the_whole_way(toy, toy_checkpoint, root, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv('MMTRTVIT_DATA_ROOT', str(tmp_path))
    config = tmp_path / 'tiny.py'
    text = toy.config.read_text().replace(str(toy.data), str(tmp_path / 'toy' / 'coco'))
    # from weights whose detections are many and differ, at a rate that leaves them so
    config.write_text(f'{text}\nload_from = {str(toy_checkpoint)!r}\noptim_wrapper = dict(optimizer=dict(lr=1e-6))\n')
    summary = demo(
        config,
        root / 'configs' / 'deploy' / 'instance-seg_onnxruntime_dynamic.py',
        tmp_path / 'demo',
        train_images=16,
        val_images=4,
        epochs=1,
    )
    assert json.loads((tmp_path / 'demo' / 'summary.json').read_text()) == summary
    for name in ('pytorch', 'onnxruntime'):
        assert set(summary[name]) == {*METRICS, 'latency_ms'}
        latency = summary[name]['latency_ms']
        assert latency['scope'].startswith('end-to-end') and latency['runs'] == len(latency['values']) >= 3
        assert 0 < min(latency['values']) <= latency['median'] <= latency['p90'] <= max(latency['values'])
    for metric in METRICS:
        assert summary['onnxruntime'][metric] == pytest.approx(summary['pytorch'][metric], abs=0.002)
    parity = summary['parity']
    assert parity['passed'] and parity['images'] == 4 and parity['detections'] >= 100
    for output in ('boxes', 'scores', 'labels', 'masks'):
        assert 0 <= parity[output]['mean'] <= parity[output]['max']
    assert {'torch', 'onnxruntime', 'mmtrtvit', 'processor', 'cores'} <= set(summary['env'])
    assert (tmp_path / 'demo' / 'train' / 'epoch_1.pth').is_file()
    assert 'seed=0' in (tmp_path / 'demo' / 'train' / 'tiny.py').read_text(), 'a second run trains the same network'
    assert (tmp_path / 'demo' / 'artefact' / 'manifest.json').is_file()
    height, width = cv2.imread(str(tmp_path / 'demo' / 'predictions.png')).shape[:2]
    assert height > width > 1000  # four images; truth, PyTorch and ONNX Runtime beside each other
    assert sum(summary['seconds'].values()) == pytest.approx(60 * summary['minutes']) and len(summary['seconds']) == 6
    out = capfd.readouterr().out
    assert 'Measured in this run' in out and 'PASS' in out
    assert '1/6 the toy data set' in out and 'Epoch(train) [1][4/4]' in out and 'Epoch(val)' not in out
    assert 'System environment' not in out and 'optim_wrapper' not in out, 'the log file has them'
    (log,) = (tmp_path / 'demo' / 'train').glob('*/*.log')
    assert 'System environment' in log.read_text() and 'optim_wrapper' in log.read_text()
