"""Rewriters registered with mmdeploy: operators and heads in a form that gives PyTorch's own result."""

from . import adaptive_avg_pool, attention, bbox_head, layer_norm, rpn_head, two_stage

__all__ = ['adaptive_avg_pool', 'attention', 'bbox_head', 'layer_norm', 'rpn_head', 'two_stage']
