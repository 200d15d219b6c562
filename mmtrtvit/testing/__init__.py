"""Random inputs and untrained networks to test and measure with."""

from .random_inputs import random_batch
from .untrained import save_spread, spread_outputs, untrained_options

__all__ = ['random_batch', 'save_spread', 'spread_outputs', 'untrained_options']
