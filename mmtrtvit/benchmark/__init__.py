"""Measuring: complexity, latency, the cost of training, and the machine behind the figures."""

from ..latency import Latency, measure, ratio
from ..machine import machine
from ..testing.random_inputs import random_batch
from ..zoo.complexity import (
    Complexity,
    NetworkComplexity,
    backbone_complexity,
    count_complexity,
    network_complexity,
    with_backbone,
)
from .sources import export_backbone
from .speed import benchmark_backbone, benchmark_end_to_end, benchmark_engine, benchmark_network, benchmark_onnx
from .suite import benchmark_suite
from .training import benchmark_training

__all__ = [
    'Complexity',
    'Latency',
    'NetworkComplexity',
    'backbone_complexity',
    'benchmark_backbone',
    'benchmark_end_to_end',
    'benchmark_engine',
    'benchmark_network',
    'benchmark_onnx',
    'benchmark_suite',
    'benchmark_training',
    'count_complexity',
    'export_backbone',
    'machine',
    'measure',
    'network_complexity',
    'random_batch',
    'ratio',
    'with_backbone',
]
