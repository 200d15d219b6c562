"""Linear interpolation of a learned table as a matrix product, for any size and inside an exported graph."""

import torch


def tent_weights(positions: torch.Tensor, points: int) -> torch.Tensor:
    """Weights with which ``points`` samples at 0, 1, 2, ... give the values at ``positions`` in between.

    A product with them interpolates linearly. It exports as plain arithmetic, where ``F.interpolate`` becomes an
    operator whose sizes and rounding differ from engine to engine. A position on a sample has the weight 1 for
    it and 0 for all others, so nothing changes at the size that a table was learned at.

    Args:
        positions: Positions to interpolate at, from 0 to ``points - 1``, any shape.
        points: Number of samples.

    Returns:
        ``(*positions.shape, points)``, of the same type; each row is at least 0 and sums to 1.
    """
    samples = torch.arange(points, dtype=positions.dtype, device=positions.device)
    return (1 - (positions[..., None] - samples).abs()).clamp(min=0)
