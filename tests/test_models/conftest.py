"""Small networks with weights that leave no term of a block without effect."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmtrtvit.models import EfficientFormer, NextViT, TRTViT, TurboViT

TINY = dict(widths=(16, 32, 32, 64), depths=(1, 2, 2, 2), block_types=('C', 'C', 'C', 'M'))

# For each family its class, and settings of a network of a few thousand parameters with every kind of block in it, in
# stages of 1, 2, 2 and 2 blocks.
FAMILIES = {
    'trt_vit': (TRTViT, dict(arch=dict(TINY, block_types=('C', 'CT', 'AB', 'MT')), head_dim=8)),
    'next_vit': (
        NextViT,
        dict(
            arch=dict(
                widths=(16, 16, 32, 32),
                ntb_widths=(16, 32, 32, 64),
                depths=(1, 2, 2, 2),
                block_types=('C', 'CT', 'TC', 'CT'),
            ),
            head_dim=8,
        ),
    ),
    'efficientformer': (
        EfficientFormer,
        dict(
            arch=dict(widths=(16, 16, 32, 32), depths=(1, 2, 2, 2), attention_blocks=(0, 0, 1, 2)),
            heads=2,
            key_dim=8,
            value_ratio=2,
        ),
    ),
    'turbovit': (
        TurboViT,
        dict(
            arch=dict(widths=(16, 32, 32, 64), depths=(1, 2, 2, 2), heads=(1, 2, 2, 4), mask_units=(8, 4, 0, 0)),
            resolution=6,
        ),
    ),
}


@pytest.fixture(autouse=True)
def seeded_and_on_one_core():
    torch.manual_seed(0)
    # The networks are so small that threads would spend their time waiting for each other.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tiny():
    """Build a TRTViT of a few thousand parameters; keys of the arch and arguments by name."""

    def build(**kwargs):
        arch = {key: kwargs.pop(key, TINY[key]) for key in TINY}
        return TRTViT(**{'arch': arch, 'head_dim': 8, **kwargs})

    return build


@pytest.fixture(params=FAMILIES)
def family(request):
    """Build a backbone of each family with every kind of block in it; arguments by name."""
    backbone, settings = FAMILIES[request.param]

    def build(**kwargs):
        return backbone(**{**settings, **kwargs})

    return build


@pytest.fixture
def randomise():
    """Fill every parameter and every running statistic with numbers that are neither 0 nor 1."""

    def fill(module, seed=0):
        generator = torch.Generator().manual_seed(seed)

        def normal(like, mean, std):
            return torch.empty_like(like).normal_(mean, std, generator=generator)

        with torch.no_grad():
            for part in module.modules():
                if isinstance(part, (nn.Conv2d, nn.Linear)):
                    part.weight.copy_(normal(part.weight, 0, part.weight[0].numel() ** -0.5))
                    if part.bias is not None:
                        part.bias.copy_(normal(part.bias, 0, 0.3))
                elif isinstance(part, (_BatchNorm, nn.LayerNorm, nn.GroupNorm)):
                    part.weight.copy_(normal(part.weight, 1, 0.3))
                    part.bias.copy_(normal(part.bias, 0, 0.3))
                if isinstance(part, _BatchNorm):
                    part.running_mean.copy_(normal(part.running_mean, 0, 0.5))
                    part.running_var.copy_(normal(part.running_var, 0, 0.5).square() + 0.3)
        return module

    return fill
