"""The two forms of self-attention."""

import math

import pytest
import torch
import torch.nn.functional as F

from mmtrtvit.errors import ConfigError
from mmtrtvit.models.layers import QKV, ExplicitAttention, FusedAttention, MultiHeadSelfAttention


def test_fused_is_explicit_with_the_scale_in_the_queries():
    q, k, v = (torch.randn(2, 3, 10, 8, dtype=torch.float64) for _ in range(3))
    fused = FusedAttention()(q, k, v)
    explicit = ExplicitAttention()(q / math.sqrt(8), k, v)
    torch.testing.assert_close(explicit, fused, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(ExplicitAttention()(q, k, v), fused)


@pytest.mark.parametrize('masked', [False, True])
def test_recorded_and_run_the_explicit_form_is_the_same(masked):
    """A graph holds two products and a softmax; PyTorch runs its fused kernel, which needs values as wide as keys."""
    q, k, v = (torch.randn(2, 3, 10, 8) for _ in range(3))
    bias = torch.zeros(3, 1, 10).masked_fill(torch.arange(10) > 6, -math.inf) if masked else None
    given = (q, k, v) if bias is None else (q, k, v, bias)
    graph = torch.jit.trace(ExplicitAttention(), given)
    operators = [node.kind() for node in graph.inlined_graph.nodes()]
    assert operators.count('aten::matmul') == 2 and 'aten::softmax' in operators
    torch.testing.assert_close(ExplicitAttention()(*given), graph(*given))
    wide = torch.cat([v, v], dim=-1)
    torch.testing.assert_close(ExplicitAttention()(q, k, wide, bias)[..., :8], graph(*given))


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
    weights, biases = (part.detach().clone().split(32) for part in (attention.qkv.weight, attention.qkv.bias))
    attention.switch_to_deploy()
    layers = (attention.qkv.q, attention.qkv.k, attention.qkv.v)
    for layer, weight, bias, factor in zip(layers, weights, biases, (0.25, 1, 1), strict=True):
        torch.testing.assert_close(layer.weight, weight * factor, rtol=0, atol=1e-15)
        torch.testing.assert_close(layer.bias, bias * factor, rtol=0, atol=1e-15)


@pytest.mark.parametrize('head_first', [False, True])
@pytest.mark.parametrize('sizes', [(4, 4, 4), (4, 4, 12)])
def test_separate_layers_give_what_the_one_layer_of_the_checkpoint_gives(randomise, sizes, head_first):
    one = randomise(QKV(8, 3, sizes, head_first)).double()
    assert {name: tuple(part.shape) for name, part in one.state_dict().items()} == {
        'weight': (3 * sum(sizes), 8),
        'bias': (3 * sum(sizes),),
    }
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    with torch.no_grad():
        q, k, v = one.of_heads(x)
        found = one.separate().of_heads(x)
        assert torch.equal(one(x), F.linear(x, one.weight, one.bias))  # hooks see a linear layer
    assert [tuple(part.shape) for part in found] == [(2, 5, 3, size) for size in sizes]
    for given, expected in zip(found, (q / 2, k, v), strict=True):
        torch.testing.assert_close(given, expected, rtol=1e-12, atol=1e-12)
    first_keys = sizes[0] if head_first else 3 * sizes[0]
    torch.testing.assert_close(k[..., 0, 0], F.linear(x, one.weight, one.bias)[..., first_keys])


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
