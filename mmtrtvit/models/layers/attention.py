"""Multi-head self-attention in a form for training and a form for export."""

from collections.abc import Sequence

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

    ``1 / sqrt(d)`` is expected to be in ``q`` already. Where no graph is recorded, PyTorch's fused kernel does the same
    without the matrix of scores, which takes most of the time of large images; it needs ``d`` and ``e`` to be equal.

    Shape:
        As :class:`FusedAttention`.
    """

    def forward(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        # on the meta device, networks are counted, by their matrix products
        if not torch.jit.is_tracing() and not q.is_meta and q.shape[-1] == v.shape[-1]:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
        logits = q @ k.transpose(-2, -1)
        return (logits if bias is None else logits + bias).softmax(dim=-1) @ v


class QKV(nn.Linear):
    """Training form of queries, keys and values: one linear layer, as checkpoints hold it.

    Like that of any linear layer its output is one tensor, ``(..., C)``; :meth:`of_heads` gives the three parts.

    Args:
        dim: Channels of the input.
        heads: Number of heads.
        sizes: Channels of queries, keys and values of one head.
        head_first: Whether the output has these three for one head after the other, as in EfficientFormer. By default
            it has the queries of all heads, then all keys, then all values.
    """

    def __init__(self, dim: int, heads: int, sizes: Sequence[int], head_first: bool = False) -> None:
        super().__init__(dim, heads * sum(sizes))
        self.heads, self.sizes, self.head_first = heads, list(sizes), head_first

    def _parts(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The channels of the last dimension as those of queries, keys and values: ``(..., heads, size)``."""
        if self.head_first:
            return list(x.unflatten(-1, (self.heads, -1)).split(self.sizes, dim=-1))
        parts = x.split([self.heads * size for size in self.sizes], dim=-1)
        return [part.unflatten(-1, (self.heads, -1)) for part in parts]

    def of_heads(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Queries, keys and values: ``(..., dim)`` to three of ``(..., heads, size)``."""
        return tuple(self._parts(self(x)))

    @torch.no_grad()
    def separate(self) -> 'SeparateQKV':
        """The export form of this layer, with ``1 / sqrt(size)`` of the queries in its weights."""
        weights, biases = self._parts(self.weight.T), self._parts(self.bias)
        factors = self.sizes[0] ** -0.5, 1.0, 1.0
        return SeparateQKV(
            self.heads,
            [
                (weight.flatten(-2).T * factor, bias.flatten() * factor)
                for weight, bias, factor in zip(weights, biases, factors, strict=True)
            ],
        )


class SeparateQKV(nn.Module):
    """Export form: a linear layer for each, so that no engine copies the parts of one output to split it.

    Args:
        heads: Number of heads.
        layers: Weight and bias of queries, keys and values.

    Shape:
        ``(..., dim)`` -> three of ``(..., heads, size)``
    """

    def __init__(self, heads: int, layers: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (self._linear(*layer) for layer in layers)

    @staticmethod
    def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
        layer = nn.Linear(weight.shape[1], weight.shape[0], device='meta')
        layer.weight, layer.bias = nn.Parameter(weight.contiguous()), nn.Parameter(bias.contiguous())
        return layer

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        # not unflatten(): PyTorch's exporter would take the sizes of the traced image for the only ones
        return tuple(
            layer(x).reshape(*x.shape[:-1], self.heads, layer.out_features // self.heads)
            for layer in (self.q, self.k, self.v)
        )

    def of_heads(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """As :meth:`QKV.of_heads`."""
        return self(x)


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
        heads = dim // head_dim
        self.qkv = QKV(dim, heads, [head_dim] * 3)
        self.attend = FusedAttention()
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (part.transpose(1, 2) for part in self.qkv.of_heads(x))
        return self.proj(self.attend(q, k, v).transpose(1, 2).flatten(2))

    def switch_to_deploy(self) -> None:
        """Replace the fused attention by the explicit one, and queries, keys and values by layers of their own."""
        if isinstance(self.qkv, QKV):
            self.qkv, self.attend = self.qkv.separate(), ExplicitAttention()
