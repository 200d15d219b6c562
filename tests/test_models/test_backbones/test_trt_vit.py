"""TRTViT's interface: sizes of the maps, drop path, initialisation and arguments that cannot be used."""

import math

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmtrtvit.errors import ConfigError
from mmtrtvit.models import TRTViT
from mmtrtvit.models.backbones.trt_vit import (
    ARCH_SETTINGS,
    BottleNeck,
    MixBlockA,
    MixBlockB,
    MixBlockC,
    Transformer,
)

WHOLE = dict(widths=(16, 32, 32, 64), depths=(1, 1, 1, 2), block_types=('C', 'C', 'C', 'M'))


def arch(**changes):
    return {key: value for key, value in {**WHOLE, **changes}.items() if value is not None}


# --- maps ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', 'abcd')
def test_named_sizes_are_those_of_the_table(name):
    with torch.device('meta'):
        backbone = TRTViT(arch=name)
        settings = ARCH_SETTINGS[name]
        assert backbone.out_channels == settings['widths']
        assert tuple(len(stage) for stage in backbone.stages) == settings['depths']
        shapes = [tuple(y.shape) for y in backbone(torch.empty(1, 3, 224, 224))]
    assert shapes == [(1, w, n, n) for w, n in zip(settings['widths'], (56, 28, 14, 7), strict=True)]


def test_a_named_size_can_be_given_as_a_dict_too():
    with torch.device('meta'):
        by_name, by_dict = TRTViT(arch='a'), TRTViT(arch=dict(ARCH_SETTINGS['a']))
    shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in (by_name, by_dict)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ('letters', 'kinds'),
    [
        ('C', [BottleNeck] * 3),
        ('T', [Transformer] * 3),
        ('A', [MixBlockA] * 3),
        ('B', [MixBlockB] * 3),
        ('M', [MixBlockC] * 3),
        ('CTM', [BottleNeck, Transformer, MixBlockC]),
        (['B', 'A', 'C'], [MixBlockB, MixBlockA, BottleNeck]),
    ],
)
def test_block_letters(tiny, letters, kinds):
    backbone = tiny(depths=(1, 1, 1, 3), block_types=('C', 'C', 'C', letters))
    assert [type(block) for block in backbone.stages[-1]] == kinds


# --- drop path and initialisation ---------------------------------------------------------------------------


def drop_rates(module):
    return {part.drop_prob for part in module.modules() if isinstance(part, DropPath)}


def test_drop_path_rises_linearly_from_zero_to_its_rate(tiny):
    backbone = tiny(depths=(2, 2, 3, 4), block_types=('C', 'T', 'A', 'CTBM'), drop_path_rate=0.3)
    blocks = [block for stage in backbone.stages for block in stage]
    for index, block in enumerate(blocks):
        (rate,) = drop_rates(block)
        assert rate == pytest.approx(0.3 * index / (len(blocks) - 1), abs=1e-6)


def test_a_block_has_the_same_rate_whichever_stages_are_returned(tiny):
    settings = dict(depths=(2, 2, 3, 4), drop_path_rate=0.3)
    whole, part = tiny(**settings), tiny(**settings, out_indices=(0, 1))
    for ours, theirs in zip(part.stages, whole.stages, strict=False):
        assert [drop_rates(block) for block in ours] == [drop_rates(block) for block in theirs]


@pytest.mark.parametrize('letter', ['C', 'T', 'A', 'B', 'M'])
def test_drop_path_acts_in_training_only(tiny, letter):
    backbone = tiny(block_types=('C', 'C', 'C', letter), drop_path_rate=0.9)
    x = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        backbone.eval()
        assert torch.equal(backbone(x)[-1], backbone(x)[-1])
        backbone.train()
        for module in backbone.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        assert not torch.allclose(backbone(x)[-1], backbone(x)[-1])


def test_drop_path_keeps_the_expected_residual():
    block = BottleNeck(8, 8, stride=1, drop_path=0.5, norm_cfg=dict(type='BN')).train()
    for norm in (module for module in block.modules() if isinstance(module, _BatchNorm)):
        norm.eval()
    x = torch.rand(1, 8, 4, 4).expand(64, -1, -1, -1)
    with torch.no_grad():
        given = block(x)
        residual = block.conv3(block.conv2(block.conv1(x)))[0]
    kept = (given != torch.relu(x)).flatten(1).any(1)
    assert 16 < kept.sum() < 48
    torch.testing.assert_close(given[kept][0], torch.relu(x[0] + residual / 0.5))


@pytest.mark.parametrize('zero_init', [True, False])
def test_initial_weights(tiny, zero_init):
    backbone = tiny(widths=(64, 64, 64, 128), final_norm=True, zero_init_residual=zero_init)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.fill_(7.0)
    backbone.init_weights()
    last_norms = {part.conv3.norm for part in backbone.modules() if isinstance(part, BottleNeck)}
    assert len(last_norms) == 7
    for module in backbone.modules():
        if isinstance(module, (_BatchNorm, nn.LayerNorm)):
            assert (module.weight == (0 if zero_init and module in last_norms else 1)).all()
            assert (module.bias == 0).all()
        elif isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.15)
            assert (module.bias == 0).all()
        elif isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * math.prod(module.kernel_size)
            assert module.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.15)


@pytest.mark.parametrize('norm', ['BN', 'SyncBN', 'GN'])
def test_norm_cfg_reaches_every_norm_after_a_convolution(tiny, norm):
    kind = dict(BN=nn.BatchNorm2d, SyncBN=nn.SyncBatchNorm, GN=nn.GroupNorm)[norm]
    backbone = tiny(norm_cfg=dict(type=norm, **(dict(num_groups=4) if norm == 'GN' else {})), final_norm=True)
    norms = [part for part in backbone.modules() if isinstance(part, (_BatchNorm, nn.GroupNorm))]
    assert all(isinstance(part, kind) for part in norms)
    assert len(norms) == sum(isinstance(part, nn.Conv2d) for part in backbone.modules()) + 1


# --- arguments that cannot be used ---------------------------------------------------------------------------


def message(**arguments):
    """What is said, checked to hold the three parts of a message."""
    with pytest.raises(ConfigError) as caught:
        TRTViT(**arguments)
    lines = str(caught.value).split('\n')
    assert [line.split(':')[0] for line in lines[1:]] == ['Expected', 'Fix']
    return str(caught.value)


def test_unknown_name_lists_the_names():
    said = message(arch='z')
    assert "arch='z'" in said
    for part in ("'a', 'b', 'c', 'd'", 'widths', 'depths', 'block_types'):
        assert part in said


@pytest.mark.parametrize(
    ('wrong', 'expected'),
    [
        (arch(depths=None), "without 'depths'"),
        (arch(depths=None, widths=None), "without 'widths', 'depths'"),
        (arch(width=(1, 2, 3, 4)), "with unknown 'width'"),
        (arch(widths=(16, 32, 64)), "with a wrong value for 'widths'"),
        (arch(depths=(1, 1, 1, 1, 1)), "with a wrong value for 'depths'"),
        (arch(depths=3), "with a wrong value for 'depths'"),
        (arch(widths='abcd'), "with a wrong value for 'widths'"),
        (arch(widths=(16.0, 32, 32, 64)), "with a wrong value for 'widths'"),
        (arch(widths=(16, 32, 32, -64)), "with a wrong value for 'widths'"),
        (arch(depths=(1, 0, 1, 2)), "with a wrong value for 'depths'"),
        (arch(depths=(1, '1', 1, 2)), "with a wrong value for 'depths'"),
        (arch(block_types=7), "with a wrong value for 'block_types'"),
        (arch(block_types=('C', 'C', 'M')), "with a wrong value for 'block_types'"),
        (None, 'arch=None'),
        (['a'], "arch=['a']"),
        (3, 'arch=3'),
    ],
    ids=str,
)
def test_wrong_arch_names_the_key(wrong, expected):
    said = message(arch=wrong)
    assert expected in said
    assert 'widths, depths, block_types' in said and 'with 4 entries' in said
    assert "'a', 'b', 'c', 'd'" in said


@pytest.mark.parametrize('letters', ['X', 'c', '', 'MX', 'MMM', 5, None, ['M', 'X'], [5, 5]])
def test_wrong_block_letters(letters):
    said = message(arch=arch(block_types=('C', 'C', 'C', letters)))
    assert f'block_types[3]={letters!r} for a stage of 2 blocks' in said
    assert 'one letter, or 2 letters, of C, T, A, B, M' in said


@pytest.mark.parametrize('indices', [(), (4,), (-1,), (0, 4), (3, 2), (1, 1), 3, None, '01', (0, '1'), (0, None)])
def test_wrong_out_indices(indices):
    said = message(arch=arch(), out_indices=indices)
    assert f'out_indices={indices!r}' in said and 'from 0 to 3' in said


@pytest.mark.parametrize('frozen', [-2, 5, None, '1', 1.5, 2.0])
def test_wrong_frozen_stages(frozen):
    said = message(arch=arch(), frozen_stages=frozen)
    assert f'frozen_stages={frozen!r}' in said and '-1 (nothing), 0 (stem) or 1 to 4' in said


@pytest.mark.parametrize('ratio', [0.0, 1.0, -0.5, 2])
def test_wrong_shrink_ratio(ratio):
    said = message(arch=arch(), shrink_ratio=ratio)
    assert f'shrink_ratio={ratio!r}' in said and 'between 0 and 1' in said


@pytest.mark.parametrize('rate', [-0.1, 1.0, 1.5])
def test_wrong_drop_path_rate(rate):
    assert f'drop_path_rate={rate!r}' in message(arch=arch(), head_dim=8, drop_path_rate=rate)


@pytest.mark.parametrize(
    ('settings', 'numbers'),
    [
        (dict(head_dim=24), '32 channels with heads of 24'),
        (dict(head_dim=32, shrink_ratio=0.75), '48 channels with heads of 32'),
        (dict(head_dim=8, shrink_ratio=0.01), '0 channels with heads of 8'),
        (dict(head_dim=0), 'heads of 0'),
        (dict(head_dim=-8), 'heads of -8'),
    ],
)
@pytest.mark.filterwarnings('ignore:Initializing zero-element')
def test_channels_that_do_not_make_whole_heads(settings, numbers):
    assert numbers in message(arch=arch(), **settings)


def test_the_message_survives_the_registry():
    from mmdet.registry import MODELS

    with pytest.raises(ConfigError, match=r"arch='z'.*\n.*'a', 'b', 'c', 'd'"):
        MODELS.build(dict(type='mmtrtvit.TRTViT', arch='z'))
