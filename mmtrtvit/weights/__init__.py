"""Weights of other implementations under the names of ours."""

from .names import Renamed, Rule, rename

__all__ = ['Renamed', 'Rule', 'rename']
