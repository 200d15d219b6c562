"""Training beyond mmengine: whole checkpoints, mixed precision and processes on CPUs, layer decay, randomness,
and an end for diverging runs."""

from .. import environment

environment.require()

from .checkpoint_hook import AtomicCheckpointHook
from .cpu_amp import CPUAmpOptimWrapper
from .cpu_processes import use_cpu_processes
from .finite import FiniteHook
from .fsdp_strategy import ResumableFSDPStrategy
from .layer_decay import LayerDecayOptimWrapperConstructor
from .randomness import RandomnessHook, seed_all, seed_worker

__all__ = [
    'AtomicCheckpointHook',
    'CPUAmpOptimWrapper',
    'FiniteHook',
    'LayerDecayOptimWrapperConstructor',
    'RandomnessHook',
    'ResumableFSDPStrategy',
    'seed_all',
    'seed_worker',
    'use_cpu_processes',
]
