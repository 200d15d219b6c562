"""The two forms of self-attention."""

import math

import pytest
import torch

from mmtrtvit.errors import ConfigError
from mmtrtvit.models.layers import ExplicitAttention, FusedAttention, MultiHeadSelfAttention


def test_fused_is_explicit_with_the_scale_in_the_queries():
    q, k, v = (torch.randn(2, 3, 10, 8, dtype=torch.float64) for _ in range(3))
    fused = FusedAttention()(q, k, v)
    explicit = ExplicitAttention()(q / math.sqrt(8), k, v)
    torch.testing.assert_close(explicit, fused, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(ExplicitAttention()(q, k, v), fused)


@pytest.mark.parametrize('head_dim', [8, 16, 32])
def test_switch_keeps_the_output(randomise, head_dim):
    attention = randomise(MultiHeadSelfAttention(32, head_dim)).double()
    x = torch.randn(2, 10, 32, dtype=torch.float64)
    with torch.no_grad():
        expected = attention(x)
        for _ in range(2):
            attention.switch_to_deploy()
            torch.testing.assert_close(attention(x), expected, rtol=1e-12, atol=1e-12)
    assert isinstance(attention.attend, ExplicitAttention)


def test_switch_scales_the_queries_only(randomise):
    attention = randomise(MultiHeadSelfAttention(32, 16)).double()
    weight, bias = attention.qkv.weight.detach().clone(), attention.qkv.bias.detach().clone()
    attention.switch_to_deploy()
    torch.testing.assert_close(attention.qkv.weight[:32], weight[:32] / 4)
    torch.testing.assert_close(attention.qkv.bias[:32], bias[:32] / 4)
    assert torch.equal(attention.qkv.weight[32:], weight[32:]) and torch.equal(attention.qkv.bias[32:], bias[32:])


def test_every_token_sees_every_token(randomise):
    attention = randomise(MultiHeadSelfAttention(16, 8)).double()
    x = torch.randn(1, 6, 16, dtype=torch.float64, requires_grad=True)
    attention(x)[0, 0].sum().backward()
    assert (x.grad[0].abs().sum(-1) > 0).all()
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(attention(x[:, order]), attention(x)[:, order], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(('dim', 'head_dim'), [(48, 32), (16, 32), (0, 8), (32, 0), (32, -8)])
def test_channels_that_do_not_make_whole_heads(dim, head_dim):
    with pytest.raises(ConfigError, match=f'{dim} channels with heads of {head_dim}'):
        MultiHeadSelfAttention(dim, head_dim)
