"""TensorRT and TensorRT for RTX."""

from .support import TENSORRT, TENSORRT_RTX

__all__ = ['TENSORRT', 'TENSORRT_RTX']
