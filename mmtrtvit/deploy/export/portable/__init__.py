"""Detection operators in plain arithmetic, for engines without ``NonMaxSuppression``, ``RoiAlign`` or ``NonZero``.

The code is ordinary PyTorch on batches of fixed rank. It does not loop over data and does not take integers from
shapes, so a traced graph works for every batch, height and width.
"""

from .roi_align import PyramidAtlas, roi_levels
from .suppression import Suppression, suppress, suppressed_by

__all__ = ['PyramidAtlas', 'Suppression', 'roi_levels', 'suppress', 'suppressed_by']
