"""Random numbers are a function of seed, rank and iteration, in the main process and in data-loader workers."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.registry import FUNCTIONS, HOOKS
from torch.utils.data import DataLoader, Dataset

from mmtrtvit.engine import RandomnessHook, seed_all, seed_worker


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


class Draws(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return draw()


def runner_with(iteration=0, seed=5, workers=0, **loader):
    dataloader = DataLoader(Draws(), batch_size=1, num_workers=workers, collate_fn=lambda batch: batch[0])
    return SimpleNamespace(seed=seed, iter=iteration, cfg=dict(train_dataloader=loader), train_dataloader=dataloader)


def test_the_same_numbers_after_the_same_seed_and_others_after_another():
    seed_all(3, 0, 7)
    first = draw()
    draw()
    seed_all(3, 0, 7)
    assert draw() == first
    others = []
    for entropy in ((3, 0, 8), (3, 1, 7), (4, 0, 7), (3, 7, 0)):
        seed_all(*entropy)
        others.append(draw())
    for numbers in zip(first, *others, strict=True):
        assert len(set(numbers)) == 5


@pytest.mark.parametrize('workers', [0, 2])
def test_an_epoch_that_is_run_again_loads_the_same(workers):
    def epoch(at):
        draw()  # whatever ran before
        runner, hook = runner_with(at, workers=workers), RandomnessHook()
        hook.before_train(runner)
        hook.before_train_epoch(runner)
        loaded = []
        for index, batch in enumerate(runner.train_dataloader):
            loaded.append(batch)
            hook.before_train_iter(runner, index)
            loaded.append(draw())  # what the training step draws
            hook.after_train_iter(runner, index)
            runner.iter += 1
        return loaded

    first = epoch(4)
    assert epoch(4) == first
    second = epoch(8)
    assert not set(first) & set(second)
    assert len(set(first)) == len(first)  # no two images, and no step, have the same numbers


def test_steps_do_not_depend_on_what_was_loaded():
    hook = RandomnessHook()
    drawn = []
    for before in (0, 3):
        runner = runner_with(2)
        for _ in range(before):
            draw()
        hook.before_train_iter(runner, 0)
        drawn.append(draw())
    assert drawn[0] == drawn[1]


def test_a_worker_init_fn_of_the_config_is_kept():
    for loader, expected in (({}, seed_worker), ({'worker_init_fn': dict(type='own')}, None)):
        runner = runner_with(**loader)
        RandomnessHook().before_train(runner)
        assert runner.train_dataloader.worker_init_fn is expected


def test_found_from_the_root():
    assert HOOKS.get('RandomnessHook') is HOOKS.get('mmtrtvit.RandomnessHook') is RandomnessHook
    assert FUNCTIONS.get('seed_worker') is FUNCTIONS.get('mmtrtvit.seed_worker') is seed_worker
