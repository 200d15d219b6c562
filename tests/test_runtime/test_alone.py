"""The runtime works where neither PyTorch nor OpenMMLab is installed, and training where they are works as before."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from mmtrtvit.deploy.proof.reference import Reference

BLOCKED = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'mmdeploy', 'onnx', 'onnxslim')

BLOCKER = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {BLOCKED}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)

sys.meta_path.insert(0, Blocker())
"""

PREDICT = f"""
import numpy as np
import mmtrtvit
from mmtrtvit.deploy import load
np.save(sys.argv[3], load(sys.argv[1], threads=1)(sys.argv[2]).labels)
loaded = {{name.partition('.')[0] for name in sys.modules}}
assert not loaded & set({BLOCKED}), loaded
"""


def python(code: str, *args, root) -> subprocess.CompletedProcess:
    environment = {**os.environ, 'PYTHONPATH': str(root), 'OMP_NUM_THREADS': '1'}
    return subprocess.run(
        [sys.executable, '-c', code, *map(str, args)], capture_output=True, text=True, env=environment, timeout=300
    )


@pytest.mark.parametrize('blocker', [BLOCKER, 'import sys'], ids=['absent', 'unused'])
@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_an_artefact_runs_without_pytorch(root, small, segmentor, pictures, backend, blocker, tmp_path):
    cv2.imwrite(str(tmp_path / 'image.png'), pictures[2])
    done = python(blocker + PREDICT, segmentor(backend), tmp_path / 'image.png', tmp_path / 'found.npy', root=root)
    assert done.returncode == 0, done.stderr
    network = small('fixed segmentation')
    wanted = Reference(network.model, network.config)(pictures[2]).labels
    assert (np.load(tmp_path / 'found.npy') == wanted).mean() > 0.999


@pytest.mark.parametrize('backend', ['tensorrt', 'tensorrt-rtx'])
def test_backends_that_need_pytorch_say_so(root, backend, tmp_path):
    (tmp_path / 'end2end.engine').write_bytes(b'an engine')
    code = f"""
from mmtrtvit.runtime.backends import open_session
from mmtrtvit.errors import DeployError
try:
    open_session({backend!r}, sys.argv[1])
except DeployError as error:
    print(error)
"""
    done = python(BLOCKER + code, tmp_path / 'end2end.engine', root=root)
    assert f'The backend {backend} needs torch, which is not installed' in done.stdout, done.stderr
    assert 'torch with CUDA' in done.stdout and done.stdout.count('Fix') == 1


@pytest.mark.parametrize('what', ['mmtrtvit.models', 'mmtrtvit.engine', 'mmtrtvit.deploy.PredictorModel'])
def test_what_needs_openmmlab_says_so(root, what):
    done = python(f'{BLOCKER}import mmtrtvit.deploy; {what}', root=root)
    assert done.returncode == 2 and 'Traceback' not in done.stderr, done.stderr
    assert 'Error: mmtrtvit cannot be used in this environment: torch is missing' in done.stderr


def test_what_does_not_exist(root):
    for what in ('mmtrtvit.nothing', 'mmtrtvit.deploy.nothing'):
        done = python(f'{BLOCKER}import mmtrtvit.deploy; {what}', root=root)
        assert "has no attribute 'nothing'" in done.stderr


@pytest.mark.parametrize('first', ['import mmdeploy', 'from mmtrtvit.deploy import load'])
def test_a_deploy_config_registers_the_rewriters(fresh, first):
    code = f"""
{first}
import mmdeploy
from mmdeploy.codebase import import_codebase
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.core.rewriters.rewriter_utils import collect_env
from mmdeploy.utils import IR, Backend, Codebase
import_codebase(Codebase.MMDET, ['mmtrtvit.deploy'])
env = collect_env(Backend.ONNXRUNTIME, IR.ONNX, version=mmdeploy.__version__)
records = dict(FUNCTION_REWRITER._registry.get_records(env))
assert records['torch.onnx.export']['_object'].__module__ == 'mmtrtvit.deploy.export.mmdeploy_patches', sorted(records)
"""
    done = fresh(code)
    assert done.returncode == 0, done.stderr
