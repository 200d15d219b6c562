"""RoI features of both flavours are those of mmdet's extractor."""

import numpy as np
import pytest
import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from torch import nn

from mmtrtvit.errors import DeployError

STRIDES = (4, 8, 16)
CHANNELS = 4
SCALE = 16
"""Boxes of a side from 32 pixels on are of the second level, from 64 on of the third."""


def extractor_of(levels=3, output=3, **layer):
    layer = dict(dict(type='RoIAlign', output_size=output, sampling_ratio=2), **layer)
    return SingleRoIExtractor(layer, CHANNELS, list(STRIDES[:levels]), finest_scale=SCALE).eval()


def maps_of(batch, size, levels=3):
    sides = [tuple(-(-side // stride) for side in size) for stride in STRIDES[:levels]]
    return tuple(torch.randn(batch, CHANNELS, *side) for side in sides)


def random_boxes(count, size):
    corner = torch.rand(count, 2) * torch.tensor(size[::-1]) * 0.9
    return torch.cat([corner, corner + 0.5 + torch.rand(count, 2) * 80], dim=1)


def rois_of(*boxes):
    """``(B * N, 5)``: boxes of each image, its index first."""
    return torch.cat(
        [torch.cat([torch.full((len(part), 1), float(index)), part], dim=1) for index, part in enumerate(boxes)]
    )


def known_boxes():
    """Boxes at every border, beside the image, of each level, of a pixel, and without an area."""
    return torch.tensor(
        [
            [0, 0, 96, 64],
            [-20, -30, 10, 10],
            [90, 60, 130, 90],
            [-50, -50, 150, 150],
            [-40, -40, -10, -10],
            [120, 10, 150, 40],
            [95, 63, 96, 64],
            [40.3, 20.7, 41.3, 21.7],
            [10, 10, 10, 40],
            [0, 0, 0, 0],
            [5, 5, 36.9, 36.9],  # just of the first level
            [5, 5, 37, 37],  # just of the second
            [5, 5, 68.9, 68.9],
            [5, 5, 69, 69],
            [0, 30, 1000, 34.2],  # the area decides, not the longer side
        ],
        dtype=torch.float32,
    )


class Pooling(nn.Module):
    """An extractor as a network: maps and boxes to features. It is given a map more than it pools from, as by FPN."""

    def __init__(self, extractor):
        super().__init__()
        self.extractor = extractor

    def forward(self, *inputs):
        *maps, rois = inputs
        return self.extractor((*maps, maps[-1]), rois)


@pytest.fixture(scope='module')
def graph(graph_in, flavour):
    """The extractor, exported for ten boxes in an image of 64 x 96 with all sizes free."""
    torch.manual_seed(0)
    sides = [{0: 'b', 2: f'h{level}', 3: f'w{level}'} for level in range(3)]
    inputs = *maps_of(1, (64, 96)), rois_of(random_boxes(10, (64, 96)))
    return graph_in(flavour, Pooling(extractor_of()), inputs, [*sides, {0: 'n'}])


def check(graph, maps, rois):
    expected = extractor_of()(maps, rois)
    (found,) = graph(*maps, rois)
    assert found.shape == expected.shape == (len(rois), CHANNELS, 3, 3)
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-5)
    return expected


def test_the_graph_has_the_operators_of_its_flavour(graph, flavour):
    found = graph.operators
    assert not any('::' in name for name in found)
    if flavour == 'native':
        assert found['RoiAlign'] == 3 and 'GridSample' not in found
    else:
        assert found['GridSample'] == 1 and not {'RoiAlign', 'NonZero', 'ScatterND', 'Loop', 'If'} & set(found)


@pytest.mark.parametrize('count', [0, 1, 2, 300])
def test_any_number_of_boxes(graph, flavour, count):
    if not count and flavour == 'portable':
        pytest.skip('ONNX Runtime averages no empty map; a detector never has none, as its boxes are filled up')
    rois = rois_of(random_boxes(count, (64, 96)))
    if count > 2:
        assert extractor_of().map_roi_levels(rois, 3).unique().tolist() == [0, 1, 2]
    check(graph, maps_of(1, (64, 96)), rois)


@pytest.mark.parametrize('level, side', [(0, 20.0), (1, 40.0), (2, 200.0)])
def test_boxes_of_one_level_only(graph, level, side):
    corner = torch.rand(15, 2) * 60
    rois = rois_of(torch.cat([corner, corner + side], dim=1))
    assert (extractor_of().map_roi_levels(rois, 3) == level).all()
    check(graph, maps_of(1, (64, 96)), rois)


def test_boxes_at_every_border(graph):
    expected = check(graph, maps_of(1, (64, 96)), rois_of(known_boxes()))
    assert not expected[4:6].any()  # those beside the image
    levels = extractor_of().map_roi_levels(rois_of(known_boxes()), 3)
    assert levels[10:].tolist() == [0, 1, 1, 2, 2]


def test_each_box_is_pooled_from_its_own_image(graph):
    boxes = random_boxes(40, (64, 96))
    expected = check(graph, maps_of(2, (64, 96)), rois_of(boxes, boxes))
    assert not torch.allclose(expected[:40], expected[40:], atol=0.1)


@pytest.mark.parametrize('size', [(96, 64), (33, 47), (160, 224), (17, 190)])
def test_other_sizes(graph, size):
    check(graph, maps_of(2, size), rois_of(random_boxes(30, size), random_boxes(30, size)))


def test_the_portable_flavour_says_what_it_cannot_express(rewriting):
    maps, rois = maps_of(1, (64, 96)), rois_of(random_boxes(5, (64, 96)))
    with rewriting('portable'):
        for name, value in (('sampling_ratio', 0), ('aligned', False)):
            with pytest.raises(DeployError, match=rf'{name}={value!r}.*\n.*\n.*--flavour native'):
                extractor_of(**{name: value})(maps, rois)
        with pytest.raises(DeployError, match='cannot express'):
            extractor_of()(maps, rois, roi_scale_factor=1.5)


def test_no_flavour_takes_the_maximum(rewriting, flavour):
    """The standard operator takes that of weighted pixels, mmcv that of samples."""
    maps, rois = maps_of(1, (64, 96)), rois_of(random_boxes(5, (64, 96)))
    with rewriting(flavour), pytest.raises(DeployError, match="pool_mode='max' cannot be exported exactly"):
        extractor_of(pool_mode='max')(maps, rois)
