"""A converted checkpoint tells what neither names nor shapes do."""

from types import SimpleNamespace

import pytest
import torch

from mmtrtvit.checkpoint import PROVENANCE_KEY, check_provenance, provenance_of
from mmtrtvit.errors import CheckpointError
from mmtrtvit.models import NextViT
from mmtrtvit.weights.conversion import convert_weights

CONVERTED = {'meta': {PROVENANCE_KEY: {'settings': {'kv_pool': 'tokens'}}}, 'state_dict': {}}


def test_the_other_setting_is_refused():
    with pytest.raises(CheckpointError, match=r"x\.pth was trained with kv_pool='tokens'.*kv_pool='windows'") as caught:
        check_provenance(SimpleNamespace(kv_pool='windows'), CONVERTED, 'x.pth')
    assert "set kv_pool='tokens' in the backbone" in str(caught.value)


@pytest.mark.parametrize('backbone', [SimpleNamespace(kv_pool='tokens'), SimpleNamespace()], ids=['same', 'none'])
def test_what_fits_passes(backbone):
    check_provenance(backbone, CONVERTED, 'x.pth')


@pytest.mark.parametrize(
    'checkpoint', [{}, {'meta': None}, {'meta': {}}, {'meta': {PROVENANCE_KEY: 'x'}}, {'a.weight': 0}]
)
def test_checkpoints_that_tell_nothing_pass(checkpoint):
    assert provenance_of(checkpoint) is None
    check_provenance(SimpleNamespace(kv_pool='windows'), checkpoint, 'x.pth')


def test_a_backbone_with_the_other_pooling_refuses_a_converted_checkpoint(elsewhere, tmp_path):
    torch.save(elsewhere('nextvit', 'official')[1], tmp_path / 'theirs.pth')
    out = tmp_path / 'ours.pth'
    convert_weights(tmp_path / 'theirs.pth', 'nextvit', out)

    def load(kv_pool, **settings):
        init_cfg = dict(type='Pretrained', checkpoint=str(out), **settings)
        NextViT(arch='small', kv_pool=kv_pool, init_cfg=init_cfg).init_weights()

    load('tokens')
    with pytest.raises(CheckpointError, match=r"ours\.pth was trained with kv_pool='tokens'"):
        load('windows')
    load('windows', allow_mismatch=True)

    convert_weights(tmp_path / 'theirs.pth', 'nextvit', out, kv_pool='windows')
    load('windows')
    with pytest.raises(CheckpointError, match="trained with kv_pool='windows'"):
        load('tokens')
