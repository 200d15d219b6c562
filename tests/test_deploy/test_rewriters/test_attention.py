"""Scaled dot-product attention is exported as PyTorch defines it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

BOOLEAN = torch.rand(7, 9, generator=torch.Generator().manual_seed(3)) > 0.4
BOOLEAN[:, 0] = True  # a row in which nothing takes part is not a number in PyTorch either


@pytest.mark.parametrize(
    'options',
    [
        {},
        {'scale': 0.3},
        {'scale': 1.0},
        {'attn_mask': torch.linspace(-3, 3, 63).reshape(7, 9)},
        {'attn_mask': BOOLEAN},
        {'attn_mask': BOOLEAN, 'scale': 2.0},
        {'is_causal': True},
    ],
    ids=lambda options: '+'.join(options) or 'plain',
)
def test_equal_to_pytorch(exported, options):
    query, key, value = torch.randn(2, 4, 7, 8), torch.randn(2, 4, 9, 8), torch.randn(2, 4, 9, 6)

    def attend(query, key, value):
        return F.scaled_dot_product_attention(query, key, value, **options)

    expected = attend(query, key, value)
    graph = exported(attend, query, key, value)
    assert graph.operators['Softmax'] == 1 and graph.operators['MatMul'] == 2
    np.testing.assert_allclose(graph(query, key, value)[0], expected.numpy(), atol=2e-6)


def test_grouped_queries(exported):
    query, key, value = torch.randn(1, 4, 5, 8), torch.randn(1, 2, 5, 8), torch.randn(1, 2, 5, 8)

    def attend(query, key, value):
        return F.scaled_dot_product_attention(query, key, value, enable_gqa=True)

    expected = attend(query, key, value).numpy()
    np.testing.assert_allclose(exported(attend, query, key, value)(query, key, value)[0], expected, atol=2e-6)


def test_any_number_of_tokens(exported):
    def attend(input):
        tokens = input.flatten(2).transpose(1, 2)
        return F.scaled_dot_product_attention(tokens, tokens, tokens, scale=0.7, is_causal=True)

    graph = exported(attend, torch.randn(1, 8, 3, 4), dynamic_axes={'input': {0: 'b', 2: 'h', 3: 'w'}})
    x = torch.randn(2, 8, 5, 3)
    np.testing.assert_allclose(graph(x)[0], attend(x).numpy(), atol=2e-6)
