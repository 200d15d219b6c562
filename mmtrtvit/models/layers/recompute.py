"""Gradient checkpointing that leaves BatchNorm's running statistics alone."""

import contextlib

import torch
import torch.nn as nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class _RunningStatsKept(contextlib.AbstractContextManager):
    """Keep the running statistics of every BatchNorm of ``block`` while it is run again.

    It is entered once for each backward pass: a graph that is retained is computed again each time.
    """

    def __init__(self, block: nn.Module) -> None:
        self.block = block

    def __enter__(self) -> None:
        norms = [m for m in self.block.modules() if isinstance(m, _BatchNorm) and m.training]
        norms = [norm for norm in norms if norm.track_running_stats]
        self.kept = [(norm, norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
        for norm in norms:
            norm.momentum = 0.0

    def __exit__(self, *_: object) -> None:
        for norm, momentum, count in self.kept:
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)


def recompute_in_backward(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Run ``block(x)`` without keeping its activations; they are computed again in the backward pass.

    Args:
        block: A module with one tensor in and one tensor out.
        x: Its input, any shape.

    Returns:
        The result of ``block(x)``. Gradients, random numbers (drop path) and running statistics are those of a plain
        call.
    """
    return checkpoint(
        block,
        x,
        use_reentrant=False,
        context_fn=lambda: (contextlib.nullcontext(), _RunningStatsKept(block)),
    )
