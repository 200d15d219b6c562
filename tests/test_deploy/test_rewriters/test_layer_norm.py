"""LayerNorm becomes one node that computes what PyTorch computes."""

import numpy as np
import pytest
import torch
from torch import nn


@pytest.mark.parametrize('affine', [True, False])
@pytest.mark.parametrize('shape', [(16,), (5, 16)])
def test_one_node_equal_to_pytorch(exported, affine, shape):
    norm = nn.LayerNorm(shape, eps=1e-3, elementwise_affine=affine)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 5, 16) * 3 + 1
    graph = exported(norm, x)
    assert graph.operators['LayerNormalization'] == 1
    assert not {'ReduceMean', 'Pow', 'Sqrt'} & set(graph.operators)
    np.testing.assert_allclose(graph(x)[0], norm(x).detach().numpy(), atol=2e-6)


def test_weight_without_bias(exported):
    norm = nn.LayerNorm(8, bias=False)
    nn.init.normal_(norm.weight)
    x = torch.randn(3, 8)
    np.testing.assert_allclose(exported(norm, x)(x)[0], norm(x).detach().numpy(), atol=2e-6)
