"""Renaming by rules: every tensor is mapped, dropped for a reason, or refused."""

import pytest
import torch

from mmtrtvit.errors import CheckpointError
from mmtrtvit.weights import Rule, rename

RULES = (
    Rule(r'layer\.0\.(\w+)', r'first.\1'),
    Rule(r'layer\.(\d+)\.(\w+)', r'layers.\1.\2'),
    Rule(r'head\.\w+', None, 'the classifier'),
)


def tensors(*names):
    return {name: torch.full((1,), float(index)) for index, name in enumerate(names)}


def test_the_first_rule_that_matches_the_whole_name_says_what_becomes_of_a_tensor():
    weights = tensors('head.bias', 'layer.12.weight', 'layer.0.weight')
    given = rename(weights, RULES, 'x.pth')
    assert given.mapped == {'layer.12.weight': 'layers.12.weight', 'layer.0.weight': 'first.weight'}
    assert given.dropped == {'head.bias': 'the classifier'}
    assert {name: value.item() for name, value in given.weights.items()} == {'layers.12.weight': 1, 'first.weight': 2}


@pytest.mark.parametrize('name', ['layer.1.weight.extra', 'xlayer.1.weight', 'layer.a.weight', 'norm.weight'])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(CheckpointError, match='x.pth: unknown names: ' + name):
        rename(tensors('layer.1.bias', name), RULES, 'x.pth')


def test_many_unknown_names_are_counted():
    with pytest.raises(CheckpointError, match='n5 and 14 more'):
        rename(tensors(*(f'n{index}' for index in range(20))), RULES, 'x.pth')


def test_two_tensors_under_one_name_are_refused():
    rules = (Rule(r'\w+\.(\w+)', r'same.\1'),)
    with pytest.raises(CheckpointError, match=r'a\.w and b\.w are both same\.w'):
        rename(tensors('a.w', 'b.w'), rules, 'x.pth')


@pytest.mark.parametrize('weights', [{}, tensors('head.weight')], ids=['none', 'all dropped'])
def test_nothing_left_is_refused(weights):
    with pytest.raises(CheckpointError, match='there are no weights in it'):
        rename(weights, RULES, 'x.pth')
