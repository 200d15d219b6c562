"""Parameters and multiply-accumulates against what is published, by the counting rules of the authors.

Published for C and D: parameters and FLOPs (multiply-accumulates at 224 x 224) of the classifier, and of Mask
R-CNN, where the parameters are those that are trained with stem and first stage frozen, and the FLOPs at
1280 x 800 leave attention's matrix products out. These rules reproduce all totals of the authors' next paper.
"""

from pathlib import Path

import pytest
import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.config import Config
from torch.utils.flop_counter import FlopCounterMode

from mmtrtvit.models import TRTViT
from mmtrtvit.models.backbones.trt_vit import ARCH_SETTINGS

CONFIGS = Path(__file__).parents[3] / 'configs'
WITHIN = 0.01
"""Relative deviation allowed from a published total, which has two or three digits."""

CLASSES = 1000
# Mask R-CNN's parameters and multiply-accumulates (1280 x 800) beside backbone and FPN laterals.
REST_PARAMS = 19_904_240
REST_MACS = 168.3e9


def count_macs(model, *shape):
    """Multiply-accumulates by operator, without running anything (meta tensors)."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(shape, device='meta'))
    counts = counter.get_flop_counts()['Global']
    return {str(operator).split('.')[1]: flops / 2 for operator, flops in counts.items()}


def trained(parameters):
    return sum(parameter.numel() for parameter in parameters if parameter.requires_grad)


@pytest.fixture(scope='module')
def classifier():
    """Backbone with the classifier's norm, in the deploy form where attention is matrix products."""

    def build(arch):
        with torch.device('meta'):
            backbone = TRTViT(arch=arch, final_norm=True, out_indices=(3,)).eval()
        params = trained(backbone.parameters()) + (backbone.out_channels[-1] + 1) * CLASSES
        backbone.switch_to_deploy()
        macs = sum(count_macs(backbone, 1, 3, 224, 224).values()) + backbone.out_channels[-1] * CLASSES
        return params, macs

    return build


@pytest.mark.parametrize(('arch', 'params', 'macs'), [('c', 67.3e6, 5.9e9), ('d', 103.0e6, 9.7e9)])
def test_published_sizes_of_the_classifier(classifier, arch, params, macs):
    given = classifier(arch)
    assert given == (pytest.approx(params, rel=WITHIN), pytest.approx(macs, rel=WITHIN))


@pytest.mark.parametrize(('arch', 'params', 'macs'), [('a', 25e6, 2.2e9), ('b', 39e6, 3.3e9)])
def test_own_choice_of_a_and_b(classifier, arch, params, macs):
    given = classifier(arch)
    assert given == (pytest.approx(params, rel=0.03), pytest.approx(macs, rel=0.03))


@pytest.mark.parametrize(('arch', 'params', 'macs'), [('c', 86.3e6, 294e9), ('d', 121.5e6, 375e9)])
def test_published_totals_of_mask_rcnn(arch, params, macs):
    from mmdet.registry import MODELS

    config = Config.fromfile(CONFIGS / f'maskrcnn_trtvit_{arch}_coco.py').model
    config.backbone.frozen_stages = 1
    with torch.device('meta'):
        detector = MODELS.build(dict(config, _scope_='mmdet'))
    backbone, neck = detector.backbone, detector.neck
    laterals = trained(neck.lateral_convs.parameters())
    assert laterals == 256 * sum(backbone.out_channels) + 4 * 256
    total = trained(detector.parameters())
    assert total - trained(backbone.parameters()) - laterals == REST_PARAMS
    assert total == pytest.approx(params, rel=WITHIN)

    backbone.eval().switch_to_deploy()
    counts = count_macs(backbone, 1, 3, 800, 1280)
    assert set(counts) == {'convolution', 'addmm', 'bmm'}
    cells = [(800 // stride) * (1280 // stride) for stride in backbone.strides]
    lateral_macs = sum(256 * width * n for width, n in zip(backbone.out_channels, cells, strict=True))
    # Here attention's matrix products are worth counting, and the published figure does not count them.
    assert counts['bmm'] > 0
    assert counts['convolution'] + counts['addmm'] + lateral_macs + REST_MACS == pytest.approx(macs, rel=WITHIN)


def test_two_counters_agree(tiny):
    """mmengine's analyser, which users run, counts what the tests above count."""
    backbone = tiny(block_types=('C', 'T', 'A', 'M')).eval()
    backbone.switch_to_deploy()
    analyser = FlopAnalyzer(backbone, torch.zeros(1, 3, 64, 96))
    analyser.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    counted = analyser.by_operator()
    theirs = sum(counted[name] for name in ('conv', 'linear', 'addmm', 'matmul', 'bmm'))
    assert theirs == sum(count_macs(backbone.to('meta'), 1, 3, 64, 96).values()) > 0


def test_the_provenance_of_every_size_is_beside_it():
    for name, settings in ARCH_SETTINGS.items():
        expected = 'reconstructed' if name in 'cd' else 'own choice'
        assert settings['provenance'].startswith(expected)
        assert settings['block_types'] == ('C', 'C', 'C', 'M')
