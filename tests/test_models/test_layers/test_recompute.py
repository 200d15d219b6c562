"""Gradient checkpointing beside BatchNorm and random numbers."""

import copy

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from torch import nn

from mmtrtvit.models.layers import recompute_in_backward


@pytest.fixture
def block():
    return nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), DropPath(0.5), nn.Conv2d(4, 4, 1), nn.Tanh())


def run(block, call, times=1):
    torch.manual_seed(3)
    x = torch.randn(8, 4, 6, 6, requires_grad=True)
    out = call(block, x)
    for _ in range(times):
        out.square().sum().backward(retain_graph=True)
    return [out.detach(), x.grad, *(parameter.grad for parameter in block.parameters()), *block.buffers()]


@pytest.mark.parametrize('times', [1, 2], ids=['one backward pass', 'two backward passes'])
@pytest.mark.parametrize('momentum', [0.1, 1.0, None])
def test_same_as_a_plain_call(block, momentum, times):
    block[1].momentum = momentum
    twin = copy.deepcopy(block)
    expected = run(twin, lambda module, x: module(x), times)
    given = run(block, recompute_in_backward, times)
    for ours, theirs in zip(given, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert block[1].momentum == momentum
    assert block[1].num_batches_tracked == 1


def test_the_block_runs_again_in_the_backward_pass(block):
    calls = []
    block.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    out = recompute_in_backward(block, x)
    assert len(calls) == 1
    block[-1].register_forward_pre_hook(lambda *_: calls.append('again'))
    out.sum().backward()
    assert 'again' in calls


def test_norms_in_evaluation_are_not_touched(block):
    block[1].eval()
    before = {name: value.clone() for name, value in block.named_buffers()}
    run(block, recompute_in_backward)
    assert all(torch.equal(value, before[name]) for name, value in block.named_buffers())
    assert block[1].momentum == 0.1


def test_momentum_returns_when_the_second_run_fails(block):
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    out = recompute_in_backward(block, x)

    def fail(*_):
        raise RuntimeError('out of memory')

    block[-1].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match='out of memory'):
        out.sum().backward()
    assert block[1].momentum == 0.1
    assert block[1].num_batches_tracked == 1
