"""The stand-in's size against what follows from TurboViT's paper: 12.66 to 12.71 M parameters, about 2.2 G.

The paper gives ratios only: 2.47 times smaller than FasterViT-0 (31.4 M), 3.4 times fewer operations than
MobileViTv2-2.0. With the ImageNet classifier: LayerNorm and one linear layer.
"""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mmtrtvit.models import TurboViT

CLASSES = 1000


@pytest.fixture(scope='module')
def classifier():
    """Backbone with the classifier's norm, in the deploy form where attention is matrix products."""
    with torch.device('meta'):
        return TurboViT(final_norm=True).eval()


def test_parameters(classifier):
    params = sum(parameter.numel() for parameter in classifier.parameters())
    assert round((params + (classifier.out_channels[-1] + 1) * CLASSES) / 1e6, 2) == 12.66


def test_multiply_accumulates(classifier):
    classifier.switch_to_deploy()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        classifier(torch.empty(1, 3, 224, 224, device='meta'))
    counts = {str(operator): flops / 2 for operator, flops in counter.get_flop_counts()['Global'].items()}
    assert set(counts) == {'aten.convolution', 'aten.addmm', 'aten.bmm'}
    assert round((sum(counts.values()) + classifier.out_channels[-1] * CLASSES) / 1e9, 2) == 2.25
