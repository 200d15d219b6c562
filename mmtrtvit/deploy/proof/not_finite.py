"""The first layer of a network whose output is infinite or not a number."""

import contextlib
from collections.abc import Iterator
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
        """Look at the output of every layer while the context is open. Nothing is looked at once a layer is found."""
        named = [] if self.layer else [(name, part) for name, part in model.named_modules() if not any(part.children())]

        def look_at(name: str):
            def look(layer: nn.Module, inputs: Any, output: Any) -> None:
                if self.layer is None and isinstance(output, torch.Tensor) and not _is_finite(output):
                    self.layer = name

            return look

        hooks = [part.register_forward_hook(look_at(name)) for name, part in named]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _is_finite(values: torch.Tensor) -> bool:
    # the sum is quick, and infinite or NaN if any number is; it may also overflow
    return bool(values.sum().isfinite() or values.isfinite().all())
