"""Linear interpolation as a matrix product, against PyTorch's own."""

import pytest
import torch
import torch.nn.functional as F

from mmtrtvit.models.layers import tent_weights


@pytest.mark.parametrize('points', [2, 7, 25])
@pytest.mark.parametrize('length', [2, 3, 7, 40])
def test_from_end_to_end(points, length):
    table = torch.randn(1, 3, points, dtype=torch.float64)
    positions = torch.linspace(0, points - 1, length, dtype=torch.float64)
    expected = F.interpolate(table, size=length, mode='linear', align_corners=True)
    torch.testing.assert_close(table @ tent_weights(positions, points).T, expected)


@pytest.mark.parametrize('points', [1, 2, 7, 25])
@pytest.mark.parametrize('length', [1, 3, 7, 40])
def test_from_centre_to_centre(points, length):
    table = torch.randn(1, 3, points, dtype=torch.float64)
    centres = (torch.arange(length, dtype=torch.float64) + 0.5) * points / length - 0.5
    expected = F.interpolate(table, size=length, mode='linear', align_corners=False)
    torch.testing.assert_close(table @ tent_weights(centres.clamp(0, points - 1), points).T, expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
def test_on_a_sample_nothing_is_mixed_in(dtype):
    weights = tent_weights(torch.arange(25, dtype=dtype), 25)
    assert weights.dtype is dtype
    assert torch.equal(weights, torch.eye(25, dtype=dtype))


def test_weights_are_shares():
    weights = tent_weights(torch.rand(4, 5, 6) * 9, 10)
    assert weights.shape == (4, 5, 6, 10)
    assert (weights >= 0).all() and ((weights > 0).sum(-1) <= 2).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 5, 6))
