"""Devices as data: peaks, memory, caches, and where each figure comes from."""

import dataclasses
from collections.abc import Mapping

from ..errors import ConfigError

WIDTH = {'fp32': 4, 'tf32': 4, 'fp16': 2, 'bf16': 2, 'amp': 2, 'int8': 1}
"""Precision to bytes of a number. ``amp`` is PyTorch's autocast: float16, norms and softmax in float32."""

GPU_TILES = ((128, 128, 1.0), (128, 64, 0.9), (64, 64, 0.8), (128, 32, 0.75), (32, 32, 0.6))
"""Rows and columns of the block of the output that one processor makes at a time, and its speed over the largest's.
Kernels for small products have small blocks, which reuse less of what they load."""

CPU_TILES = ((8, 16, 1.0),)
"""The same for a core with vectors of 16 numbers."""


@dataclasses.dataclass(frozen=True)
class Device:
    """A processor, as its data sheet describes it.

    Attributes:
        title: Its name in tables.
        matrix: Precision to the peak of its matrix units (tensor cores), 10^12 operations a second, without sparsity.
        vector: The same of its other arithmetic units, which run depthwise convolutions.
        bandwidth: Memory bandwidth, 10^9 bytes a second.
        cache: Last level of cache, MiB.
        cache_bandwidth: Bandwidth of that cache, 10^9 bytes a second.
        processors: Streaming multiprocessors, or cores.
        tiles: Blocks of the output that a processor makes at a time: see :data:`GPU_TILES`.
        source: Where the figures come from.
    """

    title: str
    matrix: Mapping[str, float]
    vector: Mapping[str, float]
    bandwidth: float
    cache: float
    cache_bandwidth: float
    processors: int
    source: str
    tiles: tuple[tuple[int, int, float], ...] = GPU_TILES

    def peak(self, precision: str, matrix: bool = True) -> float:
        """Operations a second in a precision.

        Raises:
            ConfigError: If the device does not compute in it.
        """
        found = (self.matrix if matrix else self.vector).get('fp16' if precision == 'amp' else precision)
        if found is None:
            raise ConfigError(
                f'No peak of {self.title} in {precision} is known.',
                expected=', '.join(self.precisions),
                fix='name another precision, or add the figure to mmtrtvit/roofline/devices.py',
            )
        return found * 1e12

    @property
    def precisions(self) -> list[str]:
        """Precisions that it computes in."""
        return [name for name in WIDTH if ('fp16' if name == 'amp' else name) in self.matrix]


def _gpu_vector(fp32: float, fp16: float | None = None) -> dict[str, float]:
    """Peaks of the units beside the tensor cores; INT8 is computed at the rate of float16."""
    half = fp16 or fp32
    return dict(fp32=fp32, tf32=fp32, fp16=half, bf16=half, int8=half)


_ESTIMATE = 'the bandwidth of its cache is an estimate: about that of GPUs of its generation in public microbenchmarks'

DEVICES: dict[str, Device] = {
    't4': Device(
        title='T4',
        matrix=dict(fp32=8.1, fp16=65, int8=130),
        vector=_gpu_vector(8.1, 16.2),
        bandwidth=320,
        cache=4,
        cache_bandwidth=1270,
        processors=40,
        source='NVIDIA T4 data sheet; Turing whitepaper; cache: Jia et al., arXiv:1903.07486',
    ),
    'a10': Device(
        title='A10',
        matrix=dict(fp32=31.2, tf32=62.5, fp16=125, bf16=125, int8=250),
        vector=_gpu_vector(31.2),
        bandwidth=600,
        cache=6,
        cache_bandwidth=2000,
        processors=72,
        source=f'NVIDIA A10 data sheet; GA102 whitepaper; {_ESTIMATE}',
    ),
    'l4': Device(
        title='L4',
        matrix=dict(fp32=30.3, tf32=60, fp16=121, bf16=121, int8=242),
        vector=_gpu_vector(30.3),
        bandwidth=300,
        cache=48,
        cache_bandwidth=2000,
        processors=58,
        source=f'NVIDIA L4 data sheet (half of its figures with sparsity); Ada whitepaper; {_ESTIMATE}',
    ),
    'a100': Device(
        title='A100 80 GB SXM',
        matrix=dict(fp32=19.5, tf32=156, fp16=312, bf16=312, int8=624),
        vector=_gpu_vector(19.5, 78),
        bandwidth=2039,
        cache=40,
        cache_bandwidth=5000,
        processors=108,
        source=f'NVIDIA A100 data sheet; Ampere whitepaper; {_ESTIMATE}',
    ),
    'h100': Device(
        title='H100 SXM',
        matrix=dict(fp32=67, tf32=494, fp16=989, bf16=989, int8=1979),
        vector=_gpu_vector(67, 134),
        bandwidth=3350,
        cache=50,
        cache_bandwidth=5500,
        processors=132,
        source=f'NVIDIA H100 data sheet (half of its figures with sparsity); Hopper whitepaper; {_ESTIMATE}',
    ),
    'orin': Device(
        title='Jetson AGX Orin 64 GB',
        matrix=dict(fp32=5.3, tf32=21, fp16=42.5, bf16=42.5, int8=85),
        vector=_gpu_vector(5.3, 10.6),
        bandwidth=204.8,
        cache=4,
        cache_bandwidth=600,
        processors=16,
        source=f'Jetson AGX Orin technical brief (GPU without DLA, half of its figures with sparsity); {_ESTIMATE}',
    ),
    'rtx4090': Device(
        title='RTX 4090',
        matrix=dict(fp32=82.6, tf32=82.6, fp16=165.2, bf16=165.2, int8=660.6),
        vector=_gpu_vector(82.6),
        bandwidth=1008,
        cache=72,
        cache_bandwidth=5000,
        processors=128,
        source=f'NVIDIA Ada whitepaper (FP16 with FP32 accumulation); {_ESTIMATE}',
    ),
    'rtx5090': Device(
        title='RTX 5090',
        matrix=dict(fp32=104.8, tf32=104.8, fp16=209.5, bf16=209.5, int8=838),
        vector=_gpu_vector(104.8),
        bandwidth=1792,
        cache=96,
        cache_bandwidth=7000,
        processors=170,
        source=f'NVIDIA RTX Blackwell whitepaper (FP16 with FP32 accumulation); {_ESTIMATE}',
    ),
}
"""Devices by name."""
