"""Resizing for networks that take one size only."""

from mmcv.transforms import Resize
from mmengine.registry import TRANSFORMS


@TRANSFORMS.register_module()
class FitResize(Resize):
    """Makes an image as large as it fits into a width and a height, without changing its proportions.

    mmcv's ``Resize`` with ``keep_ratio`` is no such thing: it bounds the longer side of an image by the larger of the
    two, so an upright image becomes higher than a lying frame.

    Args:
        scale: Width and height, pixels.
    """

    def __init__(self, scale: tuple[int, int]) -> None:
        super().__init__(scale=scale, keep_ratio=False)

    def _resize_img(self, results: dict) -> None:
        height, width = results['img'].shape[:2]
        factor = min(self.scale[0] / width, self.scale[1] / height)
        results['scale'] = tuple(max(int(side * factor + 0.5), 1) for side in (width, height))
        super()._resize_img(results)
