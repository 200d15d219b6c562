"""Gradient checkpointing that leaves BatchNorm's running statistics alone."""

import contextlib
from collections.abc import Iterator

import torch
import torch.nn as nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


@contextlib.contextmanager
def _running_stats_kept(block: nn.Module) -> Iterator[None]:
    """Keep the running statistics of every BatchNorm of ``block`` while it is run a second time."""
    norms = [m for m in block.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.sub_(1)


def recompute_in_backward(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Run ``block(x)`` without keeping its activations; they are computed again in the backward pass.

    Args:
        block: A module with one tensor in and one tensor out.
        x: Its input, any shape.

    Returns:
        What ``block(x)`` returns. Gradients, random numbers (drop path) and running statistics are
        those of a plain call.
    """
    return checkpoint(
        block,
        x,
        use_reentrant=False,
        context_fn=lambda: (contextlib.nullcontext(), _running_stats_kept(block)),
    )
