"""Schedules that do not fit the length of the training are told."""

import re

import pytest
from mmengine.config import Config

from mmtrtvit.engine.schedule import schedule_faults

WARM_UP = dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=500)
STEPS = dict(type='MultiStepLR', by_epoch=True, begin=0, end=12, milestones=[8, 11], gamma=0.1)
COSINE = dict(type='CosineAnnealingLR', by_epoch=True, begin=0, end=12, T_max=12, convert_to_iter_based=True)
POLY = dict(type='PolyLR', begin=500, end=8000, by_epoch=False)


def faults(*schedulers, epochs=None, iterations=None, steps=1000):
    loop = dict(max_epochs=epochs) if epochs else dict(max_iters=iterations)
    return schedule_faults(Config(dict(train_cfg=loop, param_scheduler=list(schedulers))), steps)


@pytest.mark.parametrize(
    'schedulers, length, said',
    [
        # the report: 36 epochs, schedule of 12; 500 iterations of warm-up on 25 an epoch
        (
            (WARM_UP, STEPS),
            dict(epochs=36),
            '24 of 36 epochs are trained at its last rate.*end=36 .*milestones=\\[24,33',
        ),
        (
            (WARM_UP, STEPS),
            dict(epochs=6),
            'ends after 6 epochs of 12, before the rate has come down.*milestones=\\[4,6',
        ),
        ((COSINE,), dict(epochs=20), 'ends after 12 epochs.*param_scheduler.0.end=20 param_scheduler.0.T_max=20'),
        (
            (WARM_UP, STEPS),
            dict(epochs=12, steps=25),
            'the warm-up takes 500 iterations, the whole training 300.*end=30',
        ),
        ((WARM_UP, POLY), dict(iterations=4000), 'ends after 4000 iterations of 8000.*param_scheduler.1.end=4000'),
        ((POLY,), dict(iterations=80000), '72000 of 80000 iterations are trained at its last rate'),
        ((STEPS,), dict(iterations=80000), 'counts epochs, and a training of 80000 iterations has none'),
        (({**STEPS, 'end': 36, 'milestones': [27, 36]},), dict(epochs=36), 'never reaches its milestones 36'),
        (
            (dict(type='MultiStepLR', milestones=[8, 11]),),
            dict(epochs=36),
            '25 of 36 epochs come after its last milestone',
        ),
        (({**COSINE, 'begin': 2},), dict(epochs=12), 'T_max is 12, but it runs for 10 epochs: the rate does not come'),
        (({**COSINE, 'T_max': 6},), dict(epochs=12), 'T_max is 6, but it runs for 12 epochs: the rate rises again'),
        (
            (dict(type='OneCycleLR', total_steps=90, by_epoch=False),),
            dict(epochs=2, steps=50),
            'total_steps is 90.*100',
        ),
        (({**WARM_UP, 'end': None},), dict(iterations=90), 'the warm-up has no end'),
    ],
)
def test_faults_are_named_with_a_remedy(schedulers, length, said):
    (fault,) = faults(*schedulers, **length)
    assert re.search(said, fault) and 'Fix: ' in fault


@pytest.mark.parametrize(
    'schedulers, length',
    [
        ((WARM_UP, STEPS), dict(epochs=12)),
        ((WARM_UP, COSINE), dict(epochs=12)),
        ((WARM_UP, STEPS), dict(epochs=12, steps=None)),
        ((WARM_UP, POLY), dict(iterations=8000)),
        ((WARM_UP,), dict(epochs=2)),
        ((), dict(epochs=2)),
        ((dict(type='ExponentialLR', gamma=0.9),), dict(epochs=2)),
        # a cosine behind its warm-up, and one phase after the other
        ((dict(WARM_UP, end=2, by_epoch=True), {**COSINE, 'begin': 2, 'T_max': 10}), dict(epochs=12)),
        (({**COSINE, 'begin': 2, 'T_max': 10, 'end': None},), dict(epochs=12)),
        ((COSINE, dict(type='ConstantLR', by_epoch=True, factor=1, begin=12, end=15)), dict(epochs=15)),
    ],
)
def test_schedules_that_fit(schedulers, length):
    assert not faults(*schedulers, **length)
