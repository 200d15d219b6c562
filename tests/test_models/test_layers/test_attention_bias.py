"""Both forms of attention with a bias on the scores, against a sum over keys."""

import math

import pytest
import torch

from mmtrtvit.models.layers import ExplicitAttention, FusedAttention

Q, K, V = (2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 4)


def by_sums(q, k, v, bias):
    scores = torch.einsum('bhnd,bhmd->bhnm', q, k) / math.sqrt(q.shape[-1]) + bias
    share = scores.exp()
    return torch.einsum('bhnm,bhmd->bhnd', share / share.sum(-1, keepdim=True), v)


@pytest.mark.parametrize('shape', [(3, 5, 7), (1, 3, 1, 7), (2, 3, 5, 7)])
@pytest.mark.parametrize('masked', [False, True])
def test_bias(shape, masked):
    q, k, v = (torch.randn(size, dtype=torch.float64) for size in (Q, K, V))
    bias = torch.randn(shape, dtype=torch.float64)
    if masked:
        bias[..., -3:] = -math.inf
    expected = by_sums(q, k, v, bias)
    torch.testing.assert_close(FusedAttention()(q, k, v, bias), expected)
    torch.testing.assert_close(ExplicitAttention()(q / math.sqrt(8), k, v, bias), expected)
    if masked:
        v[:, :, -3:] = 1e6
        assert torch.equal(ExplicitAttention()(q, k, v, bias).abs() > 1e3, torch.zeros(2, 3, 5, 4, dtype=torch.bool))


def test_no_bias_is_a_bias_of_zero():
    q, k, v = (torch.randn(size, dtype=torch.float64) for size in (Q, K, V))
    for attend in (FusedAttention(), ExplicitAttention()):
        torch.testing.assert_close(attend(q, k, v), attend(q, k, v, torch.zeros(5, 7, dtype=torch.float64)))
