"""Scaled dot-product attention is exported as PyTorch defines it."""

import numpy as np
import torch
import torch.nn.functional as F


def test_every_option_is_pytorchs(exported):
    partners = torch.rand(7, 9, generator=torch.Generator().manual_seed(3)) > 0.4
    partners[:, 0] = True  # a row in which nothing takes part is not a number in PyTorch either
    assert not partners.all()
    kinds = (
        {},
        {'scale': 0.3},
        {'scale': 1.0},
        {'attn_mask': torch.linspace(-3, 3, 63).reshape(7, 9)},
        {'attn_mask': partners},
        {'attn_mask': partners, 'scale': 2.0},
        {'is_causal': True},
        {'enable_gqa': True, 'scale': 0.5},
    )

    def attend(query, key, value):
        outputs = []
        for options in kinds:
            heads = 2 if 'enable_gqa' in options else 4
            outputs.append(F.scaled_dot_product_attention(query, key[:, :heads], value[:, :heads], **options))
        return tuple(outputs)

    inputs = torch.randn(2, 4, 7, 8), torch.randn(2, 4, 9, 8), torch.randn(2, 4, 9, 6)
    expected = attend(*inputs)
    graph = exported(attend, *inputs)
    assert graph.operators['Softmax'] == len(kinds)
    for options, ours, theirs in zip(kinds, graph(*inputs), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=3e-6, err_msg=str(options))


def test_any_number_of_tokens(exported):
    def attend(input):
        tokens = input.flatten(2).transpose(1, 2)
        return F.scaled_dot_product_attention(tokens, tokens, tokens, scale=0.7, is_causal=True)

    graph = exported(attend, torch.randn(1, 8, 3, 4), dynamic_axes={'input': {0: 'b', 2: 'h', 3: 'w'}})
    x = torch.randn(2, 8, 5, 3)
    np.testing.assert_allclose(graph(x)[0], attend(x).numpy(), atol=3e-6)
