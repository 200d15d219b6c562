"""Adaptive average pooling is exact for sizes that do not divide the input."""

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmtrtvit.deploy.export.rewriters.adaptive_avg_pool import averaging_matrix


@pytest.mark.parametrize('inputs, outputs', [(16, 6), (16, 3), (17, 6), (5, 5), (7, 1), (3, 6)])
def test_matrix_is_the_definition(inputs, outputs):
    expected = np.zeros((outputs, inputs))
    for i in range(outputs):
        start, end = i * inputs // outputs, -(-(i + 1) * inputs // outputs)
        expected[i, start:end] = float(Fraction(1, end - start))
    matrix = averaging_matrix(inputs, outputs, torch.empty(0, dtype=torch.float64))
    assert matrix.dtype == torch.float64
    np.testing.assert_array_equal(matrix.numpy(), expected)


OUTPUTS = (1, 2, 3, 6, (2, 5), (3, None), (None, 4), (None, 1), (1, None), (1, 1), 7, 20)


def pyramid(input):
    return tuple(F.adaptive_avg_pool2d(input, output) for output in OUTPUTS)


def check(graph, size, batch=1):
    x = torch.randn(batch, 4, *size)
    for output, found, expected in zip(OUTPUTS, graph(x), pyramid(x), strict=True):
        np.testing.assert_allclose(found, expected.numpy(), atol=3e-6, err_msg=f'{size} to {output}')


def test_a_graph_of_fixed_size_is_pytorchs(exported):
    check(exported(pyramid, torch.randn(1, 4, 17, 23)), (17, 23))


def test_one_graph_of_free_size_is_pytorchs(exported):
    graph = exported(pyramid, torch.randn(1, 4, 16, 20), dynamic_axes={'input': {0: 'b', 2: 'h', 3: 'w'}})
    for size, batch in (((16, 16), 1), ((17, 23), 2), ((5, 40), 1)):
        check(graph, size, batch)


def test_a_pooling_module_is_rewritten_too(exported):
    graph = exported(torch.nn.AdaptiveAvgPool2d(6), torch.randn(1, 2, 16, 13))
    x = torch.randn(1, 2, 16, 13)
    np.testing.assert_allclose(graph(x)[0], F.adaptive_avg_pool2d(x, 6).numpy(), atol=3e-6)
