"""Small networks with weights that leave no term of a block without effect."""

import pytest
import torch

from mmtrtvit.models import TRTViT
from tests.fixtures.backbones import FAMILIES, randomise

TINY = dict(widths=(16, 32, 32, 64), depths=(1, 2, 2, 2), block_types=('C', 'C', 'C', 'M'))


@pytest.fixture(autouse=True)
def seeded_and_on_one_core():
    torch.manual_seed(0)
    # The networks are so small that threads would spend their time waiting for each other.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tiny():
    """Build a TRTViT of a few thousand parameters; keys of the arch and arguments by name."""

    def build(**kwargs):
        arch = {key: kwargs.pop(key, TINY[key]) for key in TINY}
        return TRTViT(**{'arch': arch, 'head_dim': 8, **kwargs})

    return build


@pytest.fixture(params=FAMILIES)
def family(request):
    """Build a backbone of each family with every kind of block in it; arguments by name."""
    backbone, settings = FAMILIES[request.param]

    def build(**kwargs):
        return backbone(**{**settings, **kwargs})

    return build


@pytest.fixture(name='randomise')
def randomise_fixture():
    """Fill every parameter and every running statistic with numbers that are neither 0 nor 1."""
    return randomise
