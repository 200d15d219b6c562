"""Shipped configs are found in a checkout and in a wheel, and inherited from in any folder by plain mmengine."""

import pytest

from mmtrtvit import base_config, shipped
from mmtrtvit.errors import ConfigError


def test_in_a_checkout(root):
    assert base_config('retinanet_trtvit_a_coco.py') == str(root / 'configs' / 'retinanet_trtvit_a_coco.py')
    assert base_config('_base_/methods/retinanet.py') == str(root / 'configs' / '_base_' / 'methods' / 'retinanet.py')


def test_in_a_wheel(tmp_path, monkeypatch):
    (tmp_path / '.mim' / 'configs').mkdir(parents=True)
    (tmp_path / '.mim' / 'configs' / 'one.py').write_text('')
    monkeypatch.setattr(shipped, 'PACKAGE', tmp_path)
    assert base_config('one.py') == str(tmp_path / '.mim' / 'configs' / 'one.py')


def test_a_name_that_is_not_there():
    with pytest.raises(ConfigError, match=r'no config retinanet_trtvit_coco.py.\nExpected: perhaps retinanet_trtvit_'):
        base_config('retinanet_trtvit_coco.py')


def test_plain_mmengine_reads_it_anywhere(fresh, tmp_path):
    """Nothing of this package is imported first."""
    (tmp_path / 'own.py').write_text(
        "_base_ = __import__('mmtrtvit').base_config('retinanet_trtvit_a_coco.py')\n"
        'train_pipeline = _base_.train_pipeline\nmodel = dict(bbox_head=dict(num_classes=3))\n'
    )
    code = """
from mmengine.config import Config
config = Config.fromfile('own.py')
from mmengine.registry import MODELS
assert config.model.bbox_head.num_classes == 3 and config.model.neck.num_outs == 5 and len(config.train_pipeline) == 5
assert MODELS.get(config.model.backbone.type).__name__ == 'TRTViT'
"""
    done = fresh(code)
    assert done.returncode == 0, done.stderr
