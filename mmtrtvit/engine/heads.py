"""The heads of a network: the modules that turn features into predictions."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch.nn as nn


def is_head(module: nn.Module) -> bool:
    """True if a module is a head: those of mmdet and mmseg compute a loss, those of mmpretrain have logits."""
    return any(hasattr(module, name) for name in ('loss_by_feat', 'loss_and_target', 'pre_logits'))


@contextlib.contextmanager
def head_outputs_through(model: nn.Module, function: Callable[[str, Any], Any]) -> Iterator[None]:
    """Pass the outputs of every head of a network through a function.

    Heads of mmseg call their own ``forward``, which PyTorch's hooks do not see. So ``forward`` itself is wrapped.

    Args:
        model: The network.
        function: Called with the name of a head and its outputs; returns the outputs to use in their place.
    """

    def wrapped(name: str, forward: Callable) -> Callable:
        @functools.wraps(forward)
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(name, forward(*args, **kwargs))

        return call

    heads = [(name, module) for name, module in model.named_modules() if is_head(module)]
    own = [vars(module).get('forward') for _, module in heads]
    for name, module in heads:
        module.forward = wrapped(name, module.forward)
    try:
        yield
    finally:
        for (_, module), forward in zip(heads, own, strict=True):
            del module.forward
            if forward is not None:
                module.forward = forward
