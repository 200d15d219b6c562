"""A quiet machine, and rows as a study leaves them."""

from collections.abc import Callable

import pytest

from mmtrtvit import machine as host
from mmtrtvit.benchmark import limit
from mmtrtvit.latency import Latency
from mmtrtvit.measurement import measurement_row

QUICK = dict(threads=1, device='cpu', warmup_seconds=0.0, min_runs=3, min_seconds=0.0, max_seconds=3.0)


@pytest.fixture
def quick(monkeypatch) -> dict:
    """Settings of a short measurement on a quiet machine whose limit is quickly measured."""
    monkeypatch.setattr(host, 'conditions', lambda: dict(load_average=0.1, others=[], frequency_mhz=None, gpu=None))
    monkeypatch.setitem(limit.SIDE, 'cpu', 64)
    return dict(QUICK)


@pytest.fixture
def measured() -> Callable[..., dict]:
    """Make a row of twelve runs, up to ``spread`` around the median; ``shift`` moves them on by rounds."""

    def make(name: str, ms: float, scope: str = 'backbone', spread: float = 0.0, shift: int = 0, **facts) -> dict:
        noise = [-1.0, 0.8, -0.6, 0.4, -0.2, 0.0, 0.0, 0.2, -0.4, 0.6, -0.8, 1.0]
        values = [ms * (1 + spread * noise[(place + shift) % 12]) for place in range(12)]
        study = dict(types='C-C-C-M', depths=[3, 4, 6, 3], shrink_ratio=0.5)
        given = dict(backend='openvino', precision='fp32', device='cpu', device_name='CPU', threads=2, run='1')
        given.update(shape=[1, 3, 224, 224], params=2_000_000, macs=10**9, extra=dict(study=study), origin='ours')
        given.update(conditions=dict(load_average=0.1, busy=''), versions=dict(torch='2'))
        return measurement_row(Latency(name, scope, values, {}), **{**given, **facts})

    return make


@pytest.fixture
def trained() -> Callable[..., dict]:
    """Make a row of the training."""

    def make(name: str, seed: int, top1: float, **facts) -> dict:
        recipe = dict(size=96, width=0.25, epochs=60, batch=16, lr=0.001)
        return dict(
            dict(name=name, seed=seed, data='insects', recipe=recipe, status='OK', top1=top1, train_top1=99.0),
            **dict(classes=['ants', 'bees'], train_images=243, val_images=153, guess=54.2, seconds=60.0),
            **dict(types='C-C-C-M', depths=[3, 4, 6, 3], shrink_ratio=0.5, params=500_000, macs=10**8),
            **facts,
        )

    return make
