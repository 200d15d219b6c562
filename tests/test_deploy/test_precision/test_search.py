"""The search finds the layer that was planted, evaluates no more than it may, and never returns what it did not try."""

import numpy as np
import pytest
from onnx import helper

from mmtrtvit.deploy.precision import find_nodes_to_exclude, int8_candidates, plan_half, to_fp16, to_int8
from mmtrtvit.deploy.precision.rules import is_excluded
from mmtrtvit.deploy.precision.search import blocks_of

FEEDS = [dict(x=np.linspace(-300, 300, 16, dtype=np.float32).reshape(4, 4))]


@pytest.fixture(scope='module')
def chain(graph_of):
    """Twelve layers; in the eighth a square leaves the range of FP16 and comes back."""
    nodes, last = [], 'x'
    for number in range(12):
        nodes.append(helper.make_node('MatMul', [last, 'w'], [f'a{number}'], name=f'/layer{number}/MatMul'))
        last = f'a{number}'
        if number == 7:
            nodes += [
                helper.make_node('Mul', [last, last], ['square'], name='/layer7/norm/Mul'),
                helper.make_node('Sqrt', ['square'], ['root'], name='/layer7/norm/Sqrt'),
            ]
            last = 'root'
    nodes[-1].output[0] = 'y'
    return graph_of(nodes, dict(w=np.eye(4, dtype=np.float32)), shape=('n', 4))


def test_the_planted_layer_is_found(chain):
    found = find_nodes_to_exclude(chain, FEEDS, tolerance=0.01)
    assert [kept.block for kept in found.added] == ['/layer7/norm']
    assert set(found.nodes_to_exclude) == {'/layer7/norm/Mul', '/layer7/norm/Sqrt'}
    assert found.met and found.error <= 0.01 and found.added[0].error > 0.01
    assert found.evaluations <= 2 * np.ceil(np.log2(13)) + 1
    assert found.added[0].reason.startswith('converted as well, the error is')


def test_nothing_is_kept_when_all_is_well(chain):
    found = find_nodes_to_exclude(chain, [dict(x=np.ones((1, 4), np.float32))], tolerance=0.01)
    assert (found.nodes_to_exclude, found.added, found.evaluations) == ((), (), 1)


def test_the_number_of_evaluations_is_bounded_and_the_rest_stays(chain):
    found = find_nodes_to_exclude(chain, FEEDS, tolerance=0.01, max_evaluations=2)
    assert found.evaluations == 2 and found.met
    assert '/layer7/norm/Mul' in found.nodes_to_exclude
    assert any(kept.error is None and 'not examined' in kept.reason for kept in found.added)


def test_errors_that_add_up_are_seen(chain):
    """Each layer is good alone; more than three of them are not."""
    counted = []

    def convert(model, excluded):
        counted.append(sum(not is_excluded(name, excluded) for name in plan_half(model).half))
        return model

    found = find_nodes_to_exclude(chain, FEEDS, lambda ours, theirs: float(counted[-1]), 3.0, convert=convert)
    assert found.met and found.error == 3.0
    assert len(plan_half(chain).half) - len(found.nodes_to_exclude) == 3


def test_what_was_asked_for_stays_and_an_impossible_tolerance_is_not_met(chain):
    found = find_nodes_to_exclude(chain, FEEDS, lambda ours, theirs: 1.0, 0.5, nodes_to_exclude=('/layer3',))
    assert '/layer3' in found.nodes_to_exclude and not found.met and found.error == 1.0
    assert not plan_half(chain, found.nodes_to_exclude).half
    to_fp16(chain, found.nodes_to_exclude)


def test_int8_layers_are_searched_by_the_same_means(graph_of):
    """A row of weights with one outlier in each channel makes INT8 useless for one layer only."""
    numbers = np.random.default_rng(0)
    bad = numbers.normal(size=(4, 4)).astype(np.float32) / 50
    bad[0] = 100.0
    weights = dict(w0=np.eye(4, dtype=np.float32), bad=bad, w2=np.eye(4, dtype=np.float32))
    names = ['x', 'a', 'b', 'y']
    nodes = [
        helper.make_node('MatMul', [names[i], weight], [names[i + 1]], name=f'/layer{i}/MatMul')
        for i, weight in enumerate(weights)
    ]
    model = graph_of(nodes, weights, shape=('n', 4))
    feeds = [dict(x=np.float32([[0, 1, 2, 3], [0, -1, 1, -2]]))]
    found = find_nodes_to_exclude(
        model,
        feeds,
        tolerance=0.05,
        convert=lambda graph, excluded: to_int8(graph, feeds, excluded),
        candidates=int8_candidates,
    )
    assert found.met and found.nodes_to_exclude == ('/layer1/MatMul',)


def test_blocks_are_modules():
    names = ['/a/conv/Conv', '/a/relu/Relu', '/a/conv/Add', '/Mul', '/Mul_1']
    assert blocks_of(names) == [('/a/conv/Conv', '/a/conv/Add'), ('/a/relu/Relu',), ('/Mul',), ('/Mul_1',)]
