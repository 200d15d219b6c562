"""PyTorch with other rounding errors, as another number of threads, another order of sums or another CPU gives."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn as nn

ROUNDING = 1e-6
"""Standard deviation of the errors added to the output of a layer, relative to the root mean square of its channel.

At the heads of a Mask R-CNN, this adds up to four times the errors that float32 has itself, compared with float64.
"""


@contextlib.contextmanager
def other_rounding(model: nn.Module, seed: int) -> Iterator[None]:
    """Add random errors of the size of float32's to the output of every convolution and linear layer.

    Args:
        model: The network.
        seed: The same seed gives the same errors.
    """
    generator = torch.Generator().manual_seed(seed)

    def add_errors(layer: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        channel = -1 if isinstance(layer, nn.Linear) else 1
        others = [place for place in range(output.dim()) if place != channel % output.dim()]
        size = ROUNDING * output.square().mean(others, keepdim=True).sqrt()
        errors = torch.randn(output.shape, generator=generator, dtype=output.dtype).to(output.device)
        return output + size * errors

    layers = [part for part in model.modules() if isinstance(part, (nn.Linear, nn.modules.conv._ConvNd))]
    hooks = [layer.register_forward_hook(add_errors) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
