"""LayerScale by itself and folded into the layer before it."""

import pytest
import torch
from torch import nn

from mmtrtvit.models.layers import LayerScale


@pytest.mark.parametrize(
    ('layer', 'channel_first', 'shape'),
    [(nn.Conv2d(3, 5, 1), True, (2, 3, 4, 4)), (nn.Linear(3, 5), False, (2, 4, 3))],
    ids=['convolution', 'linear'],
)
def test_folded(layer, channel_first, shape):
    layer, scale = layer.double(), LayerScale(5, 0.5, channel_first).double()
    x = torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(scale(layer(x)), 0.5 * layer(x))
        scale.gamma.normal_()
        expected = scale(layer(x))
        scale.fold_into(layer)
        torch.testing.assert_close(layer(x), expected)
    dimension = 1 if channel_first else -1
    for channel in range(5):
        one = torch.zeros(expected.shape, dtype=torch.float64)
        one.select(dimension, channel).fill_(1)
        assert torch.equal(scale(one), one * scale.gamma[channel])
