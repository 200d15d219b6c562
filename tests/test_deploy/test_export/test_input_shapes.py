"""Input sizes as the command line gives them."""

import pytest

from mmtrtvit.deploy.export.input_shapes import InputShapes, input_shapes, parse_size
from mmtrtvit.errors import ConfigError


def test_one_size():
    shapes = input_shapes('800x1344')
    assert shapes.profile == ((1, 3, 800, 1344),) * 3
    assert (shapes.size, shapes.batch) == ((800, 1344), 1)
    assert shapes.to_dict() == dict.fromkeys(('min', 'opt', 'max'), [1, 3, 800, 1344])


def test_a_range_of_sizes_and_batches():
    shapes = input_shapes(dynamic=['320x320', '800X1344', '1344x1344'], batch=[1, 2, 8])
    assert shapes == InputShapes((1, 3, 320, 320), (2, 3, 800, 1344), (8, 3, 1344, 1344))
    assert (shapes.size, shapes.batch) == (None, None)


def test_a_range_of_batches_of_one_size():
    shapes = input_shapes('64x96', batch=[1, 2, 4])
    assert (shapes.size, shapes.batch) == ((64, 96), None)
    assert input_shapes('64x96', batch=[4]).batch == 4


def test_nothing_given_is_any_size():
    assert input_shapes() is None


@pytest.mark.parametrize('text', ['800', '800x', '0x100', 'x', '-8x8', '800*1344', '8.5x8'])
def test_what_is_no_size(text):
    with pytest.raises(ConfigError, match='800x1344'):
        parse_size(text)


@pytest.mark.parametrize(
    'given, said',
    [
        (dict(shape='8x8', dynamic=['8x8'] * 3), 'both given'),
        (dict(batch=[2]), 'without an input size'),
        (dict(dynamic=['8x8', '16x16']), 'the smallest, the usual and the largest'),
        (dict(shape='8x8', batch=[1, 2]), 'the smallest, the usual and the largest'),
        (dict(dynamic=['32x32', '16x16', '64x64']), 'wrong order'),
        (dict(dynamic=['16x64', '32x32', '64x64']), 'wrong order'),
        (dict(shape='8x8', batch=[4, 2, 8]), 'wrong order'),
        (dict(shape='8x8', batch=[0]), 'wrong order'),
    ],
)
def test_what_contradicts_itself(given, said):
    with pytest.raises(ConfigError, match=said):
        input_shapes(**given)
