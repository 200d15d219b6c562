"""Layer-wise learning-rate decay: each depth its own rate, and all other settings as before."""

import pytest
import torch.nn as nn
from mmengine.config import ConfigDict
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS

from mmtrtvit.engine import LayerDecayOptimWrapperConstructor
from mmtrtvit.errors import ConfigError
from mmtrtvit.models import TRTViT

ARCH = dict(widths=(16, 16, 32, 32), depths=(1, 1, 2, 1), block_types=('C', 'C', 'C', 'M'))


class Network(BaseModel):
    def __init__(self, frozen_stages=-1):
        super().__init__()
        self.backbone = TRTViT(ARCH, head_dim=16, frozen_stages=frozen_stages)
        self.head = nn.Conv2d(32, 1, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.head(self.backbone(inputs)[-1])


def build(model, **paramwise):
    config = ConfigDict(
        constructor='LayerDecayOptimWrapperConstructor',
        optimizer=dict(type='AdamW', lr=0.5, weight_decay=0.1),
        paramwise_cfg=paramwise,
    )
    groups = build_optim_wrapper(model, config).optimizer.param_groups
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {names[parameter]: group for group in groups for parameter in group['params']}


def test_each_depth_has_its_rate():
    groups = build(Network(), layer_decay=0.8)
    assert set(groups) == {name for name, _ in Network().named_parameters()}
    # stem, five blocks, what follows: depths 0 to 6 of 7
    for start, power in (
        ('backbone.stem', 6),
        ('backbone.stages.0.0', 5),
        ('backbone.stages.1.0', 4),
        ('backbone.stages.2.0', 3),
        ('backbone.stages.2.1', 2),
        ('backbone.stages.3.0', 1),
        ('head', 0),
    ):
        rates = {group['lr'] for name, group in groups.items() if name.startswith(f'{start}.')}
        assert len(rates) == 1 and rates.pop() == pytest.approx(0.5 * 0.8**power), start


def test_other_settings_keep_their_meaning():
    groups = build(
        Network(), layer_decay=0.5, norm_decay_mult=0.0, custom_keys={'stages.3': dict(lr_mult=3.0, decay_mult=2.0)}
    )
    assert groups['backbone.stem.0.bn.weight']['weight_decay'] == 0.0
    assert groups['backbone.stem.0.conv.weight']['weight_decay'] == 0.1
    late = groups['backbone.stages.3.0.bottleneck.conv1.conv.weight']
    assert (late['lr'], late['weight_decay']) == (pytest.approx(0.5 * 3.0 * 0.5), pytest.approx(0.2))


def test_frozen_parameters_are_in_no_group():
    groups = build(Network(frozen_stages=1), layer_decay=0.9)
    assert not [name for name in groups if name.startswith(('backbone.stem', 'backbone.stages.0'))]
    assert groups['backbone.stages.1.0.conv1.conv.weight']['lr'] == pytest.approx(0.5 * 0.9**4)


def test_a_backbone_by_itself():
    assert build(Network().backbone, layer_decay=0.9)['stages.3.0.proj.1.conv.weight']['lr'] == pytest.approx(0.45)


def test_bad_settings_are_told():
    for decay in ({}, {'layer_decay': 0}, {'layer_decay': 1.5}, {'layer_decay': 'x'}):
        with pytest.raises(ConfigError, match='layer_decay='):
            build(Network(), **decay)
    with pytest.raises(ConfigError, match='no part of Conv2d has get_layer_depth'):
        build(nn.Conv2d(1, 1, 1), layer_decay=0.9)


def test_found_from_the_root():
    for name in ('LayerDecayOptimWrapperConstructor', 'mmtrtvit.LayerDecayOptimWrapperConstructor'):
        assert OPTIM_WRAPPER_CONSTRUCTORS.get(name) is LayerDecayOptimWrapperConstructor
