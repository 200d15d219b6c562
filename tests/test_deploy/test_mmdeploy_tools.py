"""mmdeploy's own tools with the deploy configs of this package, end to end, from a folder outside of the checkout.

mmdeploy's wheel has no ``tools/``. ``tests/fakes/mmdeploy_tools.py`` makes the calls of these scripts in new
processes.
"""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

TOOLS = 'tests/fakes/mmdeploy_tools.py'
SMALL = dict(
    input_shapes=dict(input=dict(min_shape=[1, 3, 64, 64], opt_shape=[1, 3, 128, 128], max_shape=[2, 3, 192, 192]))
)
TASKS = dict(
    maskrcnn='instance-seg',
    fasterrcnn='detection',
    retinanet='detection',
    semfpn='semantic-seg',
    upernet='semantic-seg',
)

TOLERANCES = {'detection': 1e-3, 'instance-seg': 1e-3, 'semantic-seg': 0.02}
"""Largest difference of a figure: mAP from 0 to 1, or mIoU in percent."""

STUB = """
import sys

sys.path.append({fakes!r})
import fake_tensorrt

trt = fake_tensorrt.load({version!r})
trt.__spec__ = __spec__
sys.modules[__name__] = trt
"""


@pytest.fixture
def tools(networks, toy, root, tmp_path, monkeypatch):
    """Run mmdeploy's tools on a small network of a method."""

    def run(method, form, steps='deploy,test,profile', tensorrt=''):
        config, checkpoint = networks[method]
        (deploy_config,) = (root / 'configs' / 'deploy').glob(f'{TASKS[method]}_{form}.py')
        work_dir, elsewhere = tmp_path / 'work', tmp_path / 'elsewhere'
        work_dir.mkdir()
        elsewhere.mkdir()
        if 'tensorrt' in form:  # the images are smaller than those of the shipped config
            text = f'_base_ = {str(deploy_config)!r}\nbackend_config = dict(model_inputs={[SMALL]})\n'
            deploy_config = elsewhere / 'small.py'
            deploy_config.write_text(text)
        settings = dict(
            deploy_cfg=str(deploy_config),
            model_cfg=str(config),
            checkpoint=str(checkpoint),
            image=str(toy.images[0]),
            work_dir=str(work_dir),
            shape=[160, 128],
        )
        path = [str(root)]
        if tensorrt:
            stub = STUB.format(fakes=str(root / 'tests' / 'fakes'), version=tensorrt)
            # the stand-in knows the versions that can be used
            (elsewhere / 'tensorrt.py').write_text(f'__version__ = {tensorrt!r}' if tensorrt.startswith('8.') else stub)
            path.insert(0, str(elsewhere))
            monkeypatch.setenv('GPU_IS_THE_CPU', '1')
        ended = subprocess.run(
            [sys.executable, root / TOOLS, steps, json.dumps(settings)],
            cwd=elsewhere,
            capture_output=True,
            text=True,
            timeout=280,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(path)},
        )
        results = work_dir / 'results.json'
        return work_dir, json.loads(results.read_text()) if results.is_file() else None, ended

    return run


def check(work_dir, results, ended, file, tolerance):
    assert results, ended.stderr
    assert results['deploy']['files'] == [str(work_dir / file)]
    # mmseg adds to the name and changes the format
    drawn = [picture for name in ('backend', 'pytorch') for picture in work_dir.glob(f'output_{name}*')]
    pictures = [cv2.imread(str(picture)) for picture in drawn]
    assert len(pictures) == 2
    assert pictures[0].shape == pictures[1].shape
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() < 10
    figures = results['test']
    assert figures['backend'].keys() == figures['pytorch'].keys()
    for name, value in figures['pytorch'].items():
        assert figures['backend'][name] == pytest.approx(value, abs=tolerance, nan_ok=True), name
    assert results['profile']['timed'] >= 2  # of three runs; the first one of the process warms up
    assert 'Median' in ended.stdout


SLOW = pytest.mark.slow


@SLOW
@pytest.mark.parametrize('method', TASKS)
@pytest.mark.parametrize('form, file', [('onnxruntime_dynamic', 'end2end.onnx'), ('openvino_dynamic', 'end2end.xml')])
def test_onnxruntime_and_openvino(tools, method, form, file):
    check(*tools(method, form), file, TOLERANCES[TASKS[method]])


@SLOW
def test_a_portable_detector_without_masks(tools):
    """mmdeploy takes the third output of a detector for masks; here it is ``exact``."""
    check(*tools('retinanet', 'onnxruntime_portable_dynamic'), 'end2end.onnx', TOLERANCES['detection'])


@SLOW
@pytest.mark.parametrize(
    'method, version',
    [
        ('maskrcnn', '11.4.0'),
        ('fasterrcnn', '10.0.1'),
        ('retinanet', '10.16.1'),
        ('semfpn', '11.4.0'),
        ('upernet', '10.16.1'),
    ],
)
def test_tensorrt(tools, method, version):
    check(*tools(method, 'tensorrt_*', tensorrt=version), 'end2end.engine', TOLERANCES[TASKS[method]])


@SLOW
@pytest.mark.parametrize('method', ['retinanet', 'semfpn'])
def test_tensorrt_for_rtx(tools, method):
    """A real engine, which nothing here can run: the process that draws its results ends with an error."""
    pytest.importorskip('tensorrt_rtx', reason='TensorRT for RTX is not installed (make tensorrt-rtx)')
    work_dir, results, ended = tools(method, 'tensorrt-rtx_*', 'deploy')
    assert (work_dir / 'end2end.engine').stat().st_size > 100_000
    assert 'TensorRT for RTX was asked to work on' in ended.stderr and results is None


@SLOW
def test_tensorrt_before_10_is_refused(tools):
    work_dir, results, ended = tools('semfpn', 'tensorrt_*', 'deploy', tensorrt='8.6.1')
    assert results is None and not (work_dir / 'end2end.engine').exists()
    assert 'TensorRT 8.6.1 cannot be used here: strongly typed networks came with TensorRT 10' in ended.stderr
