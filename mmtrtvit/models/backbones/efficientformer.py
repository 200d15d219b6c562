"""EfficientFormer: Vision Transformers at MobileNet Speed (Li et al., arXiv:2206.01191).

A convolutional stem and four stages of MetaFormer blocks. Their token mixer is a 3x3 average minus the pixel itself
("Meta4D") or, in the last blocks of the last stage, attention over all pixels ("Meta3D"). The sizes are published.

This is the form for dense prediction, as in the authors' detection and segmentation code: a GroupNorm on every map
that is returned, the last stage transposed back to a map. One thing differs on purpose. The authors stretch
attention's whole bias matrix (bicubic, pixels times pixels, in every forward pass), which mixes the two dimensions
of the offsets. Here the learned table of offsets itself is interpolated, once for each input size, so a bias
depends on the offset between two pixels only. At the size of the table both are the table, looked up.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn as nn
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks import DropPath

from ...errors import ConfigError
from ...registry import MODELS
from ..layers import QKV, ExplicitAttention, FusedAttention, LastSize, LayerScale, tent_weights
from .base import PyramidBackbone

_PUBLISHED = 'published: arXiv:2206.01191, table of architectures, and the code at snap-research/EfficientFormer'

ARCH_SETTINGS: dict[str, dict] = {
    'l1': dict(widths=(48, 96, 224, 448), depths=(3, 2, 6, 4), attention_blocks=(0, 0, 0, 1), provenance=_PUBLISHED),
    'l3': dict(widths=(64, 128, 320, 512), depths=(4, 4, 12, 6), attention_blocks=(0, 0, 0, 4), provenance=_PUBLISHED),
    'l7': dict(widths=(96, 192, 384, 768), depths=(6, 6, 18, 8), attention_blocks=(0, 0, 0, 8), provenance=_PUBLISHED),
}
"""Widths, depths and how many blocks at the end of a stage have attention, with where they come from."""

LAYER_SCALE = {'l7': 1e-6}
"""Sizes whose LayerScale the authors' dense-prediction code starts at another value than 1e-5."""


class BiasedAttention(nn.Module):
    """Multi-head self-attention with a learned bias for each offset between two pixels.

    The bias of pixels ``(i, j)`` and ``(k, l)`` is the table's entry at ``(|i - k|, |j - l|)``. On a map of
    another size than the table the offsets are scaled so that the largest one is the table's last, and the table
    is interpolated linearly: a bias belongs to a share of the image, not to a number of pixels.

    Args:
        dim: Channels ``C``.
        heads: Number of heads.
        key_dim: Channels of queries and keys of one head.
        value_ratio: Channels of the values of one head over ``key_dim``.
        resolution: Height and width of the table.

    Shape:
        ``(B, H * W, C)`` and ``H``, ``W`` -> ``(B, H * W, C)``
    """

    def __init__(self, dim: int, heads: int, key_dim: int, value_ratio: float, resolution: int) -> None:
        super().__init__()
        self.resolution = resolution
        value_dim = int(value_ratio * key_dim)
        # Row by row: entry |i - k| * resolution + |j - l|, as in every published checkpoint.
        self.attention_biases = nn.Parameter(torch.zeros(heads, resolution * resolution))
        self.qkv = QKV(dim, heads, [key_dim, key_dim, value_dim], head_first=True)
        self.attend = FusedAttention()
        self.proj = nn.Linear(heads * value_dim, dim)
        self.last_size = LastSize()

    def train(self, mode: bool = True) -> 'BiasedAttention':
        self.last_size.clear()
        return super().train(mode)

    def _offset_weights(self, length: int) -> torch.Tensor:
        """Weights of the table's entries for the offsets along one side of a map: ``(length, length, resolution)``."""
        table = self.attention_biases
        # In half precision the positions of a long side would not be exact.
        dtype = torch.promote_types(table.dtype, torch.float32)
        place = torch.arange(length, dtype=dtype, device=table.device)
        largest = place[-1].clamp(min=1)
        offsets = (place[:, None] - place).abs()
        return tent_weights(offsets * (self.resolution - 1) / largest, self.resolution).to(table.dtype)

    def bias(self, height: int, width: int) -> torch.Tensor:
        """The bias between all pixels of a map: ``(heads, H * W, H * W)``, pixels row by row."""
        table = self.attention_biases.unflatten(1, (self.resolution, self.resolution))
        rows = self._offset_weights(height) @ table[:, None]
        columns = self._offset_weights(width).transpose(1, 2)
        # (heads, H, 1, H, resolution) @ (W, resolution, W): the product's own broadcasting puts the pixels in order.
        return (rows[:, :, None] @ columns).flatten(3, 4).flatten(1, 2)

    def forward(self, x: torch.Tensor, height: int, width: int) -> torch.Tensor:
        q, k, v = (part.transpose(1, 2) for part in self.qkv.of_heads(x))
        bias = self.last_size.get(
            self.attention_biases, (height, width, q.dtype), lambda: self.bias(height, width).to(q.dtype)
        )
        return self.proj(self.attend(q, k, v, bias).transpose(1, 2).flatten(2))

    def switch_to_deploy(self) -> None:
        """Replace the fused attention by the explicit one, and queries, keys and values by layers of their own.

        The bias stays a computation on the size of the map: right for dynamic sizes, and with a static size a
        constant that inference engines compute when they load the graph, so the file does not grow by it.
        """
        if isinstance(self.qkv, QKV):
            self.qkv, self.attend = self.qkv.separate(), ExplicitAttention()


def _convolution(
    in_channels: int, out_channels: int, kernel: int, stride: int, norm_cfg: dict, act: str | None
) -> ConvModule:
    """Convolution, norm and activation. The convolution has a bias, as it has in the published weights."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Unnecessary conv bias')
        return ConvModule(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=kernel // 2,
            bias=True,
            norm_cfg=norm_cfg,
            act_cfg=act and dict(type=act),
        )


def _embedding(in_channels: int, out_channels: int, stride: int, norm_cfg: dict) -> nn.Module:
    """Halve the resolution before the first block of a stage; nothing before any other block."""
    if stride == 1:
        return nn.Identity()
    return _convolution(in_channels, out_channels, 3, stride, norm_cfg, act=None)


class Meta4D(nn.Module):
    """MetaFormer block on a map: average pooling, then an MLP of 1x1 convolutions, each around a shortcut.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: 2 in the first block of a stage that halves the resolution, otherwise 1 (and the same channels).
        mlp_ratio: Hidden channels of the MLP over ``out_channels``.
        drop_path: Probability of dropping each residual branch, per sample.
        layer_scale: Initial factors of the residual branches.
        norm_cfg: The norm after each convolution.

    Shape:
        ``(B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        mlp_ratio: float,
        drop_path: float,
        layer_scale: float,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        hidden = int(out_channels * mlp_ratio)
        self.embedding = _embedding(in_channels, out_channels, stride, norm_cfg)
        self.pool = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        self.scale1 = LayerScale(out_channels, layer_scale, channel_first=True)
        self.mlp = nn.Sequential(
            _convolution(out_channels, hidden, 1, 1, norm_cfg, act='GELU'),
            _convolution(hidden, out_channels, 1, 1, norm_cfg, act=None),
        )
        self.scale2 = LayerScale(out_channels, layer_scale, channel_first=True)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embedding(x)
        x = x + self.drop_path(self.scale1(self.pool(x) - x))
        return x + self.drop_path(self.scale2(self.mlp(x)))

    def switch_to_deploy(self) -> None:
        """Fold the second LayerScale into the convolution before it, once no norm is left between them."""
        last = self.mlp[-1]
        if isinstance(self.scale2, LayerScale) and isinstance(last.norm, nn.Identity):
            self.scale2.fold_into(last.conv)
            self.scale2 = nn.Identity()


class Meta3D(nn.Module):
    """MetaFormer block on the pixels of a map: attention, then an MLP, each around a shortcut, norms first.

    Args:
        in_channels, out_channels, stride, mlp_ratio, drop_path, layer_scale, norm_cfg: As in :class:`Meta4D`.
        attention: ``heads``, ``key_dim``, ``value_ratio`` and ``resolution`` of :class:`BiasedAttention`.

    Shape:
        ``(B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))``
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        mlp_ratio: float,
        drop_path: float,
        layer_scale: float,
        norm_cfg: dict,
        attention: dict,
    ) -> None:
        super().__init__()
        hidden = int(out_channels * mlp_ratio)
        self.embedding = _embedding(in_channels, out_channels, stride, norm_cfg)
        self.norm1 = nn.LayerNorm(out_channels)
        self.attn = BiasedAttention(out_channels, **attention)
        self.scale1 = LayerScale(out_channels, layer_scale, channel_first=False)
        self.norm2 = nn.LayerNorm(out_channels)
        self.mlp = nn.Sequential(nn.Linear(out_channels, hidden), nn.GELU(), nn.Linear(hidden, out_channels))
        self.scale2 = LayerScale(out_channels, layer_scale, channel_first=False)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.embedding(x)
        tokens = x.flatten(2).transpose(1, 2)
        mixed = self.attn(self.norm1(tokens), x.shape[2], x.shape[3])
        tokens = tokens + self.drop_path(self.scale1(mixed))
        tokens = tokens + self.drop_path(self.scale2(self.mlp(self.norm2(tokens))))
        return tokens.transpose(1, 2).reshape_as(x)

    def switch_to_deploy(self) -> None:
        """Fold both LayerScales into the linear layers before them."""
        if isinstance(self.scale1, LayerScale):
            self.scale1.fold_into(self.attn.proj)
            self.scale2.fold_into(self.mlp[-1])
            self.scale1, self.scale2 = nn.Identity(), nn.Identity()


class PixelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each pixel.

    Shape:
        ``(B, C, H, W) -> (B, C, H, W)``
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@MODELS.register_module()
class EfficientFormer(PyramidBackbone):
    """EfficientFormer (arXiv:2206.01191). The sizes are published, see :data:`ARCH_SETTINGS`.

    Args:
        arch: ``'l1'``, ``'l3'``, ``'l7'``, or a dict with ``widths``, ``depths`` and ``attention_blocks`` of the
            four stages, the last one saying how many blocks at the end of each stage are :class:`Meta3D`.
        heads: Heads of attention.
        key_dim: Channels of queries and keys of one head.
        value_ratio: Channels of the values of one head over ``key_dim``.
        resolution: Height and width of attention's table of biases: 7 in the ImageNet checkpoints, and 25 and 16
            (not pretrained) in the authors' detection and segmentation code. Any resolution serves any input size.
        mlp_ratio: Hidden channels of the MLPs over their channels.
        layer_scale: Initial factors of the residual branches; by default the authors' values for dense prediction,
            1e-5, and 1e-6 for L7.
        drop_path_rate: Stochastic depth of the last block, rising linearly from 0 in the first one.
        norm_cfg: The norm after each convolution. BatchNorm can be folded for deployment, others cannot.
        final_norm: The form for classification: a LayerNorm on the map of the last stage, as the classifier needs
            it, in place of the GroupNorm on every map that dense prediction has.
        out_indices, frozen_stages, norm_eval, with_cp, init_cfg: As in :class:`PyramidBackbone`.

    Shape:
        ``(B, 3, H, W)`` -> tuple of ``(B, widths[i], ceil(H / s), ceil(W / s))``, ``s`` = 4, 8, 16, 32.

    Example:
        >>> import torch
        >>> from mmtrtvit.models import EfficientFormer
        >>> backbone = EfficientFormer(arch='l1')
        >>> [tuple(y.shape) for y in backbone(torch.rand(1, 3, 224, 224))]
        [(1, 48, 56, 56), (1, 96, 28, 28), (1, 224, 14, 14), (1, 448, 7, 7)]
    """

    arch_settings = ARCH_SETTINGS
    arch_keys = ('widths', 'depths', 'attention_blocks')
    initialisers = (
        dict(type='TruncNormal', layer=['Conv2d', 'Linear'], std=0.02),
        dict(type='Constant', layer=['_BatchNorm', 'GroupNorm', 'LayerNorm'], val=1.0),
    )
    new_parts = ('output_norms',)

    def __init__(
        self,
        arch: str | Mapping = 'l1',
        heads: int = 8,
        key_dim: int = 32,
        value_ratio: float = 4.0,
        resolution: int = 7,
        mlp_ratio: float = 4.0,
        layer_scale: float | None = None,
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        norm_cfg: dict | None = None,
        final_norm: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(arch, out_indices, frozen_stages, norm_eval, with_cp, norm_cfg, init_cfg)
        if not isinstance(resolution, int) or resolution < 1:
            raise ConfigError(
                f'EfficientFormer(resolution={resolution!r}).',
                expected='the height and width of a table, 1 or more; 7 in the ImageNet checkpoints',
                fix='correct `resolution` in the backbone of the config',
            )
        widths, depths, attention_blocks = (self.arch[key] for key in self.arch_keys)
        for stage, (count, depth) in enumerate(zip(attention_blocks, depths, strict=True)):
            if count > depth:
                raise ConfigError(
                    f'EfficientFormer: attention_blocks[{stage}]={count} for a stage of {depth} blocks.',
                    expected=f'0 to {depth}: how many blocks at the end of the stage have attention',
                    fix='correct `attention_blocks` or `depths` of the arch',
                )
        if layer_scale is None:
            layer_scale = LAYER_SCALE.get(arch if isinstance(arch, str) else '', 1e-5)
        attention = dict(heads=heads, key_dim=key_dim, value_ratio=value_ratio, resolution=resolution)
        norm_cfg = self.norm_cfg

        def build_block(stage: int, place: int, **settings: Any) -> nn.Module:
            settings = dict(settings, mlp_ratio=mlp_ratio, layer_scale=layer_scale, norm_cfg=norm_cfg)
            if depths[stage] - place > attention_blocks[stage]:
                return Meta4D(**settings)
            return Meta3D(**settings, attention=attention)

        self.stem = nn.Sequential(
            _convolution(3, widths[0] // 2, 3, 2, norm_cfg, act='ReLU'),
            _convolution(widths[0] // 2, widths[0], 3, 2, norm_cfg, act='ReLU'),
        )
        self.stages = self._build_stages(widths[0], drop_path_rate, build_block)
        self.output_norms = nn.ModuleDict(
            {} if final_norm else {str(index): nn.GroupNorm(1, widths[index]) for index in self.out_indices}
        )
        self.final_norm = PixelNorm(self.out_channels[-1]) if final_norm else nn.Identity()
        self.freeze()

    def _is_right(self, key: str, values: object) -> bool:
        right = super()._is_right(key, values)
        return right and (key != 'attention_blocks' or all(isinstance(value, int) and value >= 0 for value in values))

    def init_blocks(self) -> None:
        for module in self.modules():
            if isinstance(module, LayerScale):
                nn.init.constant_(module.gamma, module.init)
            elif isinstance(module, BiasedAttention):
                nn.init.zeros_(module.attention_biases)

    def output(self, index: int, x: torch.Tensor) -> torch.Tensor:
        return super().output(index, self.output_norms[str(index)](x) if self.output_norms else x)
