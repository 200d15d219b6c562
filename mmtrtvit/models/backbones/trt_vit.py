"""TRT-ViT: TensorRT-oriented Vision Transformer (Xia et al., arXiv:2205.09579).

The paper measures blocks on TensorRT and derives four guidelines: Transformer blocks in the late stage; a
shallow-then-deep stage pattern; inside a stage, blocks that mix Transformer and BottleNeck; inside such a block, global
then local. The network is a ResNet-like pyramid with BottleNecks in the first three stages and MixBlockC in the last::

    MixBlockC:  x -> 1x1 -> Transformer on R of the channels -> BottleNeck to the other 1 - R;  concatenation of both

R = 0.5 is the shrink ratio. MixBlockA runs the two in parallel, MixBlockB runs the BottleNeck first.

The widths and depths of the paper's table were not available. Those in :data:`ARCH_SETTINGS` are RECONSTRUCTED for
C and D (they reproduce the published parameters and MACs) and the project's OWN CHOICE, by the same rules, for A and B.
Neither is published.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn as nn
from mmcv.cnn import ConvModule, build_norm_layer
from mmcv.cnn.bricks import DropPath

from ...errors import ConfigError
from ...registry import MODELS
from ..layers import MultiHeadSelfAttention, Projection
from .base import PyramidBackbone

ARCH_SETTINGS: dict[str, dict] = {
    'a': dict(
        widths=(128, 256, 512, 1024),
        depths=(2, 3, 12, 6),
        block_types=('C', 'C', 'C', 'M'),
        provenance='own choice: no figure of TRT-ViT-A is published in any text at hand',
    ),
    'b': dict(
        widths=(160, 320, 640, 1280),
        depths=(2, 3, 12, 6),
        block_types=('C', 'C', 'C', 'M'),
        provenance='own choice: no figure of TRT-ViT-B is published in any text at hand',
    ),
    'c': dict(
        widths=(192, 384, 768, 1536),
        depths=(2, 4, 18, 7),
        block_types=('C', 'C', 'C', 'M'),
        provenance='reconstructed from the published totals: 67.3 M, 5.9 G; Mask R-CNN 86.3 M, 294 G',
    ),
    'd': dict(
        widths=(256, 512, 1024, 2048),
        depths=(4, 4, 16, 6),
        block_types=('C', 'C', 'C', 'M'),
        provenance='reconstructed from the published totals: 103.0 M, 9.7 G; Mask R-CNN 121.5 M, 375 G',
    ),
}
"""Widths, depths and block types of the four stages, with where they come from."""


BOTTLENECK_RATIO = 4
"""Channels of a BottleNeck divided by those of its 3x3 convolution, as in ResNet."""


class BottleNeck(nn.Module):
    """ResNet's bottleneck: 1x1, 3x3, 1x1 convolutions around a shortcut ("C" in the paper's figures).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output; the 3x3 convolution has a quarter of them.
        stride: Stride of the 3x3 convolution (ResNet v1.5) and of the shortcut.
        drop_path: Probability of dropping the residual branch, per sample.
        norm_cfg: The norm after each convolution.

    Shape:
        ``(B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))``
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, drop_path: float, norm_cfg: dict) -> None:
        super().__init__()
        mid = out_channels // BOTTLENECK_RATIO
        self.conv1 = ConvModule(in_channels, mid, 1, norm_cfg=norm_cfg)
        self.conv2 = ConvModule(mid, mid, 3, stride=stride, padding=1, norm_cfg=norm_cfg)
        self.conv3 = ConvModule(mid, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        self.shortcut = (
            nn.Identity()
            if in_channels == out_channels and stride == 1
            else ConvModule(in_channels, out_channels, 1, stride=stride, norm_cfg=norm_cfg, act_cfg=None)
        )
        self.drop_path = DropPath(drop_path)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        residual = self.conv3(self.conv2(self.conv1(x)))
        return self.relu(self.shortcut(x) + self.drop_path(residual))


class TransformerLayer(nn.Module):
    """Pre-norm Transformer encoder layer on the pixels of a map: MHSA, then MLP, each around a shortcut.

    Args:
        dim: Channels.
        head_dim: Channels of one attention head.
        mlp_ratio: Hidden channels of the MLP over ``dim``.
        drop_path: Probability of dropping each residual branch, per sample.

    Shape:
        ``(B, dim, H, W) -> (B, dim, H, W)``
    """

    def __init__(self, dim: int, head_dim: int, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = MultiHeadSelfAttention(dim, head_dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, int(dim * mlp_ratio)), nn.GELU(), nn.Linear(int(dim * mlp_ratio), dim))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        tokens = tokens + self.drop_path(self.mlp(self.norm2(tokens)))
        return tokens.transpose(1, 2).reshape_as(x)


class Transformer(nn.Module):
    """A Transformer block on all channels ("T"), as in the last stage of the paper's MixNetV.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: 1, or 2 to halve the resolution.
        head_dim, mlp_ratio, drop_path: As in :class:`TransformerLayer`.
        norm_cfg: The norm after the projection, which only changes of width or resolution need.

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
        self.proj = (
            nn.Identity()
            if in_channels == out_channels and stride == 1
            else Projection(in_channels, out_channels, stride, norm_cfg)
        )
        self.transformer = TransformerLayer(out_channels, head_dim, mlp_ratio, drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.transformer(self.proj(x))


class MixBlock(nn.Module):
    """R of the channels from a Transformer, the rest from a BottleNeck; the base of the three mixed blocks.

    The input is projected to the channels of the branch that comes first. No convolution follows the concatenation, and
    no shortcut goes around the block.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: 1, or 2 to halve the resolution.
        shrink_ratio: The paper's R, the share of ``out_channels`` that the Transformer makes.
        head_dim, mlp_ratio: As in :class:`TransformerLayer`.
        drop_path: Probability of dropping each residual branch of both, per sample.
        norm_cfg: The norm after each convolution.

    Shape:
        ``(B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))``
    """

    global_first: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        shrink_ratio: float,
        head_dim: int,
        mlp_ratio: float,
        drop_path: float,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        self.global_channels = int(out_channels * shrink_ratio)
        self.local_channels = out_channels - self.global_channels
        first, second = self.global_channels, self.local_channels
        if not self.global_first:
            first, second = second, first
        self.proj = Projection(in_channels, first, stride, norm_cfg)
        self.transformer = TransformerLayer(self.global_channels, head_dim, mlp_ratio, drop_path)
        self.bottleneck = BottleNeck(first, self.local_channels, 1, drop_path, norm_cfg)


class MixBlockA(MixBlock):
    """Transformer and BottleNeck in parallel on the projected input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.proj(x)
        return torch.cat([self.transformer(x), self.bottleneck(x)], dim=1)


class MixBlockB(MixBlock):
    """BottleNeck first, then Transformer on its output: local then global."""

    global_first = False

    def __init__(self, *args: Any, norm_cfg: dict, **kwargs: Any) -> None:
        super().__init__(*args, norm_cfg=norm_cfg, **kwargs)
        self.between = (
            nn.Identity()
            if self.local_channels == self.global_channels
            else Projection(self.local_channels, self.global_channels, 1, norm_cfg)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        local = self.bottleneck(self.proj(x))
        return torch.cat([local, self.transformer(self.between(local))], dim=1)


class MixBlockC(MixBlock):
    """Transformer first, then BottleNeck on its output: global then local, the block that the paper chooses."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        global_ = self.transformer(self.proj(x))
        return torch.cat([global_, self.bottleneck(global_)], dim=1)


MIX_BLOCKS: dict[str, type[MixBlock]] = {'A': MixBlockA, 'B': MixBlockB, 'M': MixBlockC}
"""Letters of the mixed blocks in ``block_types``."""


@MODELS.register_module()
class TRTViT(PyramidBackbone):
    """TRT-ViT (arXiv:2205.09579). Widths and depths are reconstructed, see :data:`ARCH_SETTINGS`.

    Args:
        arch: ``'a'``, ``'b'``, ``'c'``, ``'d'``, or a dict with ``widths``, ``depths`` and ``block_types`` of
            the four stages. An entry of ``block_types`` is one letter for all blocks of the stage or one for
            each: ``C`` BottleNeck, ``T`` Transformer, ``A`` / ``B`` / ``M`` MixBlockA / B / C. So
            ``('C', 'C', 'C', 'T')`` is the paper's MixNetV, and ``A``, ``B`` in the last place its MixNetA, B.
        shrink_ratio: The paper's R, the share of a mixed block's channels that its Transformer makes.
        mlp_ratio: Hidden channels of the Transformer's MLP over its channels.
        head_dim: Channels of one attention head.
        drop_path_rate: Stochastic depth of the last block, rising linearly from 0 in the first one.
        norm_cfg: The norm after each convolution. BatchNorm can be folded for deployment, others cannot.
        zero_init_residual: Start the last norm of every BottleNeck at 0, as mmdet's ResNet does, so that each begins
            as its shortcut.
        final_norm: Put a BatchNorm on the map of the last stage, as the classifier needs it.
        out_indices, frozen_stages, norm_eval, with_cp, init_cfg: As in :class:`PyramidBackbone`.

    Shape:
        ``(B, 3, H, W)`` -> tuple of ``(B, widths[i], ceil(H / s), ceil(W / s))``, ``s`` = 4, 8, 16, 32.

    Example:
        >>> import torch
        >>> from mmtrtvit.models import TRTViT
        >>> backbone = TRTViT(arch='a')
        >>> [tuple(y.shape) for y in backbone(torch.rand(1, 3, 224, 224))]
        [(1, 128, 56, 56), (1, 256, 28, 28), (1, 512, 14, 14), (1, 1024, 7, 7)]
    """

    arch_settings = ARCH_SETTINGS
    arch_keys = ('widths', 'depths', 'block_types')
    block_letters = ('C', 'T', *MIX_BLOCKS)
    new_parts = ('final_norm',)  # a ResNet, which fills the first stages, has none
    initialisers = (
        dict(type='Kaiming', layer='Conv2d'),
        dict(type='TruncNormal', layer='Linear', std=0.02),
        dict(type='Constant', layer=['_BatchNorm', 'GroupNorm', 'LayerNorm'], val=1.0),
    )

    def __init__(
        self,
        arch: str | Mapping = 'b',
        shrink_ratio: float = 0.5,
        mlp_ratio: float = 3.0,
        head_dim: int = 32,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        norm_cfg: dict | None = None,
        final_norm: bool = False,
        zero_init_residual: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(arch, out_indices, frozen_stages, norm_eval, with_cp, norm_cfg, init_cfg)
        self.zero_init_residual = zero_init_residual
        if not 0.0 < shrink_ratio < 1.0:
            raise ConfigError(
                f'TRTViT(shrink_ratio={shrink_ratio!r}).',
                expected='a share of the channels between 0 and 1; the paper uses 0.5',
                fix='correct `shrink_ratio`, or use block type C (no Transformer) or T (no BottleNeck)',
            )
        transformer = dict(head_dim=head_dim, mlp_ratio=mlp_ratio)
        blocks = {
            'C': BottleNeck,
            'T': partial(Transformer, **transformer),
            **{letter: partial(mix, shrink_ratio=shrink_ratio, **transformer) for letter, mix in MIX_BLOCKS.items()},
        }
        types = self._read_block_types()

        def build_block(stage: int, place: int, **settings: Any) -> nn.Module:
            return blocks[types[stage][place]](**settings, norm_cfg=self.norm_cfg)

        self.stem = nn.Sequential(
            ConvModule(3, 64, 7, stride=2, padding=3, norm_cfg=self.norm_cfg),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        )
        self.stages = self._build_stages(64, drop_path_rate, build_block)
        self.final_norm = build_norm_layer(self.norm_cfg, self.out_channels[-1])[1] if final_norm else nn.Identity()
        self.freeze()

    def init_blocks(self) -> None:
        if self.zero_init_residual:
            for module in self.modules():
                if isinstance(module, BottleNeck):
                    nn.init.zeros_(module.conv3.norm.weight)
