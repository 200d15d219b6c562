"""Counting on tensors without values, against sums by hand and against mmengine's analyser."""

import pytest
import torch
from mmengine.analysis import FlopAnalyzer
from torch import nn

from mmtrtvit.benchmark import backbone_complexity, count_complexity
from mmtrtvit.errors import ConfigError
from mmtrtvit.models import NextViT, TRTViT
from mmtrtvit.zoo.complexity import classifier_complexity, classifier_params

TINY = dict(widths=(64, 64, 64, 128), depths=(1, 1, 1, 2), block_types=('C', 'C', 'C', 'M'))


def test_a_small_network_by_hand():
    with torch.device('meta'):
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 10)
        )
    counted = count_complexity(network, (2, 3, 8, 8))
    assert counted.params == 3 * 8 * 9 + 512 * 10 + 10
    assert counted.macs == {'convolution': 2 * 64 * 3 * 8 * 9, 'addmm': 2 * 512 * 10}
    assert counted.total_macs == sum(counted.macs.values())
    assert counted.skipped == {'relu': 1}


def test_attention_and_every_part_is_counted():
    with torch.device('meta'):
        backbone = TRTViT(arch=TINY).eval()
        backbone.switch_to_deploy()
    counted = count_complexity(backbone, (1, 3, 64, 96))
    tokens, dim = 2 * 3, 64
    assert counted.attention_macs == counted.macs['bmm']
    assert counted.macs['bmm'] == TINY['depths'][-1] * 2 * tokens**2 * dim
    assert list(counted.parts) == ['stem', 'stages.0', 'stages.1', 'stages.2', 'stages.3']
    assert sum(params for params, _ in counted.parts.values()) == counted.params
    assert sum(macs for _, macs in counted.parts.values()) == counted.total_macs
    assert counted.skipped['native_layer_norm'] == 2 * TINY['depths'][-1]
    assert not {'clone', 'view', 'convolution'} & set(counted.skipped)


def test_the_same_as_mmengine_counts():
    backbone = TRTViT(arch=TINY).eval()
    backbone.switch_to_deploy()
    analyser = FlopAnalyzer(backbone, torch.zeros(1, 3, 64, 64))
    analyser.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    theirs = analyser.by_operator()
    assert count_complexity(backbone, (1, 3, 64, 64)).total_macs == sum(
        theirs[name] for name in ('conv', 'linear', 'addmm', 'matmul', 'bmm')
    )


def test_batch_and_size_scale_the_multiply_accumulates():
    one = backbone_complexity('a', 64)
    assert backbone_complexity('a', 64, 3).total_macs == 3 * one.total_macs
    assert one.params == sum(parameter.numel() for parameter in TRTViT(arch='a').parameters())


def test_the_classifier_adds_norm_and_linear_layer():
    backbone = backbone_complexity('a')
    params, macs = classifier_complexity('a')
    assert params - backbone.params == 2 * 1024 + 1025 * 1000
    assert macs - backbone.total_macs == 1024 * 1000


def test_two_classifiers_count_twice_and_norms_for_dense_prediction_do_not():
    """EfficientFormer-L1: the second classifier is the one that learned from a teacher."""
    backbone = backbone_complexity('l1', 64, family='efficientformer')
    params, macs = classifier_complexity('l1', 64, 'efficientformer')
    output_norms = 2 * (48 + 96 + 224 + 448)
    assert params == backbone.params - output_norms + 2 * 448 + 2 * 449 * 1000
    assert macs - backbone.total_macs == 2 * 448 * 1000
    assert classifier_params('l1', 'efficientformer') == 2 * 449 * 1000


def test_other_families_are_counted_alike():
    counted = backbone_complexity('s', 64, family='nextvit')
    assert counted.params == sum(parameter.numel() for parameter in NextViT(arch='s').parameters())
    assert sum(macs for _, macs in counted.parts.values()) == counted.total_macs
    assert 0 < counted.attention_macs < counted.total_macs / 10
    assert classifier_params('s', 'nextvit') == 1025 * 1000


def test_unknown_size():
    with pytest.raises(ConfigError, match="arch='z'"):
        backbone_complexity('z')
