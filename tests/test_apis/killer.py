"""A hook that ends its own process by SIGKILL; test_resume.py imports it into the training that is to be killed."""

import multiprocessing
import os
import signal
from pathlib import Path

from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


def die():
    for worker in multiprocessing.active_children():  # as a scheduler does: an orphan may wait for ever
        worker.kill()
    os.kill(os.getpid(), signal.SIGKILL)


def half_written():
    put = LocalBackend.put

    def half(self, obj, filepath):
        if str(filepath).endswith('.pth'):
            Path(filepath).write_bytes(obj[: len(obj) // 2])
            die()
        put(self, obj, filepath)

    LocalBackend.put = half


def before_rename(name):
    def patch():
        replace = Path.replace

        def killed(self, target):
            if Path(target).name == name:
                die()
            return replace(self, target)

        Path.replace = killed

    return patch


MOMENTS = {
    'mid-epoch': die,
    'half written': half_written,
    'not renamed': before_rename('epoch_2.pth'),
    'not named': before_rename('last_checkpoint'),
}


@HOOKS.register_module()
class Killer(Hook):
    """Ends this process as a scheduler or a full memory would: in epoch 2, or while its checkpoint is written."""

    def __init__(self, moment):
        self.moment = moment

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        # 4 iterations an epoch
        if runner.iter == (6 if self.moment == 'mid-epoch' else 7):
            MOMENTS[self.moment]()
