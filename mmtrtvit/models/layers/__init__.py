"""Layers that more than one backbone uses."""

from .attention import QKV, ExplicitAttention, FusedAttention, MultiHeadSelfAttention
from .fold import ChannelAffine, fold_batch_norms, fold_conv_module, fold_into_next, replace_batch_norms
from .interpolate import tent_weights
from .last_size import LastSize
from .layer_scale import LayerScale
from .projection import Projection
from .recompute import recompute_in_backward

__all__ = [
    'QKV',
    'ChannelAffine',
    'ExplicitAttention',
    'FusedAttention',
    'LastSize',
    'LayerScale',
    'MultiHeadSelfAttention',
    'Projection',
    'fold_batch_norms',
    'fold_conv_module',
    'fold_into_next',
    'recompute_in_backward',
    'replace_batch_norms',
    'tent_weights',
]
