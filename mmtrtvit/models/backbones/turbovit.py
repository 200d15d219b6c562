"""TurboViT: Generating Fast Vision Transformers via Generative Architecture Search (Wong et al., arXiv:2308.11421).

The paper searches among hierarchical Vision Transformers of mask unit attention and Q-pooling, the building blocks
of Hiera (Ryali et al., arXiv:2306.00989): attention inside squares of tokens in the early stages, over all tokens in
the late ones, and between stages queries that are max-pooled before attention.

The architecture that the search found is published only as a figure, without widths, depths, heads or code.
:data:`ARCH_SETTINGS` holds a stand-in of the size that follows from the paper's comparisons (12.7 M parameters, about
2.2 G multiply-accumulates), RECONSTRUCTED with Hiera's own rules. It is not the searched network.

Inputs may have any size. Local attention pads a map to whole mask units and masks the padding, so no token ever attends
to it; the queries' pooling and attention over all tokens see real tokens only.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath

from ...errors import ConfigError
from ...registry import MODELS
from ..layers import QKV, ExplicitAttention, FusedAttention, LastSize, tent_weights
from .base import PyramidBackbone

ARCH_SETTINGS: dict[str, dict] = {
    'base': dict(
        widths=(64, 128, 256, 512),
        depths=(1, 2, 7, 2),
        heads=(1, 2, 4, 8),
        mask_units=(8, 4, 0, 0),
        provenance='reconstructed from derived totals: 12.7 M, about 2.2 G; a stand-in, not the searched architecture',
    ),
}
"""Widths, depths, heads and sides of the mask units (in tokens, 0 for attention over all) of the four stages."""

POOL = 2
"""Side in tokens of the squares that Q-pooling merges into one token, at the start of every stage but the first."""

_EPS = 1e-6
"""Epsilon of every LayerNorm, as in Hiera."""


def pool_tokens(x: torch.Tensor) -> torch.Tensor:
    """Maximum over 2x2 tokens; at an odd end, over those that are there.

    Shape:
        ``(B, H, W, C) -> (B, ceil(H / 2), ceil(W / 2), C)``
    """
    return F.max_pool2d(x.permute(0, 3, 1, 2), POOL, ceil_mode=True).permute(0, 2, 3, 1)


def as_map(tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Rows of tokens as a map: ``(B, H * W, ...) -> (B, H, W, ...)``."""
    # not unflatten(): PyTorch's exporter would take the batch and the size of the traced image for the only ones
    return tokens.reshape(tokens.shape[0], height, width, *tokens.shape[2:])


def _lacking(length: int, side: int) -> int:
    """Tokens that ``length`` lacks to the next multiple of ``side``."""
    return (side - length % side) % side


def pad_to_units(x: torch.Tensor, side: int, value: float = 0.0) -> torch.Tensor:
    """Pad a map at its bottom and right to whole mask units.

    Shape:
        ``(B, H, W, ...) -> (B, H', W', ...)``, ``H'`` and ``W'`` the next multiples of ``side``
    """
    down, right = _lacking(x.shape[1], side), _lacking(x.shape[2], side)
    # A recorded graph serves sizes that need padding too: it always pads, mostly by nothing.
    if not (torch.jit.is_tracing() or down or right):
        return x
    return F.pad(x, (0, 0) * (x.dim() - 3) + (0, right, 0, down), value=value)


def split_units(x: torch.Tensor, side: int) -> torch.Tensor:
    """Split both sides of a map into mask units.

    Shape:
        ``(B, H, W, heads, ...) -> (B, H / side, W / side, heads, side, side, ...)``
    """
    units = x.unflatten(2, (-1, side)).unflatten(1, (-1, side))
    return units.permute(0, 1, 3, 5, 2, 4, *range(6, units.dim()))


class MaskUnitAttention(nn.Module):
    """Multi-head self-attention inside mask units, or over all tokens, with or without Q-pooling.

    Args:
        dim: Channels of the input.
        dim_out: Channels of the output, a multiple of ``heads``.
        heads: Number of heads.
        side: Side of a mask unit in tokens, before pooling; 0 for attention over all tokens.
        pool: Max-pool the queries 2x2: the output has half the resolution.

    Shape:
        ``(B, H * W, dim)`` and ``H``, ``W`` -> ``(B, H * W, dim_out)``, with ``pool``
        ``(B, ceil(H / 2) * ceil(W / 2), dim_out)``
    """

    def __init__(self, dim: int, dim_out: int, heads: int, side: int, pool: bool) -> None:
        super().__init__()
        self.heads = heads
        self.side = side
        self.pool = pool
        self.qkv = QKV(dim, heads, [dim_out // heads] * 3)
        self.attend = FusedAttention()
        self.proj = nn.Linear(dim_out, dim_out)

    def _mask(self, x: torch.Tensor) -> torch.Tensor | None:
        """0 for real tokens and -inf for padding: ``(1, nh * nw * heads, 1, tokens of a unit)``; None without padding.

        Each unit has a real token, so no row of the softmax is masked as a whole.

        Args:
            x: ``(B, H, W, heads, ...)``
        """
        real = x.new_zeros((1, x.shape[1], x.shape[2], self.heads))
        padded = pad_to_units(real, self.side, value=float('-inf'))
        return None if padded is real else split_units(padded, self.side).flatten(4).flatten(1, 3)[:, :, None]

    def _pooled(self, q: torch.Tensor) -> torch.Tensor:
        """The queries, a map ``(B, H, W, heads, channels)``, with half the resolution if they are pooled."""
        if not self.pool:
            return q
        pooled = pool_tokens(q.flatten(3))
        return pooled.reshape(*pooled.shape[:3], self.heads, pooled.shape[3] // self.heads)

    def _attend_inside_units(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Attention of maps ``(B, H, W, heads, channels)``: ``(B, tokens, heads * channels)``, as many as in ``q``."""
        height, width = q.shape[1], q.shape[2]
        mask = self._mask(k)
        side = self.side // POOL if self.pool else self.side
        q, k, v = (
            split_units(pad_to_units(part, given), given) for part, given in ((q, side), (k, self.side), (v, self.side))
        )
        # Units are to attention what heads are: (B, units * heads, tokens, channels).
        mixed = self.attend(*(part.flatten(4, 5).flatten(1, 3) for part in (q, k, v)), mask)
        mixed = mixed.reshape_as(q).permute(0, 1, 4, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4).flatten(1, 2)
        return mixed[:, :height, :width].flatten(1, 2)

    def forward(self, x: torch.Tensor, height: int, width: int) -> torch.Tensor:
        q, k, v = self.qkv.of_heads(x)
        if self.side:
            q, k, v = (as_map(part, height, width) for part in (q, k, v))
            return self.proj(self._attend_inside_units(self._pooled(q), k, v))
        if self.pool:
            q = self._pooled(as_map(q, height, width)).flatten(1, 2)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        return self.proj(self.attend(q, k, v).transpose(1, 2).flatten(2))

    def switch_to_deploy(self) -> None:
        """Replace the fused attention by the explicit one, and queries, keys and values by layers of their own.

        The factor of the queries is positive: it may go before their maximum.
        """
        if isinstance(self.qkv, QKV):
            self.qkv, self.attend = self.qkv.separate(), ExplicitAttention()


class MaskUnitBlock(nn.Module):
    """Transformer block of Hiera: attention, then an MLP, each around a shortcut, norms first.

    With ``pool`` the shortcut around attention is the max-pooled projection of the normed input.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        heads, side, pool: As in :class:`MaskUnitAttention`.
        mlp_ratio: Hidden channels of the MLP over ``out_channels``.
        drop_path: Probability of dropping each residual branch, per sample.

    Shape:
        ``(B, H, W, in_channels) -> (B, H, W, out_channels)``, with ``pool``
        ``(B, ceil(H / 2), ceil(W / 2), out_channels)``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        heads: int,
        side: int,
        pool: bool,
        mlp_ratio: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        hidden = int(out_channels * mlp_ratio)
        self.norm1 = nn.LayerNorm(in_channels, eps=_EPS)
        self.shortcut = nn.Linear(in_channels, out_channels) if pool else None
        self.attn = MaskUnitAttention(in_channels, out_channels, heads, side, pool)
        self.norm2 = nn.LayerNorm(out_channels, eps=_EPS)
        self.mlp = nn.Sequential(nn.Linear(out_channels, hidden), nn.GELU(), nn.Linear(hidden, out_channels))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Rows of tokens: with four dimensions, OpenVINO takes the tokens for images and copies them around every norm.
        height, width = x.shape[1], x.shape[2]
        normed = self.norm1(x.flatten(1, 2))
        if self.shortcut is not None:
            x = pool_tokens(as_map(self.shortcut(normed), height, width))
        tokens = x.flatten(1, 2)
        tokens = tokens + self.drop_path(self.attn(normed, height, width))
        tokens = tokens + self.drop_path(self.mlp(self.norm2(tokens)))
        return tokens.reshape_as(x)


class PatchEmbedding(nn.Module):
    """Tokens of 4x4 pixels from a 7x7 convolution, with a learned position embedding.

    For any other number of tokens the embedding is interpolated linearly, aligned by the centres of tokens.

    Args:
        dim: Channels ``C``.
        resolution: Side in tokens of the map that the position embedding is learned for.

    Shape:
        ``(B, 3, H, W) -> (B, ceil(H / 4), ceil(W / 4), C)``
    """

    def __init__(self, dim: int, resolution: int) -> None:
        super().__init__()
        self.resolution = resolution
        self.conv = nn.Conv2d(3, dim, 7, stride=4, padding=3)
        self.position = nn.Parameter(torch.zeros(1, resolution * resolution, dim))
        self.last_size = LastSize()

    def train(self, mode: bool = True) -> 'PatchEmbedding':
        self.last_size.clear()
        return super().train(mode)

    def _weights(self, length: int) -> torch.Tensor:
        """Weights of the learned tokens for those along one side: ``(length, resolution)``."""
        dtype = torch.promote_types(self.position.dtype, torch.float32)
        place = torch.arange(length, dtype=dtype, device=self.position.device)
        centre = (place + 0.5) * self.resolution / (place[-1] + 1) - 0.5
        return tent_weights(centre.clamp(0, self.resolution - 1), self.resolution).to(self.position.dtype)

    def embedding(self, height: int, width: int) -> torch.Tensor:
        """The position embedding for a number of tokens: ``(H, W, C)``."""
        learned = self.position[0].unflatten(0, (self.resolution, self.resolution))
        if not torch.jit.is_tracing() and (height, width) == (self.resolution, self.resolution):
            return learned
        rows = (self._weights(height) @ learned.flatten(1)).unflatten(1, (self.resolution, -1))
        return self._weights(width) @ rows

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x).permute(0, 2, 3, 1)
        height, width = x.shape[1], x.shape[2]
        return x + self.last_size.get(
            self.position, (height, width, x.dtype), lambda: self.embedding(height, width).to(x.dtype)
        )


@MODELS.register_module()
class TurboViT(PyramidBackbone):
    """TurboViT (arXiv:2308.11421), a stand-in of its size: reconstructed, see :data:`ARCH_SETTINGS`.

    Args:
        arch: ``'base'``, or a dict with ``widths``, ``depths``, ``heads`` and ``mask_units`` of the four stages. A
            mask unit is given by its side in tokens, 0 for attention over all tokens. As in Hiera, the first block
            of a stage, which pools the queries, still attends inside the units of the stage before it.
        resolution: Side in tokens of the map that the position embedding is learned for, a quarter of the side in
            pixels of the images of pretraining. Any resolution serves any input size.
        mlp_ratio: Hidden channels of the MLPs over their channels.
        drop_path_rate: Stochastic depth of the last block, rising linearly from 0 in the first one.
        final_norm: The form for classification: a LayerNorm on the map of the last stage, as the classifier needs
            it, in place of the LayerNorm on every map that dense prediction has.
        out_indices, frozen_stages, norm_eval, with_cp, init_cfg: As in :class:`PyramidBackbone`. The
            network has no BatchNorm, so ``norm_eval`` changes nothing.

    Shape:
        ``(B, 3, H, W)`` -> tuple of ``(B, widths[i], ceil(H / s), ceil(W / s))``, ``s`` = 4, 8, 16, 32.

    Example:
        >>> import torch
        >>> from mmtrtvit.models import TurboViT
        >>> backbone = TurboViT()
        >>> [tuple(y.shape) for y in backbone(torch.rand(1, 3, 224, 224))]
        [(1, 64, 56, 56), (1, 128, 28, 28), (1, 256, 14, 14), (1, 512, 7, 7)]
    """

    arch_settings = ARCH_SETTINGS
    arch_keys = ('widths', 'depths', 'heads', 'mask_units')
    integer_keys = ('widths', 'depths', 'heads')
    initialisers = (
        dict(type='TruncNormal', layer=['Conv2d', 'Linear'], std=0.02),
        dict(type='Constant', layer='LayerNorm', val=1.0),
    )
    new_parts = ('output_norms',)

    def __init__(
        self,
        arch: str | Mapping = 'base',
        resolution: int = 56,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        final_norm: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(arch, out_indices, frozen_stages, norm_eval, with_cp, init_cfg=init_cfg)
        if not isinstance(resolution, int) or resolution < 1:
            raise ConfigError(
                f'TurboViT(resolution={resolution!r}).',
                expected='the tokens a side that the position embedding is learned for, 1 or more',
                fix='correct `resolution` in the backbone of the config',
            )
        self._check_arch()
        widths, heads, mask_units = (self.arch[key] for key in ('widths', 'heads', 'mask_units'))

        def build_block(stage: int, place: int, stride: int, **settings: Any) -> nn.Module:
            pool = stride == POOL
            side = mask_units[stage - 1 if pool else stage]
            return MaskUnitBlock(**settings, heads=heads[stage], side=side, pool=pool, mlp_ratio=mlp_ratio)

        self.stem = PatchEmbedding(widths[0], resolution)
        self.stages = self._build_stages(widths[0], drop_path_rate, build_block)
        self.output_norms = nn.ModuleDict(
            {} if final_norm else {str(index): nn.LayerNorm(widths[index], eps=_EPS) for index in self.out_indices}
        )
        self.final_norm = nn.LayerNorm(self.out_channels[-1], eps=_EPS) if final_norm else nn.Identity()
        self.freeze()

    def _is_right(self, key: str, values: object) -> bool:
        right = super()._is_right(key, values)
        return right and (key != 'mask_units' or all(isinstance(value, int) and value >= 0 for value in values))

    def _check_arch(self) -> None:
        """Make sure that heads divide the widths, and Q-pooling the mask units before it.

        Raises:
            ConfigError: If they do not.
        """
        for stage, (width, heads) in enumerate(zip(self.arch['widths'], self.arch['heads'], strict=True)):
            if width % heads:
                raise ConfigError(
                    f'TurboViT: {width} channels with {heads} heads in stage {stage}.',
                    expected='a number of channels that is a multiple of the heads',
                    fix='correct `widths` or `heads` of the arch',
                )
        for stage, side in enumerate(self.arch['mask_units'][:-1]):
            if side % POOL:
                raise ConfigError(
                    f'TurboViT: mask units of {side} x {side} tokens in stage {stage}, whose queries are pooled 2 x 2.',
                    expected='an even number of tokens a side, or 0 for attention over all tokens',
                    fix='correct `mask_units` of the arch',
                )

    def init_blocks(self) -> None:
        nn.init.trunc_normal_(self.stem.position, std=0.02)

    def output(self, index: int, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(1, 2)
        tokens = self.output_norms[str(index)](tokens) if self.output_norms else tokens
        return super().output(index, tokens).reshape_as(x).permute(0, 3, 1, 2)
