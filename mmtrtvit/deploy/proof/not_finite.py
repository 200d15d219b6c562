"""The first layer of a network whose output is infinite or not a number."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn as nn


class NotFinite:
    """Watches the layers of a network.

    Attributes:
        layer: Name of the first layer whose output was infinite or NaN, in the order of execution; None so far.
    """

    def __init__(self) -> None:
        self.layer: str | None = None

    @contextlib.contextmanager
    def watch(self, model: nn.Module) -> Iterator[None]:
        """Look at the output of every layer while the context is open. Nothing is looked at once a layer is found.

        Modules with layers inside are looked at as well: they add, multiply and resize by themselves. Their layers end
        before them, so that the innermost one is named.
        """
        named = [] if self.layer else [(name, part) for name, part in model.named_modules() if name]

        def look_at(name: str):
            def look(layer: nn.Module, inputs: Any, output: Any) -> None:
                if self.layer is None and not all(map(_is_finite, _tensors(output))):
                    self.layer = name

            return look

        hooks = [part.register_forward_hook(look_at(name)) for name, part in named]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _tensors(output: Any) -> Iterator[torch.Tensor]:
    """The tensors in the output of a layer: a tensor, or a container of them."""
    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, (list, tuple, Mapping)):
        for part in output.values() if isinstance(output, Mapping) else output:
            yield from _tensors(part)


def _is_finite(values: torch.Tensor) -> bool:
    # the sum is quick, and infinite or NaN if any number is; it may also overflow
    return bool(values.sum().isfinite() or values.isfinite().all())
