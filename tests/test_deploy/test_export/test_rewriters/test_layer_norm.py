"""LayerNorm becomes one node that computes what PyTorch computes."""

import numpy as np
import torch
from torch import nn


class Norms(nn.Module):
    """One LayerNorm of each kind, with weights that are neither 0 nor 1."""

    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList(
            [
                nn.LayerNorm(16),
                nn.LayerNorm(16, eps=0.1),
                nn.LayerNorm((5, 16)),
                nn.LayerNorm(16, bias=False),
                nn.LayerNorm(16, elementwise_affine=False),
                nn.LayerNorm((5, 16), elementwise_affine=False),
            ]
        )
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def forward(self, x):
        return tuple(norm(x) for norm in self.norms)


def test_one_node_each_equal_to_pytorch(exported):
    norms = Norms()
    graph = exported(norms, torch.randn(2, 5, 16))
    assert graph.operators['LayerNormalization'] == len(norms.norms)
    assert not {'ReduceMean', 'Pow', 'Sqrt', 'Div'} & set(graph.operators)
    x = torch.randn(2, 5, 16) * 3 + 1
    with torch.no_grad():
        for found, expected in zip(graph(x), norms(x), strict=True):
            np.testing.assert_allclose(found, expected.numpy(), atol=3e-6)
