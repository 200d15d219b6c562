"""The extent of an image is found in its padded input."""

import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmdet.structures import DetDataSample

from mmtrtvit.deploy.export.rewriters.image_extent import clip_boxes, image_extent, padding_is_recognisable

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
FREE = {'input': {0: 'b', 2: 'h', 3: 'w'}}


def preprocessor_of(mean=MEAN, std=STD, **options):
    return DetDataPreprocessor(mean=mean, std=std, bgr_to_rgb=True, pad_size_divisor=32, **options)


def padded(preprocessor, images):
    """What a network gets for uint8 images (C, H, W)."""
    return preprocessor(dict(inputs=images, data_samples=[DetDataSample() for _ in images]))['inputs']


def random_images(*sizes):
    return [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in sizes]


def extents(*sizes):
    return torch.tensor([[w, h, w, h] for h, w in sizes], dtype=torch.float32)


@pytest.mark.parametrize(
    'sizes',
    [[(51, 77)], [(32, 64)], [(1, 1)], [(33, 31), (64, 20), (7, 96)]],
    ids=['padded', 'not padded', 'one pixel', 'a batch of different ones'],
)
def test_extent_of_random_images(sizes):
    preprocessor = preprocessor_of()
    batch = padded(preprocessor, random_images(*sizes))
    assert torch.equal(image_extent(batch, preprocessor), extents(*sizes))


def test_black_is_not_padding():
    preprocessor = preprocessor_of()
    black = torch.zeros(3, 40, 50, dtype=torch.uint8)
    (black_below,) = random_images((45, 33))
    black_below[:, 10:] = 0
    (black_right,) = random_images((20, 70))
    black_right[:, :, 5:] = 0
    batch = padded(preprocessor, [black, black_below, black_right])
    assert torch.equal(image_extent(batch, preprocessor), extents((40, 50), (45, 33), (20, 70)))


def test_pixels_at_the_rounded_mean_are_not_padding():
    preprocessor = preprocessor_of(mean=[124.0, 116.0, 103.5])
    # BGR as a file is read: two channels become exactly 0
    image = torch.tensor([104, 116, 124], dtype=torch.uint8)[:, None, None].expand(3, 33, 35)
    batch = padded(preprocessor, [image])
    assert (batch[:, :2] == 0).all()
    assert torch.equal(image_extent(batch, preprocessor), extents((33, 35)))


@pytest.mark.parametrize(
    'options', [{'mean': [124, 116, 103]}, {'mean': [0, 0, 0], 'std': [1, 1, 1]}, {'pad_value': 114}]
)
def test_the_whole_input_where_padding_could_be_image(options):
    preprocessor = preprocessor_of(**options)
    assert not padding_is_recognisable(preprocessor)
    batch = padded(preprocessor, random_images((33, 35), (64, 20)))
    assert torch.equal(image_extent(batch, preprocessor), extents((64, 64), (64, 64)))


def test_a_preprocessor_that_does_not_normalise():
    preprocessor = DetDataPreprocessor(pad_size_divisor=32)
    assert not padding_is_recognisable(preprocessor)
    assert torch.equal(image_extent(torch.zeros(1, 3, 32, 64), preprocessor), extents((32, 64)))


def test_in_an_exported_graph_of_any_size(exported):
    preprocessor = preprocessor_of()
    first, second = [(30, 40)], [(51, 77), (90, 20)]
    graph = exported(
        lambda input: image_extent(input, preprocessor), padded(preprocessor, random_images(*first)), dynamic_axes=FREE
    )
    batch = padded(preprocessor, random_images(*second))
    assert torch.equal(torch.from_numpy(graph(batch)[0]), extents(*second))


def test_boxes_are_clipped_to_their_own_image():
    boxes = torch.tensor([[-5.0, -7.0, 60.0, 90.0], [3.0, 4.0, 5.0, 6.0]]).expand(2, 2, 4)
    clipped = clip_boxes(boxes, extents((51, 77), (20, 10)))
    assert clipped.tolist() == [[[0, 0, 60, 51], [3, 4, 5, 6]], [[0, 0, 10, 20], [3, 4, 5, 6]]]
