"""A BatchNorm that several levels share is told in the first iteration of training."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn as nn

from mmtrtvit.engine.shared_norms import SharedNormHook, batch_norm_calls


class Network(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.backbone = nn.BatchNorm2d(4)
        self.head = nn.Sequential(nn.Conv2d(4, 4, 1), norm)
        self.levels = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(3))

    def forward(self, x):
        x = self.backbone(self.backbone(x))
        return [self.head(norm(x)) for norm in self.levels]


def test_calls_are_counted_outside_of_the_backbone():
    network = Network(nn.BatchNorm2d(4))
    with batch_norm_calls(network) as calls:
        network(torch.rand(2, 4, 5, 5))
    assert calls == {'head.1': 3, 'levels.0': 1, 'levels.1': 1, 'levels.2': 1}
    network(torch.rand(2, 4, 5, 5))
    assert calls['head.1'] == 3  # no longer


@pytest.mark.parametrize('norm, told', [(nn.BatchNorm2d(4), 1), (nn.SyncBatchNorm(4), 1), (nn.GroupNorm(2, 4), 0)])
def test_told_once(norm, told):
    said = []
    network = Network(norm)
    if isinstance(norm, nn.SyncBatchNorm):
        network.eval()  # in training it wants several processes
    runner = SimpleNamespace(model=network, logger=SimpleNamespace(warning=said.append))
    hook = SharedNormHook()
    hook.before_train(runner)
    for step in range(3):
        network(torch.rand(2, 4, 5, 5))
        hook.after_train_iter(runner, step)
    assert len(said) == told
    assert not told or 'the first is head.1' in said[0] and "type='GN'" in said[0]
