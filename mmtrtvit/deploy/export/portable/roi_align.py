"""RoIAlign on a whole pyramid by a single ``GridSample``.

The levels of the pyramid are laid out side by side in one map, the atlas. Each sample is moved to the place of its
box's level. mmcv clamps the coordinates of a sample to the centres of the outermost pixels before it interpolates, so a
sample never reads a pixel of a neighbouring level, and the result equals RoIAlign. Each box is pooled from its own
level only, and no list of varying length is needed.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def roi_levels(rois: Tensor, levels: int, finest_scale: float) -> Tensor:
    """Level of the pyramid that each box is pooled from (FPN, equation 1), as in mmdet's ``SingleRoIExtractor``.

    mmdet takes ``floor(log2(sqrt(area) / finest_scale + 1e-6))``. Comparing with powers of two gives the same result
    without the logarithm, whose last bit differs between engines.

    Args:
        rois: ``(..., 4)``, x1 y1 x2 y2.
        levels: Number of levels.
        finest_scale: Square boxes with less than twice this side, pixels, are pooled from level 0.

    Returns:
        ``(...)`` of the type of ``rois``: 0 to ``levels - 1``.
    """
    size = rois[..., 2:] - rois[..., :2]
    scale = (size[..., 0] * size[..., 1]).sqrt() / finest_scale + 1e-6
    level = torch.zeros_like(scale)
    for exponent in range(1, levels):
        level = level + (scale >= 2.0**exponent).to(scale.dtype)
    return level


class PyramidAtlas:
    """The levels of a pyramid in one map: the first at the top, the others side by side below it.

    Args:
        features: Maps ``(B, C, H, W)``, each of about half the height and width of the one before.

    Attributes:
        map: ``(B, C, H', W')``.
        sizes: Height and width of each level, as scalars or traced values.
        origins: Row and column of each level's first pixel in the atlas.
    """

    def __init__(self, features: Sequence[Tensor]) -> None:
        self.sizes = [(torch.as_tensor(level.shape[-2]), torch.as_tensor(level.shape[-1])) for level in features]
        first, *others = features
        self.origins = [(torch.as_tensor(0), torch.as_tensor(0))]
        if not others:
            self.map = first
            return
        height = others[0].shape[-2]
        strip, left = [], torch.as_tensor(0)
        for level, (_, width) in zip(others, self.sizes[1:], strict=True):
            strip.append(F.pad(level, (0, 0, 0, height - level.shape[-2])))
            self.origins.append((self.sizes[0][0], left))
            left = left + width
        below = torch.cat(strip, dim=-1)
        # the narrower row gets zeros at its right, which are never sampled
        gap = first.shape[-1] - below.shape[-1]
        right = torch.clamp(torch.as_tensor(gap), min=0), torch.clamp(-torch.as_tensor(gap), min=0)
        self.map = torch.cat([F.pad(first, (0, right[1], 0, 0)), F.pad(below, (0, right[0], 0, 0))], dim=-2)

    def _of_level(self, values: Sequence[Tensor | float], level: Tensor) -> Tensor:
        """The value of its level for each entry of ``level``."""
        chosen = torch.zeros_like(level)
        for index, value in enumerate(values):
            chosen = chosen + (level == index).to(level.dtype) * value
        return chosen

    def roi_align(
        self, rois: Tensor, level: Tensor, strides: Sequence[int], output_size: tuple[int, int], samples: int = 2
    ) -> Tensor:
        """RoIAlign (``aligned=True``, average) of each box on its level.

        Args:
            rois: ``(B, N, 4)``, x1 y1 x2 y2 in pixels of the input.
            level: ``(B, N)``: the level of each box.
            strides: Stride of each level.
            output_size: Rows and columns of bins.
            samples: Samples per bin and side, mmcv's ``sampling_ratio``. Its value 0 (a number that depends on the box)
                is not supported.

        Returns:
            ``(B, N, C, *output_size)``.
        """
        stride = self._of_level([float(stride) for stride in strides], level).unsqueeze(-1)
        corners = rois / stride - 0.5
        grids = []
        for axis, bins in ((1, output_size[0]), (0, output_size[1])):  # y first
            low = corners[..., axis : axis + 1]
            bin_size = (corners[..., axis + 2 : axis + 3] - low) / bins
            offsets = (torch.arange(bins * samples, device=rois.device).to(rois.dtype) + 0.5) / samples
            position = low + bin_size * offsets  # (B, N, bins * samples)
            size = self._of_level([side[1 - axis] for side in self.sizes], level).unsqueeze(-1)
            origin = self._of_level([corner[1 - axis] for corner in self.origins], level).unsqueeze(-1)
            inside = ((position >= -1.0) & (position <= size)).to(rois.dtype)
            clamped = torch.minimum(position.clamp(min=0.0), size - 1.0)
            whole = self.map.shape[-2] if axis == 1 else self.map.shape[-1]
            # align_corners=False: pixel i has its centre at (2 i + 1) / size - 1
            grids.append(((2.0 * (clamped + origin) + 1.0) / whole - 1.0, inside))
        (rows, rows_inside), (columns, columns_inside) = grids
        # all boxes of an image, stacked vertically: (B, N * rows, columns, 2)
        shape = rows.unsqueeze(-1) + 0.0 * columns.unsqueeze(-2)
        grid = torch.stack([columns.unsqueeze(-2) + 0.0 * shape, shape], dim=-1).flatten(1, 2)
        sampled = F.grid_sample(self.map, grid, mode='bilinear', padding_mode='border', align_corners=False)
        inside = (rows_inside.unsqueeze(-1) * columns_inside.unsqueeze(-2)).flatten(1, 2)
        sampled = sampled * inside.unsqueeze(1)  # mmcv gives 0 for a sample outside
        pooled = F.avg_pool2d(sampled, samples)  # (B, C, N * bins, bins)
        return pooled.unflatten(2, (-1, output_size[0])).transpose(1, 2)
