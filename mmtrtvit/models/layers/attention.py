"""Multi-head self-attention in a form for training and a form for export."""

import torch
import torch.nn as nn
import torch.nn.functional as F

from ...errors import ConfigError


class FusedAttention(nn.Module):
    """Training form: PyTorch's fused ``softmax(q k^T / sqrt(d) + bias) v``.

    Shape:
        q: ``(B, heads, N, d)``, k: ``(B, heads, M, d)``, v: ``(B, heads, M, e)``, bias, if any: broadcastable to
        ``(B, heads, N, M)`` -> ``(B, heads, N, e)``
    """

    def forward(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


class ExplicitAttention(nn.Module):
    """Export form: two matrix products and a softmax, which every inference engine recognises.

    ``1 / sqrt(d)`` is expected to be in ``q`` already.

    Shape:
        As :class:`FusedAttention`.
    """

    def forward(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        logits = q @ k.transpose(-2, -1)
        return (logits if bias is None else logits + bias).softmax(dim=-1) @ v


class MultiHeadSelfAttention(nn.Module):
    """Multi-head self-attention over all tokens.

    Args:
        dim: Channels ``C``, a multiple of ``head_dim``.
        head_dim: Channels of one head.

    Shape:
        ``(B, N, C) -> (B, N, C)``

    Raises:
        ConfigError: If ``dim`` is not a positive multiple of ``head_dim``.
    """

    def __init__(self, dim: int, head_dim: int = 32) -> None:
        super().__init__()
        if head_dim < 1 or dim < 1 or dim % head_dim:
            raise ConfigError(
                f'Self-attention on {dim} channels with heads of {head_dim}.',
                expected='heads of 1 channel or more, and a number of channels that is a multiple of them',
                fix='change `widths` or `shrink_ratio` of the arch, or `head_dim`',
            )
        self.heads = dim // head_dim
        self.head_dim = head_dim
        self.qkv = nn.Linear(dim, 3 * dim)
        self.attend = FusedAttention()
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            part.unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1)
        )
        return self.proj(self.attend(q, k, v).transpose(1, 2).flatten(2))

    @torch.no_grad()
    def switch_to_deploy(self) -> None:
        """Replace the fused attention by the explicit one and fold ``1 / sqrt(d)`` into the queries."""
        if isinstance(self.attend, ExplicitAttention):
            return
        queries = self.heads * self.head_dim
        scale = self.head_dim**-0.5
        self.qkv.weight[:queries].mul_(scale)
        self.qkv.bias[:queries].mul_(scale)
        self.attend = ExplicitAttention()
