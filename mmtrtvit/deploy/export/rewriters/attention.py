"""Scaled dot-product attention as two matrix products and a softmax."""

import torch
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import IR


@FUNCTION_REWRITER.register_rewriter('torch.nn.functional.scaled_dot_product_attention', ir=IR.ONNX)
def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
):
    """PyTorch's definition of attention. mmdeploy's divides by ``scale`` where it has to multiply.

    Shape:
        query: ``(..., L, d)``, key: ``(..., S, d)``, value: ``(..., S, e)`` -> ``(..., L, e)``. A floating-point
        ``attn_mask`` is added; in a boolean one, True marks the positions that take part.
    """
    if scale is None:
        scale = query.size(-1) ** -0.5
    if enable_gqa:
        groups = query.size(-3) // key.size(-3)
        key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
    logits = (query * scale) @ key.transpose(-2, -1)
    if is_causal:
        attn_mask = torch.ones(query.size(-2), key.size(-2), dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None:
        logits = logits.masked_fill(~attn_mask, float('-inf')) if attn_mask.dtype == torch.bool else logits + attn_mask
    return logits.softmax(-1) @ value
