"""Detectors and segmentors are counted by the rules of published totals, and reproduce them."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from mmtrtvit.errors import ConfigError
from mmtrtvit.report.published import Published
from mmtrtvit.zoo.complexity import (
    IMAGENET_SIZES,
    classifier_complexity,
    network_complexity,
    published_params,
    with_backbone,
)
from mmtrtvit.zoo.configs import network_config
from mmtrtvit.zoo.families import FAMILIES
from mmtrtvit.zoo.methods import METHODS

TINY = dict(widths=(64, 64, 64, 128), depths=(1, 1, 1, 2), block_types=('C', 'C', 'C', 'M'))
TOLERANCE = 0.01


def printed(root):
    """Every published total: family, size, table, its figures."""
    for family, archs in Published.read(root).families.items():
        for arch, tables in archs.items():
            for table, figures in tables.items():
                yield pytest.param(family, arch, table, figures, id=f'{family}-{arch}-{table}')


def pytest_generate_tests(metafunc):
    if {'table', 'figures'} <= set(metafunc.fixturenames):
        cases = list(printed(metafunc.config.rootpath))
        on_imagenet = metafunc.function.__name__.endswith('imagenet')
        chosen = [case for case in cases if (case.values[2] in IMAGENET_SIZES) == on_imagenet]
        metafunc.parametrize(('family', 'arch', 'table', 'figures'), chosen)


@pytest.fixture
def load(root):
    def load(method, backbone=None):
        config = Config.fromfile(root / 'configs' / f'{method}_trtvit_a_{METHODS[method].dataset.lower()}.py')
        return with_backbone(config, backbone) if backbone else config

    return load


# --- against what is published ------------------------------------------------------------------------------


def check_totals(found, figures):
    misprints = figures.get('misprint', {})
    for key in found.keys() & figures.keys():
        if key in misprints:
            assert found[key] != pytest.approx(figures[key], rel=4 * TOLERANCE), 'no misprint after all'
        else:
            assert found[key] == pytest.approx(figures[key], rel=TOLERANCE)


def test_published_totals_on_imagenet(family, arch, table, figures):
    params, macs = classifier_complexity(arch, IMAGENET_SIZES[table], family)
    check_totals({'params_m': params / 1e6, 'flops_g': macs / 1e9}, figures)
    # to the printed digits, which are of a network counted in the same way
    if family == 'efficientformer':
        assert params / 1e6 == pytest.approx(figures['params_m'], abs=0.0101)


def test_published_totals_of_networks(root, family, arch, table, figures):
    network = network_complexity(network_config(root, table.split('_')[0], family, arch))
    found = {
        'params_m': published_params(network, family, arch) / 1e6,
        'flops_g': network.published_macs / 1e9,
    }
    check_totals(found, figures)


def test_the_only_misprints_are_those_that_are_explained(root):
    cases = [(*case.values[:3], case.values[3]['misprint']) for case in printed(root) if 'misprint' in case.values[3]]
    assert [case[:3] for case in cases] == [('nextvit', 'l', 'semfpn_80k'), ('efficientformer', 'l3', 'imagenet')]
    assert [list(case[3]) for case in cases] == [['flops_g']] * 2


def test_the_earlier_figure_of_the_misprint_is_the_one_that_is_counted():
    assert classifier_complexity('l3', family='efficientformer')[1] == pytest.approx(3.93e9, rel=TOLERANCE)


def test_the_misprint_does_not_fit_between_the_sizes(root):
    """From S to B and from B to L ten blocks of the same kinds are added: the steps are equal."""
    small, base, large = (
        network_complexity(network_config(root, 'semfpn', 'nextvit', arch)).published_macs for arch in 'sbl'
    )
    assert large - base == pytest.approx(base - small, rel=1e-6)
    misprint = Published.read(root).find('nextvit', 'l', 'semfpn_80k')['flops_g']
    assert (misprint * 1e9 - base) > 1.3 * (base - small)


@pytest.mark.parametrize('arch', 'sbl')
def test_the_auxiliary_head_runs_in_no_published_total(root, arch):
    """With its multiply-accumulates the counted totals would miss the printed digits of Next-ViT by far more."""
    config = network_config(root, 'upernet', 'nextvit', arch)
    head = config.model.auxiliary_head
    height, width = (side // 16 for side in METHODS['upernet'].shape)
    extra = height * width * head.channels * (9 * head.in_channels + head.num_classes)
    network, figures = network_complexity(config), Published.read(root).find('nextvit', arch, 'upernet_160k')
    without = abs(network.published_macs / 1e9 - figures['flops_g'])
    assert abs((network.published_macs + extra) / 1e9 - figures['flops_g']) > 2.5 * without
    assert network.idle == ('auxiliary_head',)


# --- against sums by hand -----------------------------------------------------------------------------------


def fpn_macs(channels, sides, width=256, start=0):
    laterals = sum(c * width * h * w for c, (h, w) in list(zip(channels, sides, strict=True))[start:])
    return laterals + sum(9 * width**2 * h * w for h, w in sides[start:])


SIDES = [(16, 24), (8, 12), (4, 6), (2, 3)]
"""Maps of an image of 64 x 96."""


def test_mask_rcnn_by_hand(load):
    network = network_complexity(load('maskrcnn', dict(type='TRTViT', arch=TINY)), (64, 96))
    assert list(network.parts) == ['backbone', 'neck', 'rpn_head', 'roi_head.bbox_head', 'roi_head.mask_head']
    macs = {name: macs for name, (_, macs) in network.parts.items()}
    assert macs['neck'] == fpn_macs(TINY['widths'], SIDES)
    pixels = sum(h * w for h, w in [*SIDES, (1, 2)])
    assert macs['rpn_head'] == pixels * (9 * 256**2 + 256 * 3 * 5)
    assert macs['roi_head.bbox_head'] == 1000 * (256 * 49 * 1024 + 1024**2 + 1024 * (81 + 320))
    assert macs['roi_head.mask_head'] == 100 * 196 * (4 * 9 * 256**2 + 4 * 256**2 + 4 * 256 * 80)
    assert network.macs['bmm'] == network.attention_macs == 2 * 2 * 6**2 * 64
    assert network.published_macs == network.total_macs - network.attention_macs


def test_faster_rcnn_is_mask_rcnn_without_masks(load):
    masks, boxes = (
        network_complexity(load(method, dict(type='TRTViT', arch=TINY)), (64, 96))
        for method in ('maskrcnn', 'fasterrcnn')
    )
    assert dict(boxes.parts) == {name: cost for name, cost in masks.parts.items() if name != 'roi_head.mask_head'}


def test_retinanet_by_hand(load):
    network = network_complexity(load('retinanet', dict(type='TRTViT', arch=TINY)), (64, 96))
    more = [(1, 2), (1, 1)]
    extra = 2 * 9 * 256 * TINY['widths'][-1] + 9 * 256**2  # stride 64 from the last stage, stride 128 from that
    assert network.parts['neck'][1] == fpn_macs(TINY['widths'], SIDES, start=1) + extra
    pixels = sum(h * w for h, w in SIDES[1:] + more)
    assert network.parts['bbox_head'][1] == pixels * 9 * 256 * (8 * 256 + 9 * 80 + 9 * 4)


def test_semantic_fpn_by_hand(load):
    network = network_complexity(load('semfpn', dict(type='TRTViT', arch=TINY)), (64, 96))
    pixels = [h * w for h, w in SIDES]
    # the map of stride 4 meets one convolution; that of stride 32 three, at 2x3, 4x6 and 8x12
    towers = [(256, pixels[0]), (256, pixels[1]), (256, pixels[2]), (128, pixels[1])]
    towers += [(256, pixels[3]), (128, pixels[2]), (128, pixels[1])]
    head = sum(9 * channels * 128 * size for channels, size in towers) + pixels[0] * 128 * 150
    assert network.parts['decode_head'][1] == head
    assert network.idle == ()


def test_every_parameter_is_in_a_part(load):
    for method in METHODS:
        config = load(method, dict(type='TRTViT', arch=TINY))
        with torch.device('meta'):
            built = MODELS.build(dict(config.model, _scope_=config.default_scope))
        network = network_complexity(config, (64, 96))
        assert network.params == sum(parameter.numel() for parameter in built.parameters())
        idle = sum(sum(p.numel() for p in built.get_submodule(name).parameters()) for name in network.idle)
        assert sum(params for params, _ in network.parts.values()) + idle == network.params
        assert sum(macs for _, macs in network.parts.values()) == network.total_macs
        frozen = sum(p.numel() for part in (built.backbone.stem, built.backbone.stages[0]) for p in part.parameters())
        left_out = frozen if METHODS[method].dataset == 'COCO' else 0
        assert network.trained_params == network.params - left_out
        assert 'relu_' in network.skipped and 'convolution' not in network.skipped


def test_counting_leaves_the_config_as_it_is(load):
    config = load('maskrcnn')
    before = config.pretty_text
    network_complexity(config, (64, 96))
    with_backbone(config, dict(type='TRTViT', arch=TINY))
    assert config.pretty_text == before


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('family', FAMILIES)
def test_any_backbone_fits_any_method(load, family, method):
    arch = FAMILIES[family].archs[0]
    config = load(method, dict(type=f'mmtrtvit.{FAMILIES[family].backbone}', arch=arch))
    assert network_complexity(config, (64, 64)).total_macs > 0


def test_other_methods_are_refused(load):
    config = load('maskrcnn')
    config.model.type = 'CascadeRCNN'
    with pytest.raises(ConfigError, match="(?s)'CascadeRCNN'.*MaskRCNN"):
        network_complexity(config)
