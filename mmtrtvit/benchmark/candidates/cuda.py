"""Work on PyTorch's CUDA stream: timed by events, and captured in a CUDA graph."""

from collections.abc import Callable
from typing import Any

import torch

from ...errors import ConfigError
from ...latency import Milliseconds


def between_events(work: Callable[[], object]) -> Milliseconds:
    """Time of what ``work`` queues on PyTorch's current stream, as the GPU itself measures it."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    work()
    end.record()
    end.synchronize()
    return Milliseconds(start.elapsed_time(end))


def captured(work: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
    """The replay of ``work`` as a CUDA graph, and the outputs that each replay writes.

    Raises:
        ConfigError: If PyTorch sees no GPU.
    """
    if not torch.cuda.is_available():
        raise ConfigError(
            'A CUDA graph was asked for, but PyTorch sees no GPU.',
            expected='an NVIDIA GPU, and a build of PyTorch with CUDA',
            fix='choose another mode',
        )
    for _ in range(3):  # kernels are chosen and memory is taken in the first runs, outside of the graph
        work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = work()
    return graph.replay, outputs
