"""Rewriters registered with mmdeploy: operators and heads in a form that gives PyTorch's own result."""

from . import (
    adaptive_avg_pool,
    attention,
    bbox_head,
    dense_head,
    grid_sample,
    layer_norm,
    mask_head,
    roi_extractor,
    rpn_head,
    single_stage,
    two_stage,
    upsample,
)

__all__ = [
    'adaptive_avg_pool',
    'attention',
    'bbox_head',
    'dense_head',
    'grid_sample',
    'layer_norm',
    'mask_head',
    'roi_extractor',
    'rpn_head',
    'single_stage',
    'two_stage',
    'upsample',
]
