"""CSWin-T and UniFormer-S in the form that their papers describe: networks of published latencies that timm lacks.

They are for counting and tracing only: shapes and operators are those of the papers, weights are never loaded.
"""

import torch
from torch import Tensor, nn


def _mlp(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of ``(..., tokens, channels)``."""
    return (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(-1) @ v


class _Norm(nn.Module):
    """LayerNorm over the channels of a map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _StripeAttention(nn.Module):
    """Attention in stripes, with a depthwise convolution of ``v`` added (LePE)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.lepe = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, qkv: list[Tensor], side: tuple[int, int], stripe: tuple[int, int]) -> Tensor:
        batch, tokens, width = qkv[0].shape
        (rows, columns), (high, wide) = side, stripe
        cells = (batch, rows // high, high, columns // wide, wide, self.heads, width // self.heads)

        def cut(x: Tensor) -> Tensor:
            return x.reshape(cells).permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, self.heads, high * wide, cells[-1])

        q, k, v = map(cut, qkv)
        stripes = v.transpose(-2, -1).reshape(-1, width, high, wide)
        lepe = self.lepe(stripes).reshape(-1, self.heads, cells[-1], high * wide).transpose(-2, -1)
        out = (_attend(q, k, v) + lepe).transpose(1, 2).reshape(batch, rows // high, columns // wide, high, wide, width)
        return out.permute(0, 1, 3, 2, 4, 5).reshape(batch, tokens, width)


class _CSWinBlock(nn.Module):
    def __init__(self, width: int, heads: int, split: int, side: int) -> None:
        super().__init__()
        self.side, whole = side, side == split
        self.stripes = ((side, side),) if whole else ((side, split), (split, side))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj, self.mlp = nn.Linear(width, 3 * width), nn.Linear(width, width), _mlp(width, 4 * width)
        parts = len(self.stripes)
        self.attention = nn.ModuleList(_StripeAttention(width // parts, heads // parts) for _ in self.stripes)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        parts = zip(*(one.chunk(len(self.stripes), dim=-1) for one in qkv))
        side = (self.side, self.side)
        found = [attend(list(part), side, stripe)
                 for attend, part, stripe in zip(self.attention, parts, self.stripes)]  # fmt: skip
        x = x + self.proj(torch.cat(found, dim=-1))
        return x + self.mlp(self.norm2(x))


class CSWinT(nn.Module):
    """CSWin-T (arXiv:2107.00652) at 224 x 224: 22.3 M parameters and 4.3 GMACs."""

    def __init__(self) -> None:
        super().__init__()
        width, layers = 64, []
        embed: nn.Module = nn.Conv2d(3, width, 7, 4, 2)
        for stage, (depth, split, heads) in enumerate(((1, 1, 2), (2, 2, 4), (21, 7, 8), (1, 7, 16))):
            side = 56 >> stage
            blocks = nn.Sequential(*(_CSWinBlock(width, heads, split, side) for _ in range(depth)))
            layers.append(nn.ModuleList([embed, nn.LayerNorm(width), blocks]))
            if stage < 3:
                embed = nn.Conv2d(width, 2 * width, 3, 2, 1)
                width *= 2
        self.stages, self.norm, self.head = nn.ModuleList(layers), nn.LayerNorm(width), nn.Linear(width, 1000)

    def forward(self, x: Tensor) -> Tensor:
        for embed, norm, blocks in self.stages:
            x = embed(x)
            rows = x.shape[2]
            x = blocks(norm(x.flatten(2).transpose(1, 2))).transpose(1, 2).reshape(x.shape[0], -1, rows, rows)
        return self.head(self.norm(x.flatten(2).transpose(1, 2)).mean(1))


class _LocalBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.position = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.local = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Conv2d(width, width, 1),
            nn.Conv2d(width, width, 5, padding=2, groups=width),
            nn.Conv2d(width, width, 1),
        )
        self.mlp = nn.Sequential(
            nn.BatchNorm2d(width), nn.Conv2d(width, 4 * width, 1), nn.GELU(), nn.Conv2d(4 * width, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.position(x)
        x = x + self.local(x)
        return x + self.mlp(x)


class _GlobalBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // 64
        self.position = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj, self.mlp = nn.Linear(width, 3 * width), nn.Linear(width, width), _mlp(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.position(x)
        shape, tokens = x.shape, x.flatten(2).transpose(1, 2)
        cells = (shape[0], -1, 3, self.heads, 64)
        q, k, v = self.qkv(self.norm1(tokens)).reshape(cells).permute(2, 0, 3, 1, 4).unbind(0)
        tokens = tokens + self.proj(_attend(q, k, v).transpose(1, 2).reshape(tokens.shape))
        tokens = tokens + self.mlp(self.norm2(tokens))
        return tokens.transpose(1, 2).reshape(shape)


class UniFormerS(nn.Module):
    """The backbone of UniFormer-S (arXiv:2201.09450) with global attention: 3.6 GMACs at 224 x 224."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for stage, (width, depth) in enumerate(((64, 3), (128, 4), (320, 8), (512, 3))):
            before = (3, 64, 128, 320)[stage]
            side = 2 if stage else 4
            layers += [nn.Conv2d(before, width, side, side), _Norm(width)]
            layers += [(_LocalBlock if stage < 2 else _GlobalBlock)(width) for _ in range(depth)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
