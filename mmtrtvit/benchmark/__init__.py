"""Measuring: latency, and what the figures were measured on."""

from .latency import Latency, machine, measure, ratio

__all__ = ['Latency', 'machine', 'measure', 'ratio']
