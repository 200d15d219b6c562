"""Measuring: complexity, latency, and what the figures were measured on."""

from .backbones import benchmark_backbones, export_backbone
from .complexity import Complexity, backbone_complexity, count_complexity, detector_complexity
from .latency import Latency, machine, measure, ratio

__all__ = [
    'Complexity',
    'Latency',
    'backbone_complexity',
    'benchmark_backbones',
    'count_complexity',
    'detector_complexity',
    'export_backbone',
    'machine',
    'measure',
    'ratio',
]
