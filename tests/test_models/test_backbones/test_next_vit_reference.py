"""The same weights in, the same features out: NextViT against timm's, an implementation of its own."""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from mmtrtvit.models import NextViT
from mmtrtvit.weights.next_vit import from_timm

pytestmark = pytest.mark.reference

SIZES = {'s': 'nextvit_small', 'b': 'nextvit_base', 'l': 'nextvit_large'}
LIMITS = {torch.float32: 1e-5, torch.float64: 1e-10}


def relative_error(given, expected):
    assert given.shape == expected.shape
    return ((given - expected).abs().max() / expected.abs().max()).item()


@pytest.fixture(scope='module')
def timm_net():
    """timm's network of a size with random weights, and BatchNorms whose statistics are those of its activations."""
    import timm

    def build(arch):
        net = timm.create_model(SIZES[arch], num_classes=10, drop_path_rate=0.0)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in net.parameters():
                scale = 0.3 if parameter.dim() == 1 else parameter[0].numel() ** -0.5
                parameter.normal_(0, scale, generator=generator)
            norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
            for norm in norms:
                norm.weight.add_(1)
                norm.momentum = 1.0
            net.train()(torch.randn(2, 3, 64, 64, generator=generator))
            for norm in norms:
                norm.running_var.add_(0.1)
        return net.eval()

    return build


def ours(net, arch, **settings):
    backbone = NextViT(arch=arch, final_norm=True, **settings)
    renamed = from_timm(net.state_dict())
    backbone.load_state_dict(renamed.weights, strict=True)
    assert set(renamed.dropped) == {'head.fc.weight', 'head.fc.bias'}
    assert len(renamed.mapped) + 2 == len(net.state_dict())
    return backbone.eval()


def features(net, x):
    """timm's four maps, the last one with its norm."""
    with torch.no_grad():
        last, maps = net.forward_intermediates(x, norm=False)
    return [*maps[:3], last]


@pytest.mark.parametrize('arch', SIZES)
def test_same_features(timm_net, arch):
    net = timm_net(arch)
    backbone = ours(net, arch)
    for dtype, limit in LIMITS.items():
        # Sides that are multiples of 32: there timm's pooling leaves no pixel out.
        x = torch.randn(2, 3, 96, 160, dtype=dtype, generator=torch.Generator().manual_seed(1))
        expected = features(net.to(dtype), x)
        assert min(y.std() for y in expected) > 0.3
        with torch.no_grad():
            given = backbone.to(dtype)(x)
        for y, theirs in zip(given, expected, strict=True):
            assert relative_error(y, theirs) <= limit
    backbone.switch_to_deploy()
    with torch.no_grad():
        given = backbone(x)
    for y, theirs in zip(given, expected, strict=True):
        assert relative_error(y, theirs) <= limit


def test_the_comparison_notices_the_other_pooling(timm_net):
    net = timm_net('s')
    x = torch.randn(1, 3, 96, 160)
    with torch.no_grad():
        given = ours(net, 's', kv_pool='windows')(x)
    expected = features(net, x)
    assert relative_error(given[0], expected[0]) <= LIMITS[torch.float32]
    assert all(relative_error(given[i], expected[i]) > 1e-3 for i in (1, 2, 3))


def test_same_gradients(timm_net):
    net = timm_net('s').double()
    backbone = ours(net, 's').double()
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    net.train(), backbone.train()
    net.forward_features(x).square().sum().backward()
    backbone(x)[-1].square().sum().backward()
    renamed = from_timm({name: value.grad for name, value in net.named_parameters() if value.grad is not None}).weights
    assert renamed.keys() == dict(backbone.named_parameters()).keys()
    largest = max(value.abs().max() for value in renamed.values())
    for name, parameter in backbone.named_parameters():
        torch.testing.assert_close(parameter.grad, renamed[name], rtol=1e-8, atol=1e-10 * largest.item(), msg=name)
