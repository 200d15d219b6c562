"""Folding BatchNorm into the layer before or after it."""

import copy

import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn

from mmtrtvit.models.layers import (
    ChannelAffine,
    fold_batch_norms,
    fold_conv_module,
    fold_into_next,
    replace_batch_norms,
)

X = torch.randn(2, 8, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def run(module):
    with torch.no_grad():
        return module(X)


@pytest.mark.parametrize(
    'settings',
    [
        dict(),
        dict(act_cfg=None),
        dict(stride=2, padding=1),
        dict(groups=4),
        dict(norm_cfg=dict(type='BN', eps=0.1)),
        dict(norm_cfg=dict(type='SyncBN')),
        dict(norm_cfg=dict(type='BN', requires_grad=False)),
    ],
    ids=str,
)
@pytest.mark.parametrize('training', [False, True])
def test_folded_module_computes_the_same(randomise, settings, training):
    module = ConvModule(8, 12, 3, **{'norm_cfg': dict(type='BN'), **settings})
    randomise(module).double().eval()
    expected = run(module)
    names = set(module.state_dict())
    fold_conv_module(module.train(training))
    assert set(module.state_dict()) == {'conv.weight', 'conv.bias'} != names
    assert isinstance(module.norm, nn.Identity)
    torch.testing.assert_close(run(module), expected, rtol=1e-12, atol=1e-12)
    fold_conv_module(module)
    torch.testing.assert_close(run(module), expected, rtol=1e-12, atol=1e-12)


def test_a_bias_before_the_norm_is_folded_too(randomise):
    with pytest.warns(UserWarning, match='Unnecessary conv bias'):
        module = ConvModule(8, 12, 3, bias=True, norm_cfg=dict(type='BN'))
    randomise(module).double().eval()
    expected = run(module)
    fold_conv_module(module)
    torch.testing.assert_close(run(module), expected, rtol=1e-12, atol=1e-12)


def test_a_norm_without_affine_is_folded_too(randomise):
    module = ConvModule(8, 12, 3, act_cfg=None)
    module.with_norm, module.norm_name = True, 'bn'
    module.add_module('bn', nn.BatchNorm2d(12, affine=False))
    with torch.no_grad():
        module.bn.running_mean.normal_()
        module.bn.running_var.uniform_(0.5, 2)
    module.double().eval()
    expected = run(module)
    fold_conv_module(module)
    assert isinstance(module.bn, nn.Identity)
    torch.testing.assert_close(run(module), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('norm_cfg', [None, dict(type='GN', num_groups=4), dict(type='IN', affine=True)], ids=str)
def test_what_cannot_be_folded_is_left_as_it_is(norm_cfg):
    module = ConvModule(8, 12, 3, norm_cfg=norm_cfg).double()
    before = copy.deepcopy(module)
    fold_conv_module(module)
    assert [type(part) for part in module.modules()] == [type(part) for part in before.modules()]
    assert module.state_dict().keys() == before.state_dict().keys()
    assert torch.equal(run(module), run(before))


def test_every_module_below_the_root_is_folded():
    root = nn.Sequential(ConvModule(8, 8, 1, norm_cfg=dict(type='BN')), nn.BatchNorm2d(8))
    nested = nn.ModuleDict(dict(a=root, b=ConvModule(8, 8, 1, norm_cfg=dict(type='BN'))))
    fold_batch_norms(nested)
    assert isinstance(nested.a[0].bn, nn.Identity) and isinstance(nested.b.bn, nn.Identity)
    assert isinstance(nested.a[1], nn.BatchNorm2d), 'no convolution of its own stands before it'


@pytest.mark.parametrize('affine', [True, False])
def test_channel_affine_is_the_batch_norm_in_evaluation(affine):
    norm = nn.BatchNorm2d(8, affine=affine, eps=0.01).double()
    with torch.no_grad():
        for value in (norm.running_mean, *norm.parameters()):
            value.normal_()
        norm.running_var.uniform_(0.1, 3)
    stand_in = ChannelAffine(norm)
    assert {name: value.shape for name, value in stand_in.named_parameters()} == {
        'weight': (8, 1, 1),
        'bias': (8, 1, 1),
    }
    torch.testing.assert_close(run(stand_in), run(norm.eval()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('affine', [True, False])
def test_a_norm_is_folded_into_every_layer_that_reads_it(randomise, bias, affine):
    norm = nn.BatchNorm2d(8, affine=affine, eps=0.01).double().eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.1, 3)
    conv, linear = nn.Conv2d(8, 5, 1, bias=bias).double(), nn.Linear(8, 6, bias=bias).double()
    if affine:
        randomise(norm)

    def both(x):
        return conv(x), linear(x.flatten(2).transpose(1, 2))

    with torch.no_grad():
        expected = both(norm(X))
        stands_in = fold_into_next(norm.train(), conv, linear)
        assert isinstance(stands_in, nn.Identity)
        for ours, theirs in zip(both(stands_in(X)), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert all(parameter.requires_grad for layer in (conv, linear) for parameter in layer.parameters())


@pytest.mark.parametrize('size', [(9, 7), (8, 4), (1, 1)])
def test_an_average_may_stand_between_the_norm_and_the_layer(randomise, size):
    """Windows at the border hold fewer pixels; what is folded is right there as well."""
    x = torch.randn(2, 8, *size, dtype=torch.float64)
    norm, conv = randomise(nn.BatchNorm2d(8)).double().eval(), nn.Conv2d(8, 5, 1).double()
    pool = nn.AvgPool2d(4, ceil_mode=True, count_include_pad=False)
    with torch.no_grad():
        expected = conv(pool(norm(x)))
        fold_into_next(norm, conv)
        torch.testing.assert_close(conv(pool(x)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('norm', [nn.Identity(), nn.GroupNorm(4, 8), nn.LayerNorm(8)], ids=str)
def test_a_norm_that_is_no_batch_norm_is_not_folded_into_the_next(norm):
    conv = nn.Conv2d(8, 5, 1)
    before = copy.deepcopy(conv.state_dict())
    assert fold_into_next(norm, conv) is norm
    assert all(torch.equal(conv.state_dict()[name], value) for name, value in before.items())


def test_every_batch_norm_that_is_left_becomes_a_scale_and_a_shift(randomise):
    root = nn.Sequential(nn.BatchNorm2d(8), nn.ModuleDict(dict(norm=nn.SyncBatchNorm(8), other=nn.GroupNorm(4, 8))))
    randomise(root).double().eval()
    with torch.no_grad():
        expected = root[1].norm(root[0](X))
        replace_batch_norms(root)
        assert [type(part) for part in (root[0], root[1].norm)] == [ChannelAffine] * 2
        assert isinstance(root[1].other, nn.GroupNorm)
        torch.testing.assert_close(root[1].norm(root[0](X)), expected, rtol=1e-12, atol=1e-12)
