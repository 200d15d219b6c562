"""Detection operators in plain arithmetic, for engines that have no ``NonMaxSuppression``, ``RoiAlign`` or ``NonZero``.

Everything here is ordinary PyTorch on batches of fixed rank, without loops over data and without integers taken from
shapes, so that what is traced serves every batch, height and width.
"""

from .roi_align import PyramidAtlas, roi_levels
from .suppression import Suppression, suppress

__all__ = ['PyramidAtlas', 'Suppression', 'roi_levels', 'suppress']
