"""Parameters and multiply-accumulates against what is published, to the printed digit.

Published (the paper, and the official code counted with fvcore): 12.29, 31.41 and 82.23 M parameters; 1.302, 3.929 and
10.166 G multiply-accumulates at 224 x 224. Both include BOTH linear layers of the classifier, the one for the labels
and the one for distillation, and its LayerNorm. fvcore counts norms: 2 operations an element for a BatchNorm, 5 for a
LayerNorm. Without them and with one linear layer the figures are 1.291, 3.906 and 10.119 G.
"""

import warnings

import pytest
import torch
from mmengine.analysis import FlopAnalyzer

from mmtrtvit.models import EfficientFormer
from mmtrtvit.models.backbones.efficientformer import BiasedAttention

CLASSES = 1000
CLASSIFIERS = 2
PUBLISHED = [('l1', 12.29, 1.302), ('l3', 31.41, 3.929), ('l7', 82.23, 10.166)]


@pytest.mark.parametrize(('arch', 'millions', '_'), PUBLISHED)
def test_published_parameters(arch, millions, _):
    with torch.device('meta'):
        backbone = EfficientFormer(arch=arch, final_norm=True)
    params = sum(parameter.numel() for parameter in backbone.parameters())
    params += CLASSIFIERS * (backbone.out_channels[-1] + 1) * CLASSES
    assert round(params / 1e6, 2) == millions


@pytest.mark.parametrize(('arch', '_', 'giga'), PUBLISHED)
def test_published_multiply_accumulates(arch, _, giga):
    backbone = EfficientFormer(arch=arch, final_norm=True).eval()
    bias_macs = 0
    for layer in (part for part in backbone.modules() if isinstance(part, BiasedAttention)):
        layer.switch_to_deploy()  # matrix products, which the counter knows; the norms stay, which it counts
        # The official code looks its bias up, where the table is interpolated here.
        bias = FlopAnalyzer(Bias(layer), torch.zeros(7, 7))
        bias_macs += bias.unsupported_ops_warnings(False).by_operator()['matmul']
    counter = FlopAnalyzer(backbone, torch.zeros(1, 3, 224, 224))
    counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        counted = counter.by_operator()
    assert set(counted) == {'conv', 'batch_norm', 'layer_norm', 'linear', 'matmul'}
    total = sum(counted.values()) - bias_macs + CLASSIFIERS * backbone.out_channels[-1] * CLASSES
    assert round(total / 1e9, 3) == giga


class Bias(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, size):
        return self.layer.bias(size.shape[0], size.shape[1])
