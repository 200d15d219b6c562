"""Mixed precision on a CPU: bfloat16 autocast, which mmengine's AmpOptimWrapper refuses there."""

import contextlib
import functools
import time
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn as nn
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper

from ..errors import ConfigError
from ..registry import OPTIM_WRAPPERS
from .heads import head_outputs_through


@functools.cache
def bfloat16_slowdown() -> float:
    """Time of a matrix product in bfloat16 over its time in float32 on this CPU, measured once a process.

    About 0.1 where the CPU has units for bfloat16 (AVX512-BF16, AMX), 5 where it converts (other AVX-512), 8 to 50
    where it emulates (AVX2). PyTorch's flags do not tell the first two apart in every version. It takes less than half
    a second, on one thread: with more, a busy machine would be measured.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    matrices = {dtype: torch.ones(384, 384, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)}
    shortest = dict.fromkeys(matrices, float('inf'))
    try:
        for _ in range(4):  # the first is slower: oneDNN builds its kernel
            for dtype, matrix in matrices.items():
                started = time.perf_counter()
                matrix @ matrix
                shortest[dtype] = min(shortest[dtype], time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return shortest[torch.bfloat16] / shortest[torch.float32]


def _in_float32(value: Any) -> Any:
    """``value`` with every floating-point tensor of a nested list, tuple or dict as float32."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, (list, tuple)):
        return type(value)(_in_float32(item) for item in value)
    if isinstance(value, dict):
        return {key: _in_float32(item) for key, item in value.items()}
    return value


@contextlib.contextmanager
def _float32_outside_autocast(model: nn.Module) -> Iterator[None]:
    """Give float32 to modules without a bfloat16 form (RoI extractors) and to outputs that need it (boxes).

    bfloat16 has 8 significant bits: a box coordinate of 1333 pixels would be rounded by up to 4.
    """
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: _in_float32(inputs))
        for module in model.modules()
        if hasattr(module, 'roi_layers')
    ]
    try:
        with head_outputs_through(model, lambda _, outputs: _in_float32(outputs)):
            yield
    finally:
        for hook in hooks:
            hook.remove()


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """An optimiser wrapper whose forward pass runs in bfloat16 where autocast allows it.

    Weights, gradients and the optimiser's state stay float32, and bfloat16 has float32's range, so there is
    no loss scaling. Predictions and losses are float32. On a CPU where bfloat16 is slower than float32 everything
    is float32, and the log says so. Arguments are those of :class:`mmengine.optim.OptimWrapper`.

    Attributes:
        enabled: Whether the forward pass runs in bfloat16.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        slowdown = bfloat16_slowdown()
        self.enabled = slowdown < 1
        if not self.enabled:
            print_log(f'Training in float32: on this CPU bfloat16 is {slowdown:.1f} times slower.', logger='current')

    @contextlib.contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The base class's context for gradient accumulation, with autocast inside it."""
        with super().optim_context(model):
            if not self.enabled:
                yield
                return
            with _float32_outside_autocast(model), torch.autocast('cpu', dtype=torch.bfloat16):
                yield


def amp_is_quicker() -> bool:
    """True if mixed precision is worth trying here: on a GPU, or on a CPU where bfloat16 beats float32."""
    return torch.cuda.is_available() or bfloat16_slowdown() < 1


def use_amp(config: Config) -> None:
    """Train in mixed precision: float16 with loss scaling on a GPU, bfloat16 on a CPU.

    Raises:
        ConfigError: If the config has an optimiser wrapper that this cannot replace, or bfloat16 would make training
            slower on this CPU.
    """
    wrapper = config.optim_wrapper
    if wrapper.get('type', 'OptimWrapper') not in ('OptimWrapper', 'AmpOptimWrapper', 'mmtrtvit.CPUAmpOptimWrapper'):
        raise ConfigError(
            f'--amp cannot be used with optim_wrapper.type={wrapper.type!r}.',
            expected='OptimWrapper',
            fix='leave out --amp, or set optim_wrapper.type=OptimWrapper',
        )
    if not amp_is_quicker():
        raise ConfigError(
            f'--amp: on this CPU bfloat16 is {bfloat16_slowdown():.1f} times slower than float32.',
            expected='a CPU with AVX512-BF16 or AMX, or a CUDA GPU',
            fix='leave out --amp',
        )
    if torch.cuda.is_available():
        wrapper.type = 'AmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')
    else:
        wrapper.type = 'mmtrtvit.CPUAmpOptimWrapper'
        wrapper.pop('loss_scale', None)
