"""RoIAlign by GridSample on an atlas: equal to mmcv's operator on every level, for any box and any map."""

import pytest
import torch
from mmcv.ops import roi_align

from mmtrtvit.deploy.export.portable import PyramidAtlas, roi_levels

STRIDES = (4, 8, 16, 32)
CHANNELS = 5


def pyramid(height, width, batch=1, seed=0):
    """Random maps as an image of this size gives them, with values around 3 so that a wrong zero shows."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [(-(-height // stride), -(-width // stride)) for stride in STRIDES]
    return [3 + torch.randn(batch, CHANNELS, *size, generator=generator) for size in sizes]


def reference(features, rois, level, size, samples=2):
    """mmcv's operator, level by level."""
    out = torch.zeros(*rois.shape[:2], CHANNELS, *size)
    for image in range(len(rois)):
        for index, (feature, stride) in enumerate(zip(features, STRIDES, strict=True)):
            (chosen,) = torch.where(level[image] == index)
            numbered = torch.cat([torch.full((len(chosen), 1), float(image)), rois[image, chosen]], dim=1)
            out[image, chosen] = roi_align(feature, numbered, size, 1 / stride, samples, 'avg', True)
    return out


def random_rois(height, width, n=150, batch=1, seed=0):
    """Boxes of 1 to 600 pixels, many of them partly and some of them wholly outside."""
    generator = torch.Generator().manual_seed(seed)
    centre = (torch.rand(batch, n, 2, generator=generator) * 1.4 - 0.2) * torch.tensor([width, height])
    side = torch.exp(torch.rand(batch, n, 2, generator=generator) * 6.4)
    return torch.cat([centre - side / 2, centre + side / 2], dim=-1)


@pytest.mark.parametrize('height, width', [(200, 336), (333, 215), (64, 800), (800, 64), (97, 65)])
@pytest.mark.parametrize('size', [(7, 7), (14, 14), (3, 5)])
def test_equal_to_mmcv(height, width, size):
    features = pyramid(height, width, batch=2)
    rois = random_rois(height, width, batch=2)
    level = roi_levels(rois, 4, 56)
    ours = PyramidAtlas(features).roi_align(rois, level, STRIDES, size)
    torch.testing.assert_close(ours, reference(features, rois, level, size), atol=2e-4, rtol=0)


@pytest.mark.parametrize('samples', [1, 3])
def test_other_numbers_of_samples(samples):
    features, rois = pyramid(97, 65), random_rois(97, 65)
    level = roi_levels(rois, 4, 56)
    ours = PyramidAtlas(features).roi_align(rois, level, STRIDES, (7, 5), samples)
    torch.testing.assert_close(ours, reference(features, rois, level, (7, 5), samples), atol=2e-4, rtol=0)


def test_every_level_is_used_in_that_comparison():
    assert roi_levels(random_rois(800, 800), 4, 56).unique().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize('level', range(4))
def test_no_sample_reads_a_neighbouring_level(level):
    """Levels hold 0, 1, 2, 3: whatever a box covers, the bins of its level hold nothing else, or 0 outside of it."""
    features = [torch.full_like(feature, float(index)) for index, feature in enumerate(pyramid(160, 224))]
    rois = random_rois(160, 224, n=400)
    bins = PyramidAtlas(features).roi_align(rois, torch.full((1, 400), float(level)), STRIDES, (7, 7))
    shares = bins / max(level, 1)
    # of the four samples of a bin, 0 to 4 are inside
    assert ((shares * 4).round() / 4 - shares).abs().max() < 1e-5
    assert bins.max() <= level + 1e-5


def test_edges():
    features = pyramid(128, 128)
    rois = torch.tensor(
        [
            [
                [0, 0, 128, 128],
                [-400, -400, -300, -300],  # all outside
                [127, 127, 128, 128],  # the last pixel
                [5, 5, 5, 5],  # no area
                [0, 0, 0, 0],  # the padding of a batch
                [-2, -2, 2, 2],  # around the corner: between -1 and 0 mmcv still takes the border
                [0, 0, 5000, 3],
            ]
        ]
    )
    rois = rois.float()
    for index in range(4):
        level = torch.full(rois.shape[:2], float(index))
        ours = PyramidAtlas(features).roi_align(rois, level, STRIDES, (7, 7))
        torch.testing.assert_close(ours, reference(features, rois, level, (7, 7)), atol=2e-4, rtol=0)


def test_a_single_box():
    features, rois = pyramid(64, 64), torch.tensor([[[10.0, 10, 50, 40]]])
    bins = PyramidAtlas(features).roi_align(rois, torch.zeros(1, 1), STRIDES, (7, 7))
    torch.testing.assert_close(bins, reference(features, rois, torch.zeros(1, 1), (7, 7)), atol=2e-4, rtol=0)


def test_levels_are_those_of_mmdet():
    from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor

    extractor = SingleRoIExtractor(
        dict(type='RoIAlign', output_size=7, sampling_ratio=2), out_channels=1, featmap_strides=list(STRIDES)
    )
    rois = random_rois(800, 800, n=4000)[0]
    sides = torch.tensor([55.9, 56, 111.99, 112, 112.01, 224, 448, 900])
    squares = torch.stack([torch.zeros(8), torch.zeros(8), sides, sides], dim=1)
    for boxes in (rois, squares):
        theirs = extractor.map_roi_levels(torch.cat([torch.zeros(len(boxes), 1), boxes], dim=1), 4)
        assert torch.equal(roi_levels(boxes, 4, 56).long(), theirs)


def test_one_graph_for_every_size(tmp_path):
    """Exported once, with free batch, number of boxes, height and width; no operator that an engine lacks."""
    import onnx
    import onnxruntime

    class Pooling(torch.nn.Module):
        def forward(self, rois, *features):
            return PyramidAtlas(features).roi_align(rois, roi_levels(rois, 4, 56), STRIDES, (7, 7))

    names = ['rois', 'p2', 'p3', 'p4', 'p5']
    axes = {'rois': {0: 'B', 1: 'N'}, **{name: {0: 'B', 2: f'{name}h', 3: f'{name}w'} for name in names[1:]}}
    path = str(tmp_path / 'pooling.onnx')
    given = (random_rois(96, 160), *pyramid(96, 160))
    torch.onnx.export(
        Pooling(), given, path, opset_version=17, dynamo=False, input_names=names, dynamic_axes=axes, verbose=False
    )
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert 'GridSample' in kinds and not kinds & {'RoiAlign', 'NonZero', 'Loop', 'If', 'ScatterND'}
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for height, width, batch, n in ((96, 160, 1, 150), (64, 64, 2, 9), (233, 71, 3, 40)):
        rois, features = random_rois(height, width, n, batch), pyramid(height, width, batch)
        feeds = dict(zip(names, [rois.numpy(), *(feature.numpy() for feature in features)], strict=True))
        found = torch.from_numpy(session.run(None, feeds)[0])
        torch.testing.assert_close(found, Pooling()(rois, *features), atol=2e-4, rtol=0)
