"""Layers that more than one backbone uses."""

from .attention import ExplicitAttention, FusedAttention, MultiHeadSelfAttention
from .fold import ChannelAffine, fold_batch_norms, fold_conv_module
from .recompute import recompute_in_backward

__all__ = [
    'ChannelAffine',
    'ExplicitAttention',
    'FusedAttention',
    'MultiHeadSelfAttention',
    'fold_batch_norms',
    'fold_conv_module',
    'recompute_in_backward',
]
