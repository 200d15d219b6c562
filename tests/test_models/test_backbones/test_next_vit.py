"""NextViT's interface: sizes, drop path, initialisation, extra norms and arguments that cannot be used."""

import itertools

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmtrtvit.errors import ConfigError
from mmtrtvit.models import NextViT
from mmtrtvit.models.backbones.next_vit import ARCH_SETTINGS, NTB

WHOLE = dict(
    widths=(16, 16, 32, 32), ntb_widths=(16, 32, 32, 64), depths=(1, 2, 2, 2), block_types=('C', 'CT', 'C', 'CT')
)


def arch(**changes):
    return {key: value for key, value in {**WHOLE, **changes}.items() if value is not None}


@pytest.fixture
def next_vit():
    """Build a NextViT of a few thousand parameters; keys of the arch and arguments by name."""

    def build(**kwargs):
        changes = {key: kwargs.pop(key) for key in WHOLE if key in kwargs}
        return NextViT(**{'arch': arch(**changes), 'head_dim': 8, **kwargs})

    return build


# --- sizes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', 'sbl')
def test_named_sizes(name):
    with torch.device('meta'):
        backbone = NextViT(arch=name)
        shapes = [tuple(y.shape) for y in backbone(torch.empty(1, 3, 224, 224))]
    assert backbone.out_channels == (96, 256, 512, 1024)
    assert shapes == [(1, 96, 56, 56), (1, 256, 28, 28), (1, 512, 14, 14), (1, 1024, 7, 7)]


def test_a_named_size_can_be_given_as_a_dict_too():
    with torch.device('meta'):
        by_name, by_dict = NextViT(arch='b'), NextViT(arch=dict(ARCH_SETTINGS['b']))
    shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in (by_name, by_dict)]
    assert shapes[0] == shapes[1]


def test_channels_are_those_of_each_stages_last_block(next_vit):
    assert next_vit().out_channels == (16, 32, 32, 64)
    backbone = next_vit(ntb_widths=(24, 40, 48, 72), block_types=('T', 'TC', 'CT', 'T'), out_indices=(0, 1, 3))
    assert backbone.out_channels == (24, 16, 72)
    with torch.no_grad():
        assert tuple(y.shape[1] for y in backbone(torch.randn(2, 3, 64, 64))) == backbone.out_channels


def test_how_keys_are_pooled_changes_the_maps_but_no_name(next_vit, randomise):
    tokens, windows = randomise(next_vit()).eval(), next_vit(kv_pool='windows').eval()
    windows.load_state_dict(tokens.state_dict(), strict=True)
    with torch.no_grad():
        given, other = (net(torch.randn(1, 3, 128, 128, generator=torch.manual_seed(1))) for net in (tokens, windows))
    assert torch.equal(given[0], other[0]), 'the first stage has no NTB'
    assert not torch.allclose(given[1], other[1], rtol=1e-3, atol=1e-3)


# --- drop path and initialisation -------------------------------------------------------------------------------


def test_drop_path_rises_linearly_and_is_shared_out_in_an_ntb(next_vit):
    backbone = next_vit(depths=(2, 3, 2, 3), block_types=('C', 'CCT', 'CT', 'T'), drop_path_rate=0.3, mix_ratio=0.75)
    blocks = [block for stage in backbone.stages for block in stage]
    for index, block in enumerate(blocks):
        rate = 0.3 * index / (len(blocks) - 1)
        assert block.drop_path.drop_prob == pytest.approx(rate, abs=1e-6)
        if isinstance(block, NTB):
            assert block.attn_drop_path.drop_prob == pytest.approx(0.75 * rate, abs=1e-6)
            assert block.mhca_drop_path.drop_prob == pytest.approx(0.25 * rate, abs=1e-6)
        else:
            assert sum(isinstance(part, DropPath) for part in block.modules()) == 1


@pytest.mark.parametrize('letter', ['C', 'T'])
def test_each_residual_branch_can_be_dropped(next_vit, letter):
    """With ones and zeros in place of the branches, a block's output tells which of them were dropped."""
    block = next_vit(block_types=('C', 'C', 'C', letter), ntb_widths=(16, 32, 32, 32)).stages[3][1].train()
    names = ('attn', 'mhca', 'mlp') if letter == 'T' else ('mhca', 'mlp')
    for name in names:
        module = block.get_submodule(name)
        module.forward = lambda x: torch.ones_like(x)
    for module in block.modules():
        if isinstance(module, DropPath):
            module.drop_prob = 0.5
    block.patch_embed = nn.Identity()
    block.proj = nn.Identity()
    channels = 24 if letter == 'T' else 32
    with torch.no_grad():
        given = block(torch.zeros(400, channels, 1, 1))[..., 0, 0]
    # A branch that is kept adds 1 / 0.5. In an NTB the first channels see E-MHSA's, the last all three.
    seen = {tuple(sample.tolist()) for sample in given[:, [0, -1]]}
    kept = itertools.product((0.0, 2.0), repeat=len(names))
    assert seen == {(sum(k) - (k[1] if letter == 'T' else 0), sum(k)) for k in kept}


def test_initial_weights(next_vit):
    backbone = next_vit(widths=(64, 64, 64, 128), ntb_widths=(64, 64, 64, 128), with_extra_norm=True)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.fill_(7.0)
    backbone.init_weights()
    for module in backbone.modules():
        if isinstance(module, _BatchNorm):
            assert (module.weight == 1).all() and (module.bias == 0).all()
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.15)
            assert module.bias is None or (module.bias == 0).all()


@pytest.mark.parametrize('norm', ['BN', 'SyncBN', 'GN'])
def test_norm_cfg_reaches_every_norm(next_vit, norm):
    kind = dict(BN=nn.BatchNorm2d, SyncBN=nn.SyncBatchNorm, GN=nn.GroupNorm)[norm]
    settings = dict(type=norm, **(dict(num_groups=4) if norm == 'GN' else {}))
    counts = [
        sum(isinstance(part, kind) for part in next_vit(norm_cfg=cfg, with_extra_norm=True).modules())
        for cfg in (settings, dict(type='BN'))
    ]
    assert counts[0] > 30 and counts[1] == (counts[0] if norm == 'BN' else 0)


# --- the norms of the dense form --------------------------------------------------------------------------------


def test_extra_norms_end_every_stage_and_feed_the_next(next_vit, randomise):
    x = torch.randn(2, 3, 64, 64)
    backbone = randomise(next_vit(with_extra_norm=True)).eval()
    norms = [stage[-1].stage_norm for stage in backbone.stages[:3]] + [backbone.final_norm]
    assert all(isinstance(norm, nn.BatchNorm2d) for norm in norms)
    with torch.no_grad():
        given = backbone(x)
        for stage in backbone.stages[:3]:
            stage[-1].stage_norm = nn.Identity()
        backbone.final_norm = nn.Identity()
        y = backbone.stem(x)
        for stage, norm, ours in zip(backbone.stages, norms, given, strict=True):
            y = norm(stage(y))
            torch.testing.assert_close(ours, y)


def test_extra_norms_add_four_norms_and_change_no_other_name(next_vit):
    plain, normed = next_vit().state_dict(), next_vit(with_extra_norm=True).state_dict()
    added = {name.rsplit('.', 1)[0] for name in normed.keys() - plain.keys()}
    assert added == {'stages.0.0.stage_norm', 'stages.1.1.stage_norm', 'stages.2.1.stage_norm', 'final_norm'}
    assert plain.keys() <= normed.keys()


def test_the_extra_norm_of_a_stage_is_named_alike_whichever_stages_are_returned(next_vit):
    whole, part = next_vit(with_extra_norm=True), next_vit(with_extra_norm=True, out_indices=(0, 1))
    assert part.state_dict().keys() <= whole.state_dict().keys()
    assert 'stages.1.1.stage_norm.weight' in part.state_dict()


def test_the_extra_norm_of_a_frozen_stage_is_frozen(next_vit):
    backbone = next_vit(with_extra_norm=True, frozen_stages=2).train()
    frozen = [stage[-1].stage_norm for stage in backbone.stages]
    assert [norm.training for norm in frozen[:3]] == [False, False, True]
    assert [norm.weight.requires_grad for norm in frozen[:3]] == [False, False, True]


def test_extra_norms_become_a_scale_and_a_shift(next_vit, randomise):
    backbone = randomise(next_vit(with_extra_norm=True)).double().eval()
    x = torch.randn(2, 3, 70, 45, dtype=torch.float64)
    with torch.no_grad():
        expected = backbone(x)
        backbone.switch_to_deploy()
        given = backbone(x)
    assert not any(isinstance(module, _BatchNorm) for module in backbone.modules())
    for ours, theirs in zip(given, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


# --- arguments that cannot be used ---------------------------------------------------------------------------


def message(**arguments):
    """What is said, checked to hold the three parts of a message."""
    with pytest.raises(ConfigError) as caught:
        NextViT(**{'arch': arch(), 'head_dim': 8, **arguments})
    lines = str(caught.value).split('\n')
    assert [line.split(':')[0] for line in lines[1:]] == ['Expected', 'Fix']
    return str(caught.value)


def test_unknown_name_lists_the_names():
    said = message(arch='small')
    for part in ("arch='small'", "'s', 'b', 'l'", 'ntb_widths'):
        assert part in said


@pytest.mark.parametrize(
    ('wrong', 'expected'),
    [
        (arch(ntb_widths=None), "without 'ntb_widths'"),
        (arch(ntb_widths=(16, 32, 32)), "with a wrong value for 'ntb_widths'"),
        (arch(ntb_widths=(16, 32, 32, 0)), "with a wrong value for 'ntb_widths'"),
        (arch(widths=(16, 32, 32.0, 8)), "with a wrong value for 'widths'"),
        (arch(block_types=('C', 'CT', 'A', 'C')), "block_types[2]='A' for a stage of 2 blocks"),
        (arch(block_types=('C', 'CT', 'C', 'CTC')), "block_types[3]='CTC' for a stage of 2 blocks"),
        (arch(widths=(16, 20, 32, 30)), 'blocks of 20, 30 channels with heads of 8'),
        (arch(ntb_widths=(16, 32, 32, 8)), '8 for E-MHSA, 0 for MHCA'),
    ],
    ids=str,
)
def test_wrong_arch(wrong, expected):
    assert expected in message(arch=wrong)


@pytest.mark.parametrize(
    ('name', 'value', 'expected'),
    [
        ('kv_ratios', (8, 4, 2), '(8, 4, 2, 1)'),
        ('kv_ratios', (8, 4, 2, 0), '(8, 4, 2, 1)'),
        ('kv_ratios', 2, '(8, 4, 2, 1)'),
        ('kv_pool', 'max', "'tokens', 'windows'"),
        ('mix_ratio', 1.0, '0.75'),
        ('mix_ratio', 0, '0.75'),
        ('head_dim', 0, 'from 1 on'),
        ('drop_path_rate', 1.0, 'below 1'),
        ('out_indices', (3, 2), 'from 0 to 3'),
        ('frozen_stages', 5, '1 to 4'),
    ],
)
def test_wrong_arguments(name, value, expected):
    said = message(**{name: value})
    assert f'NextViT({name}={value!r})' in said and expected in said
