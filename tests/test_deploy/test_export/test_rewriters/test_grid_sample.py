"""``grid_sample`` is one node that computes what PyTorch computes."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

MODES = ('bilinear', 'nearest', 'bicubic')
PADDINGS = ('zeros', 'border', 'reflection')
OPTIONS = list(itertools.product(MODES, PADDINGS, (False, True)))


class Sampling(nn.Module):
    """The same samples in every way there is."""

    def forward(self, maps, grid):
        return tuple(
            F.grid_sample(maps, grid, mode=mode, padding_mode=padding, align_corners=align)
            for mode, padding, align in OPTIONS
        )


@pytest.fixture(scope='module')
def graph(graph_in):
    axes = [{0: 'b', 2: 'h', 3: 'w'}, {0: 'b', 1: 'rows', 2: 'columns'}]
    return graph_in('native', Sampling(), (torch.randn(1, 2, 8, 8), grid_of(1, 4, 5)), axes)


def grid_of(batch, rows, columns, reach=1.6):
    """Positions inside, at the border of and beside the map, none of them half-way between two pixels."""
    return (torch.rand(batch, rows, columns, 2) * 2 - 1) * reach


def test_one_standard_node_each(graph):
    found = graph.operators
    assert found['GridSample'] == len(OPTIONS)
    assert not any('::' in name for name in found)


@pytest.mark.parametrize('size', [(1, 2, 8, 8), (2, 3, 5, 11), (1, 1, 1, 7)], ids=str)
def test_every_option_is_pytorchs(graph, size):
    maps, grid = torch.randn(size[0], 2, *size[2:]), grid_of(size[0], 9, 13)
    found = graph(maps, grid)
    for options, ours, theirs in zip(OPTIONS, found, Sampling()(maps, grid), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=2e-5, err_msg=str(options))


def test_the_options_matter():
    """The comparison above can tell each option from the others."""
    maps, grid = torch.randn(1, 2, 8, 8), grid_of(1, 9, 13)
    results = Sampling()(maps, grid)
    assert all(not torch.allclose(a, b, atol=1e-2) for a, b in itertools.combinations(results, 2))
