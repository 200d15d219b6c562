"""BatchNorm in a head that the levels of a pyramid share: one set of running statistics, which fits none of them."""

import contextlib
from collections import Counter
from collections.abc import Iterator

import torch.nn as nn
from mmengine.hooks import Hook
from torch.nn.modules.batchnorm import _BatchNorm


@contextlib.contextmanager
def batch_norm_calls(network: nn.Module) -> Iterator[Counter]:
    """Count how often each BatchNorm outside of the backbone runs, by its name.

    One that runs for several maps in one pass normalises each by its own statistics in training, and all by their
    average in testing.

    Args:
        network: A network; nothing is changed in it.
    """
    calls: Counter = Counter()

    def counting(name: str):
        return lambda *_: calls.update([name])

    handles = [
        module.register_forward_pre_hook(counting(name))
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm) and 'backbone' not in name.split('.')
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


class SharedNormHook(Hook):
    """Warn after the first iteration if a BatchNorm ran several times in it."""

    def before_train(self, runner) -> None:
        self._stack = contextlib.ExitStack()
        self._calls = self._stack.enter_context(batch_norm_calls(runner.model))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self._stack.close()
        shared = [name for name, count in self._calls.items() if count > 1]
        self._calls.clear()
        if shared:
            runner.logger.warning(
                f'{len(shared)} BatchNorms run for several maps of different statistics, the first is {shared[0]}: in '
                'testing they use an average that fits none of them, and most objects are missed. Fix: a norm without '
                "running statistics in this head, norm_cfg=dict(type='GN', num_groups=32)"
            )
