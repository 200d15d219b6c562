"""Random numbers that depend on the seed and the iteration only, so that a resumed run has those of the first one."""

import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from ..registry import FUNCTIONS, HOOKS

LOADING, STEP = 0, 1
"""Uses of the random numbers: the data of the next iteration, or its training step."""


def seed_all(*entropy: int) -> None:
    """Seed ``random``, NumPy and torch (CPU and GPUs) by one number made of several non-negative ones."""
    first, second = np.random.SeedSequence(entropy).generate_state(2)
    random.seed(int(first))
    np.random.seed(first)
    # GPUs' generators as well, unless CUDA is not there
    torch.manual_seed(int(first) << 32 | int(second))


@FUNCTIONS.register_module()
def seed_worker(worker_id: int) -> None:
    """``worker_init_fn`` of a data loader: NumPy and ``random`` follow torch, which is seeded for each worker.

    mmengine's own gives a worker the same numbers whenever it starts, which is every epoch unless workers persist.

    Args:
        worker_id: The number of the worker in its loader; torch's seed already depends on it.
    """
    seed = torch.initial_seed()
    random.seed(seed)
    np.random.seed(seed % 2**32)


@HOOKS.register_module()
class RandomnessHook(Hook):
    """Seed before each training step, and before the data of each iteration, by seed, rank and iteration.

    A run that is resumed at an epoch's start then does what the uninterrupted run did. Data-loader workers take their
    numbers from the main process when they start. So with persistent workers, which start once, and with
    iteration-based training, whose workers start once as well, images come in the same order but are flipped and
    cropped by other random numbers; without workers (``num_workers=0``) everything is the same.

    The seed is ``randomness.seed`` of the config; ``tools/train.py --resume`` takes the checkpoint's where there is
    none. Validation draws no random numbers.
    """

    priority = 'LOWEST'

    def _seed(self, runner, iteration: int, purpose: int) -> None:
        seed_all(runner.seed, get_rank(), iteration, purpose)

    def before_train(self, runner) -> None:
        if 'worker_init_fn' not in runner.cfg.get('train_dataloader', {}):
            runner.train_dataloader.worker_init_fn = seed_worker

    def before_train_epoch(self, runner) -> None:
        """Seed what the data loader draws when its iterator is made: the seed of its workers."""
        self._seed(runner, runner.iter, LOADING)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Seed what the training step draws: dropped paths, sampled boxes."""
        self._seed(runner, runner.iter, STEP)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Seed what the main process draws for the next batch, when it loads the data itself."""
        self._seed(runner, runner.iter + 1, LOADING)
