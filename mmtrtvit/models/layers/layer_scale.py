"""A learned factor for each channel of a residual branch."""

import torch
import torch.nn as nn


class LayerScale(nn.Module):
    """``y = x * gamma``, one factor per channel (Touvron et al., arXiv:2103.17239).

    Args:
        dim: Channels ``C``.
        init: Value that every factor starts with.
        channel_first: Whether channels are the dimension after the batch, or the last one.

    Shape:
        ``(B, C, ...)`` or ``(..., C)`` -> the same
    """

    def __init__(self, dim: int, init: float, channel_first: bool) -> None:
        super().__init__()
        self.init = init
        self.channel_first = channel_first
        self.gamma = nn.Parameter(torch.full((dim,), init))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (self.gamma[:, None, None] if self.channel_first else self.gamma)

    @torch.no_grad()
    def fold_into(self, layer: nn.Conv2d | nn.Linear) -> None:
        """Multiply the factors into the layer, with a bias, whose output they would multiply."""
        layer.weight.mul_(self.gamma.reshape(-1, *[1] * (layer.weight.dim() - 1)))
        layer.bias.mul_(self.gamma)
