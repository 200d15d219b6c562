"""Adaptive average pooling is exact for sizes that do not divide the input."""

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmtrtvit.deploy.rewriters.adaptive_avg_pool import averaging_matrix

SCALES = (1, 2, 3, 6)
FREE = {'input': {0: 'b', 2: 'h', 3: 'w'}}


@pytest.mark.parametrize('inputs, outputs', [(16, 6), (16, 3), (17, 6), (5, 5), (7, 1), (3, 6)])
def test_matrix_is_the_definition(inputs, outputs):
    expected = np.zeros((outputs, inputs))
    for i in range(outputs):
        start, end = i * inputs // outputs, -(-(i + 1) * inputs // outputs)
        expected[i, start:end] = float(Fraction(1, end - start))
    matrix = averaging_matrix(inputs, outputs, torch.empty(0, dtype=torch.float64))
    assert matrix.dtype == torch.float64
    np.testing.assert_array_equal(matrix.numpy(), expected)


@pytest.mark.parametrize('size', [(16, 16), (17, 23)])
@pytest.mark.parametrize('dynamic_axes', [None, FREE], ids=['static', 'dynamic'])
def test_pooling_pyramid_is_pytorchs(exported, size, dynamic_axes):
    def pyramid(input):
        return tuple(F.adaptive_avg_pool2d(input, scale) for scale in SCALES)

    graph = exported(pyramid, torch.randn(1, 4, 16, 20) if dynamic_axes else torch.randn(1, 4, *size), dynamic_axes=dynamic_axes)
    x = torch.randn(2 if dynamic_axes else 1, 4, *size)
    for found, expected in zip(graph(x), pyramid(x), strict=True):
        np.testing.assert_allclose(found, expected.numpy(), atol=2e-6)


@pytest.mark.parametrize('output', [(2, 5), (3, None), (None, 4), (None, 1), (1, None), (None, None), (1, 1), 7])
def test_any_output_size(exported, output):
    x = torch.randn(2, 3, 9, 11)
    found = exported(lambda input: F.adaptive_avg_pool2d(input, output) + 0, x)(x)[0]
    np.testing.assert_allclose(found, F.adaptive_avg_pool2d(x, output).numpy(), atol=2e-6)


def test_a_pooling_module_is_rewritten_too(exported):
    graph = exported(torch.nn.AdaptiveAvgPool2d(6), torch.randn(1, 2, 16, 16), dynamic_axes=FREE)
    x = torch.randn(1, 2, 13, 31)
    np.testing.assert_allclose(graph(x)[0], F.adaptive_avg_pool2d(x, 6).numpy(), atol=2e-6)
