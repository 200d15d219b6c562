"""Memory of this process and its peak."""

import contextlib
import ctypes
import gc
from pathlib import Path

import torch

from ..errors import DeployError


def _resident() -> tuple[int, int]:
    """Resident memory of this process in bytes: the current value and the peak.

    Linux's ``/proc`` is read, because ``getrusage`` also counts the parent that the process was forked from.

    Raises:
        DeployError: If the system has no ``/proc``.
    """
    try:
        fields = dict(line.split(':', 1) for line in Path('/proc/self/status').read_text().splitlines())
    except OSError as error:
        raise DeployError(
            'The memory of a process on the CPU is read from /proc/self/status, which is not there.',
            expected='Linux, or a CUDA GPU',
            fix='measure on a Linux machine',
        ) from error
    return tuple(int(fields[name].split()[0]) * 1024 for name in ('VmRSS', 'VmHWM'))


def memory(device: str, backend: str = 'pytorch') -> tuple[int, int]:
    """Memory in use and its peak, in bytes.

    On the CPU that of the process. On a GPU that of PyTorch, or all that is in use for another backend, which keeps its
    memory, so that the peak is what it holds now.
    """
    if device == 'cuda' and backend != 'pytorch':
        free, total = torch.cuda.mem_get_info()
        return total - free, total - free
    if device == 'cuda':
        return torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
    return _resident()


def forget_peak(device: str) -> None:
    """Start a new peak."""
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
    else:
        # Where this is not allowed, building counts as well; an iteration takes more than that anyway.
        with contextlib.suppress(OSError):
            Path('/proc/self/clear_refs').write_text('5')


def release(device: str) -> None:
    """Give memory that is free back to the system, so that the next measurement does not find it in hand."""
    gc.collect()
    if device == 'cuda':
        torch.cuda.empty_cache()
    with contextlib.suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)
