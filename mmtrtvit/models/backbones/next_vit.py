"""Next-ViT: Next Generation Vision Transformer (Li et al., arXiv:2207.05501).

A pyramid of two blocks. The Next Convolution Block (NCB) is a MetaFormer block whose token mixer is a grouped
convolution (MHCA); the Next Transformer Block (NTB) lets self-attention with pooled keys and values (E-MHSA) catch low
frequencies, then MHCA on its result the high ones, and mixes the two. By the Next Hybrid Strategy every stage but the
first is groups of NCBs that end with one NTB. Norms are BatchNorms throughout, so that all of them can be folded.

Official code, checkpoints and logs: https://github.com/bytedance/Next-ViT (Apache-2.0).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_norm_layer
from mmcv.cnn.bricks import DropPath

from ...errors import ConfigError
from ...registry import MODELS
from ..layers import ExplicitAttention, FusedAttention, Projection, fold_into_next
from .base import PyramidBackbone

ARCH_SETTINGS: dict[str, dict] = {
    name: dict(
        widths=(96, 192, 384, 768),
        ntb_widths=(96, 256, 512, 1024),
        depths=(3, 4, 5 * groups, 3),
        block_types=('C', 'CCCT', 'CCCCT' * groups, 'CCT'),
        provenance='published: arXiv:2207.05501, section 3.5, and the official code (commit 922e771)',
    )
    for name, groups in {'s': 2, 'b': 4, 'l': 6}.items()
}
"""Channels of NCBs and of NTBs, depths and block types of the four stages, with where they come from."""


class TokenPool(nn.Module):
    """Average over each ``ratio * ratio`` pixels that follow each other in row-major order: the official pooling.

    The official ``AvgPool1d`` leaves out the pixels that do not fill a last window, and fails on a map of fewer than
    ``ratio * ratio``. Here the last window holds what is left, so every pixel counts and the result is never empty. The
    two are the same wherever ``H * W`` is a multiple of ``ratio * ratio``: with the published ratios, for all inputs
    whose sides are multiples of 32.

    Args:
        ratio: Square root of the number of pixels that are averaged.

    Shape:
        ``(B, C, H, W) -> (B, C, 1, ceil(H * W / ratio^2))``
    """

    def __init__(self, ratio: int) -> None:
        super().__init__()
        self.window = (1, ratio * ratio)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(x.flatten(2).unsqueeze(2), self.window, ceil_mode=True, count_include_pad=False)


class WindowPool(nn.AvgPool2d):
    """Average over windows of ``ratio x ratio`` pixels; those at the right and lower border hold what is left.

    The paper describes this pooling. Checkpoints that were trained with :class:`TokenPool` need that one, though names
    and shapes are the same.

    Args:
        ratio: Side of a window.

    Shape:
        ``(B, C, H, W) -> (B, C, ceil(H / ratio), ceil(W / ratio))``
    """

    def __init__(self, ratio: int) -> None:
        super().__init__(ratio, ratio, ceil_mode=True, count_include_pad=False)


KV_POOLS: dict[str, type[nn.Module]] = {'tokens': TokenPool, 'windows': WindowPool}
"""Poolings of E-MHSA's keys and values, by the names that configs use."""


class MHCA(nn.Sequential):
    """Multi-Head Convolutional Attention: 3x3 convolution in groups of one head, norm, ReLU, 1x1 convolution.

    Shape:
        ``(B, channels, H, W) -> (B, channels, H, W)``
    """

    def __init__(self, channels: int, head_dim: int, norm_cfg: dict) -> None:
        super().__init__(
            ConvModule(channels, channels, 3, padding=1, groups=channels // head_dim, norm_cfg=norm_cfg),
            nn.Conv2d(channels, channels, 1, bias=False),
        )


class EMHSA(nn.Module):
    """Efficient Multi-Head Self-Attention of a pre-norm block: keys and values come from a pooled and normed map.

    Args:
        channels: Channels, a multiple of ``head_dim``.
        head_dim: Channels of one head.
        ratio: Each key and value stands for ``ratio * ratio`` pixels; 1 leaves pooling and its norm out.
        kv_pool: A name in :data:`KV_POOLS`.
        norm_cfg: The norm before attention, and that of the pooled map.

    Shape:
        ``(B, channels, H, W) -> (B, channels, H, W)``
    """

    def __init__(self, channels: int, head_dim: int, ratio: int, kv_pool: str, norm_cfg: dict) -> None:
        super().__init__()
        self.heads = (channels // head_dim, head_dim)
        self.norm = build_norm_layer(norm_cfg, channels)[1]
        self.q = nn.Linear(channels, channels)
        self.kv_pool = KV_POOLS[kv_pool](ratio) if ratio > 1 else nn.Identity()
        self.kv_norm = build_norm_layer(norm_cfg, channels)[1] if ratio > 1 else nn.Identity()
        self.k = nn.Linear(channels, channels)
        self.v = nn.Linear(channels, channels)
        self.attend = FusedAttention()
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        tokens = x.flatten(2).transpose(1, 2)
        pooled = self.kv_norm(self.kv_pool(x)).flatten(2).transpose(1, 2)
        q, k, v = (
            part.unflatten(-1, self.heads).transpose(1, 2) for part in (self.q(tokens), self.k(pooled), self.v(pooled))
        )
        mixed = self.attend(q, k, v).transpose(1, 2).flatten(2)
        return self.proj(mixed).transpose(1, 2).reshape_as(x)

    @torch.no_grad()
    def switch_to_deploy(self) -> None:
        """Fold both norms and ``1 / sqrt(head_dim)`` into q, k, v, and write attention out."""
        # The inner norm first: folded the other way round, the two would change places.
        self.kv_norm = fold_into_next(self.kv_norm, self.k, self.v)
        self.norm = fold_into_next(self.norm, self.q, self.k, self.v)
        if isinstance(self.attend, FusedAttention):
            scale = self.heads[1] ** -0.5
            self.q.weight.mul_(scale)
            self.q.bias.mul_(scale)
            self.attend = ExplicitAttention()


class MLP(nn.Module):
    """Norm, 1x1 convolution, ReLU, 1x1 convolution.

    Shape:
        ``(B, channels, H, W) -> (B, channels, H, W)``
    """

    def __init__(self, channels: int, ratio: float, norm_cfg: dict) -> None:
        super().__init__()
        hidden = int(channels * ratio)
        self.norm = build_norm_layer(norm_cfg, channels)[1]
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.relu(self.fc1(self.norm(x))))

    def switch_to_deploy(self) -> None:
        """Fold the norm into the first convolution."""
        self.norm = fold_into_next(self.norm, self.fc1)


def patch_embedding(in_channels: int, out_channels: int, stride: int, norm_cfg: dict) -> nn.Module:
    """The projection at the start of a block; nothing where neither channels nor resolution change."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return Projection(in_channels, out_channels, stride, norm_cfg)


class NCB(nn.Module):
    """Next Convolution Block: MHCA, then MLP, each around a shortcut (paper, section 3.2).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, a multiple of ``head_dim``.
        stride: 1, or 2 to halve the resolution.
        head_dim: Channels of one head of MHCA.
        mlp_ratio: Hidden channels of the MLP over ``out_channels``.
        drop_path: Probability of dropping each residual branch, per sample.
        norm_cfg: The norms.

    Shape:
        ``(B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        head_dim: int,
        mlp_ratio: float,
        drop_path: float,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        self.patch_embed = patch_embedding(in_channels, out_channels, stride, norm_cfg)
        self.mhca = MHCA(out_channels, head_dim, norm_cfg)
        self.mlp = MLP(out_channels, mlp_ratio, norm_cfg)
        self.drop_path = DropPath(drop_path)
        self.stage_norm = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch_embed(x)
        x = x + self.drop_path(self.mhca(x))
        x = x + self.drop_path(self.mlp(x))
        return self.stage_norm(x)


class NTB(nn.Module):
    """Next Transformer Block: E-MHSA, MHCA on a projection of its result, both together into an MLP (section 3.3).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, a multiple of ``head_dim``.
        stride: 1, or 2 to halve the resolution.
        head_dim: Channels of one head, of E-MHSA and of MHCA.
        mlp_ratio: Hidden channels of the MLP over ``out_channels``.
        mix_ratio: r, the share of ``out_channels`` that E-MHSA makes, rounded to whole heads; MHCA makes the others.
        kv_ratio: Each key and value of E-MHSA stands for ``kv_ratio * kv_ratio`` pixels.
        kv_pool: Their pooling, a name in :data:`KV_POOLS`.
        drop_path: Probability of dropping the MLP's branch, per sample; E-MHSA's has r times, MHCA's 1 - r times that.
        norm_cfg: The norms.

    Shape:
        ``(B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))``

    Raises:
        ConfigError: If one of the two gets no head.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        head_dim: int,
        mlp_ratio: float,
        mix_ratio: float,
        kv_ratio: int,
        kv_pool: str,
        drop_path: float,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        channels = int(out_channels * mix_ratio / head_dim + 0.5) * head_dim
        rest = out_channels - channels
        if not channels or not rest:
            raise ConfigError(
                f'An NTB of {out_channels} channels: {channels} for E-MHSA, {rest} for MHCA, in heads of {head_dim}.',
                expected='one head or more for each of the two',
                fix='change `ntb_widths` of the arch, `mix_ratio` or `head_dim`',
            )
        self.patch_embed = patch_embedding(in_channels, channels, stride, norm_cfg)
        self.attn = EMHSA(channels, head_dim, kv_ratio, kv_pool, norm_cfg)
        self.proj = Projection(channels, rest, 1, norm_cfg) if rest != channels else nn.Identity()
        self.mhca = MHCA(rest, head_dim, norm_cfg)
        self.mlp = MLP(out_channels, mlp_ratio, norm_cfg)
        self.attn_drop_path = DropPath(drop_path * mix_ratio)
        self.mhca_drop_path = DropPath(drop_path * (1 - mix_ratio))
        self.drop_path = DropPath(drop_path)
        self.stage_norm = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch_embed(x)
        low = x + self.attn_drop_path(self.attn(x))
        high = self.proj(low)
        high = high + self.mhca_drop_path(self.mhca(high))
        x = torch.cat([low, high], dim=1)
        x = x + self.drop_path(self.mlp(x))
        return self.stage_norm(x)


@MODELS.register_module()
class NextViT(PyramidBackbone):
    """Next-ViT (arXiv:2207.05501).

    Args:
        arch: ``'s'``, ``'b'``, ``'l'``, or a dict with ``widths`` (of NCBs), ``ntb_widths`` (of NTBs), ``depths`` and
            ``block_types`` of the four stages. An entry of ``block_types`` is one letter for all blocks of the stage
            or one for each: ``C`` NCB, ``T`` NTB.
        kv_ratios: For each stage, the root of the number of pixels that a key or value of its NTBs stands for.
        kv_pool: Pooling of keys and values: ``'tokens'`` (:class:`TokenPool`), as the official checkpoints and
            timm's have been trained, or ``'windows'`` (:class:`WindowPool`), as the paper has it. The weights have the
            same names and shapes, so no loader can notice the wrong choice.
        mix_ratio: r, the share of an NTB's channels that E-MHSA makes.
        ncb_mlp_ratio: Hidden channels of an NCB's MLP over its channels.
        ntb_mlp_ratio: The same of an NTB's.
        head_dim: Channels of one head, of E-MHSA and of MHCA.
        drop_path_rate: Stochastic depth of the last block, rising linearly from 0 in the first one.
        norm_cfg: All norms. BatchNorm can be folded for deployment, others cannot.
        final_norm: Put a norm on the map of the last stage, as the classifier needs it.
        with_extra_norm: End every stage with a norm, which the next stage reads too, as the official code does for
            segmentation. That of the fourth stage is ``final_norm``, as official checkpoints hold it.
        out_indices, frozen_stages, norm_eval, with_cp, init_cfg: As in :class:`PyramidBackbone`.

    Shape:
        ``(B, 3, H, W)`` -> tuple of ``(B, out_channels[i], ceil(H / s), ceil(W / s))``, ``s`` = 4, 8, 16, 32.

    Example:
        >>> import torch
        >>> from mmtrtvit.models import NextViT
        >>> backbone = NextViT(arch='s')
        >>> [tuple(y.shape) for y in backbone(torch.rand(1, 3, 224, 224))]
        [(1, 96, 56, 56), (1, 256, 28, 28), (1, 512, 14, 14), (1, 1024, 7, 7)]
    """

    arch_settings = ARCH_SETTINGS
    arch_keys = ('widths', 'ntb_widths', 'depths', 'block_types')
    integer_keys = ('widths', 'ntb_widths', 'depths')
    block_letters = ('C', 'T')
    initialisers = (
        dict(type='TruncNormal', layer=['Conv2d', 'Linear'], std=0.02),
        dict(type='Constant', layer=['_BatchNorm', 'GroupNorm'], val=1.0),
    )
    new_parts = ('stage_norm',)

    def __init__(
        self,
        arch: str | Mapping = 's',
        kv_ratios: Sequence[int] = (8, 4, 2, 1),
        kv_pool: str = 'tokens',
        mix_ratio: float = 0.75,
        ncb_mlp_ratio: float = 3.0,
        ntb_mlp_ratio: float = 2.0,
        head_dim: int = 32,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        norm_cfg: dict | None = None,
        final_norm: bool = False,
        with_extra_norm: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(arch, out_indices, frozen_stages, norm_eval, with_cp, norm_cfg, init_cfg)
        self._check_settings(kv_ratios, kv_pool, mix_ratio, head_dim)
        self.kv_pool = kv_pool
        norm_cfg = self.norm_cfg
        types = self._read_block_types()

        def build_block(stage: int, place: int, **settings: Any) -> nn.Module:
            settings = dict(settings, head_dim=head_dim, norm_cfg=norm_cfg)
            if types[stage][place] == 'C':
                return NCB(**settings, mlp_ratio=ncb_mlp_ratio)
            pooling = dict(kv_ratio=kv_ratios[stage], kv_pool=kv_pool)
            return NTB(**settings, **pooling, mlp_ratio=ntb_mlp_ratio, mix_ratio=mix_ratio)

        self.stem = nn.Sequential(
            ConvModule(3, 64, 3, stride=2, padding=1, norm_cfg=norm_cfg),
            ConvModule(64, 32, 3, padding=1, norm_cfg=norm_cfg),
            ConvModule(32, 64, 3, padding=1, norm_cfg=norm_cfg),
            ConvModule(64, 64, 3, stride=2, padding=1, norm_cfg=norm_cfg),
        )
        self.stages = self._build_stages(64, drop_path_rate, build_block)
        if with_extra_norm:
            for stage, width in zip(self.stages[:3], self.stage_widths, strict=False):
                stage[-1].stage_norm = build_norm_layer(norm_cfg, width)[1]
        has_final_norm = final_norm or with_extra_norm and self.num_stages == 4
        self.final_norm = build_norm_layer(norm_cfg, self.out_channels[-1])[1] if has_final_norm else nn.Identity()
        self.freeze()

    @property
    def block_widths(self) -> tuple[tuple[int, ...], ...]:
        stages = zip(self.arch['widths'], self.arch['ntb_widths'], self._read_block_types(), strict=True)
        return tuple(tuple(ncb if letter == 'C' else ntb for letter in letters) for ncb, ntb, letters in stages)

    def _check_settings(self, kv_ratios: Sequence[int], kv_pool: str, mix_ratio: float, head_dim: int) -> None:
        """Check the settings that are the same for all sizes.

        Raises:
            ConfigError: If an argument cannot be used; the message names it.
        """
        stages = len(self.stage_strides)
        whole = isinstance(kv_ratios, Sequence) and len(kv_ratios) == stages
        positive = whole and all(isinstance(ratio, int) and ratio > 0 for ratio in kv_ratios)
        pools = ', '.join(map(repr, KV_POOLS))
        rules = (
            (positive, 'kv_ratios', kv_ratios, f'{stages} whole numbers from 1 on; the paper uses (8, 4, 2, 1)'),
            (kv_pool in KV_POOLS, 'kv_pool', kv_pool, f'one of {pools}; published checkpoints need {"tokens"!r}'),
            (0.0 < mix_ratio < 1.0, 'mix_ratio', mix_ratio, 'a share between 0 and 1; the paper uses 0.75'),
            (head_dim > 0, 'head_dim', head_dim, 'a whole number from 1 on; the paper uses 32'),
        )
        for right, name, value, expected in rules:
            if not right:
                raise ConfigError(
                    f'{type(self).__name__}({name}={value!r}).',
                    expected=expected,
                    fix=f'correct `{name}` in the backbone of the config',
                )
        odd = sorted({width for widths in self.block_widths for width in widths if width % head_dim})
        if odd:
            raise ConfigError(
                f'{type(self).__name__}: blocks of {", ".join(map(str, odd))} channels with heads of {head_dim}.',
                expected='channels that are multiples of `head_dim`',
                fix='change `widths` or `ntb_widths` of the arch, or `head_dim`',
            )
