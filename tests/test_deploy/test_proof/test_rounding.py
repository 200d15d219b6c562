"""Other rounding errors are as small as float32's own, the same each time, and gone afterwards."""

import pytest
import torch
import torch.nn as nn

from mmtrtvit.deploy.proof.not_finite import NotFinite
from mmtrtvit.deploy.proof.rounding import ROUNDING, other_rounding


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 4, 2), nn.Flatten(2), nn.Linear(18, 5))


def test_errors_are_small_repeatable_and_gone_afterwards(network):
    images = torch.randn(2, 3, 10, 3)
    with torch.no_grad():
        exact = network(images)
        found = []
        for seed in (0, 0, 1):
            with other_rounding(network, seed):
                found.append(network(images))
        assert torch.equal(network(images), exact)
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    error = (found[0] - exact).std() / exact.square().mean().sqrt()
    assert 0.5 * ROUNDING < error < 5 * ROUNDING


def test_every_channel_has_errors_of_its_own_size():
    layer = nn.Conv2d(1, 2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 1000.0]).reshape(2, 1, 1, 1))
        images = torch.randn(1, 1, 50, 50)
        exact = layer(images)
        with other_rounding(layer, 0):
            errors = (layer(images) - exact).std(dim=(0, 2, 3))
    assert errors[0] < 3 * ROUNDING and errors[1] > 300 * ROUNDING


def test_equal_values_no_longer_are(network):
    with torch.no_grad(), other_rounding(network[0], 0):
        assert len(network[0](torch.ones(1, 3, 9, 9))[0, 0].unique()) > 10


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_the_first_layer_that_is_not_finite_is_named(network, value):
    images, watched = torch.randn(1, 3, 10, 3), NotFinite()
    with torch.no_grad(), watched.watch(network):
        network(images)
    assert watched.layer is None
    with torch.no_grad():
        network[2].bias[1] = value
        with watched.watch(network):
            network(images)
        assert watched.layer == '2'
        network[0].bias[1] = value
        with watched.watch(network):
            network(images)
        assert watched.layer == '2', 'the first one that was found'
    assert not any(part._forward_hooks for part in network.modules())


class Residual(nn.Module):
    """A block that adds by itself, with results in containers."""

    def __init__(self, wrap):
        super().__init__()
        self.layer, self.wrap = nn.Identity(), wrap

    def forward(self, x):
        return self.wrap(self.layer(x) + x)


@pytest.mark.parametrize(
    'wrap',
    [lambda y: y, lambda y: (y[:1], y), lambda y: [y], lambda y: {'maps': (y,)}],
    ids=['tensor', 'tuple', 'list', 'dict'],
)
def test_a_sum_outside_of_every_layer_is_looked_at(wrap):
    network, watched = nn.Sequential(Residual(wrap)), NotFinite()
    for value, name in ((1e38, None), (3e38, '0')):
        with watched.watch(network):
            network(torch.full((10,), value))
        assert watched.layer == name
    assert not any(part._forward_hooks for part in network.modules())


def test_the_innermost_layer_is_named():
    network, watched = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear(1, 1)))), NotFinite()
    with watched.watch(network):
        network(torch.tensor([float('inf')]))
    assert watched.layer == '0.0'


def test_a_sum_that_overflows_is_finite():
    layer, watched = nn.ReLU(), NotFinite()
    with watched.watch(nn.Sequential(layer)):
        layer(torch.full((10,), 3e38))
    assert watched.layer is None
