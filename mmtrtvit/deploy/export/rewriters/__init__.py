"""Rewriters registered with mmdeploy: exportable forms of operators and heads that give the same results as PyTorch."""

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
