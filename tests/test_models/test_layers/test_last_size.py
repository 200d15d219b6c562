"""What was computed for the last size is used again exactly where it would be computed to the same."""

import copy
import pickle

import pytest
import torch

from mmtrtvit.models.layers import LastSize


class Table(torch.nn.Module):
    """A parameter times the key; counts how often that is computed."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(torch.ones(3))
        self.last_size = LastSize()
        self.count = 0

    def compute(self, key):
        self.count += 1
        return self.table * key

    def forward(self, key):
        return self.last_size.get(self.table, key, lambda: self.compute(key))


@pytest.fixture
def table():
    return Table()


def times(table, *keys):
    """What the table gives for each key, where nothing is trained."""
    with torch.no_grad():
        return [table(key)[0].item() for key in keys]


def test_one_size_is_kept(table):
    assert times(table, 2, 2, 3, 3, 2) == [2, 2, 3, 3, 2]
    assert table.count == 3


def test_a_table_that_is_trained_is_computed_every_time(table):
    for count in (1, 2):
        table(2).sum().backward()
        assert table.count == count
        assert torch.equal(table.table.grad, torch.full((3,), 2.0 * count))
    times(table, 2)
    table(2)
    assert table.count == 4, 'what is kept has no gradient'
    table.table.requires_grad_(False)
    table(2)
    assert table.count == 4, 'nor does a frozen table need one'


@pytest.mark.parametrize(
    'change',
    [
        lambda table: table.table.fill_(5),
        lambda table: table.load_state_dict({'table': torch.full((3,), 5.0)}),
        lambda table: (table.table.data.fill_(5), table.last_size.clear()),
    ],
    ids=['in place', 'loaded', 'cleared'],
)
def test_a_changed_table_is_noticed(table, change):
    times(table, 2)
    with torch.no_grad():
        change(table)
    assert times(table, 2, 2) == [10, 10]
    assert table.count == 2


def test_type_and_device_are_noticed(table):
    times(table, 2)
    table.double()
    with torch.no_grad():
        assert table(2).dtype is torch.float64
        table.to('meta')
        assert table(2).device.type == 'meta'


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda table: pickle.loads(pickle.dumps(table))])
def test_a_copy_starts_empty(table, copied):
    times(table, 2)
    other = copied(table)
    assert table.last_size.kept is not None and other.last_size.kept is None
    with torch.no_grad():
        other.table.fill_(5)
    assert times(other, 2) == [10] and times(table, 2) == [2]


def test_a_recorded_graph_holds_the_computation(table):
    table.requires_grad_(False)
    times(table, 2)

    def forward(x):
        return table(x.shape[0])

    recorded = torch.jit.trace(forward, torch.zeros(2))
    assert [recorded(torch.zeros(length))[0].item() for length in (2, 3, 7)] == [2, 3, 7]


def test_inference_mode(table):
    with torch.inference_mode():
        assert table(2)[0] == 2
        inside = Table()
        assert inside(2)[0] == 2
    table(2).sum().backward()
    assert torch.equal(table.table.grad, torch.full((3,), 2.0))
