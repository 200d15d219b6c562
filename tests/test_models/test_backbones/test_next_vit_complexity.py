"""Parameters and multiply-accumulates against the published tables, to the printed digit.

The official counter is fvcore: it counts convolutions, linear layers and attention's matrix products, and beside them
one for each element that a BatchNorm or the global average sees. With these the figures are met exactly; what an
engine has to do, after folding, is 0.3 % less.
"""

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

from mmtrtvit.models import NextViT
from mmtrtvit.models.backbones.next_vit import EMHSA
from mmtrtvit.models.layers import ExplicitAttention

CLASSES = 1000

# Size: parameters (M) as in the official README, and to three digits; multiply-accumulates (G) at 224 x 224 likewise.
PUBLISHED = {
    's': (31.7, 31.763, 5.8, 5.811),
    'b': (44.8, 44.819, 8.3, 8.294),
    'l': (57.8, 57.874, 10.8, 10.777),
}


class Classifier(nn.Module):
    """The backbone with its norm, global average and linear layer."""

    def __init__(self, arch: str) -> None:
        super().__init__()
        self.backbone = NextViT(arch=arch, final_norm=True, out_indices=(3,))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(self.backbone.out_channels[-1], CLASSES)

    def forward(self, x):
        return self.head(self.pool(self.backbone(x)[0]).flatten(1))


def count(model):
    counter = FlopCountAnalysis(model, torch.zeros(1, 3, 224, 224))
    return counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False).by_operator()


@pytest.mark.parametrize('arch', PUBLISHED)
def test_published_figures(arch):
    params_printed, params, macs_printed, macs = PUBLISHED[arch]
    model = Classifier(arch).eval()
    given = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert round(given, 3) == params
    # The README cuts the second digit off.
    assert int(given * 10) / 10 == params_printed

    for module in model.modules():
        if isinstance(module, EMHSA):
            module.attend = ExplicitAttention()  # the counter does not know the fused form
    counted = count(model)
    assert set(counted) == {'conv', 'linear', 'matmul', 'batch_norm', 'adaptive_avg_pool2d'}
    assert round(sum(counted.values()) / 1e9, 3) == macs
    assert round(sum(counted.values()) / 1e9, 1) == macs_printed

    model.backbone.switch_to_deploy()
    folded = count(model)
    assert {name: folded[name] for name in ('conv', 'linear', 'matmul')} == {
        name: counted[name] for name in ('conv', 'linear', 'matmul')
    }
    assert not folded['batch_norm']


def test_how_keys_are_pooled_costs_the_same():
    counts = [count(NextViT(arch='s', kv_pool=kv_pool).eval()) for kv_pool in ('tokens', 'windows')]
    assert counts[0] == counts[1]
