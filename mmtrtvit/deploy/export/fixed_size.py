"""Networks that take one size only: how images are resized to fit into it, and padded to it."""

import torch.nn.functional as F
from mmcv.transforms import Resize
from mmdet.models import DetDataPreprocessor
from mmengine.registry import TRANSFORMS

from ...errors import DeployError
from ...registry import MODELS


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


@MODELS.register_module()
class FixedShapeDetDataPreprocessor(DetDataPreprocessor):
    """mmdet's data preprocessor, which then pads every batch to one height and width at the right and the bottom.

    Args:
        fixed_shape: Height and width, pixels.
        kwargs: Arguments of :class:`mmdet.models.DetDataPreprocessor`.

    Raises:
        DeployError: If an image is larger.
    """

    def __init__(self, fixed_shape: tuple[int, int], **kwargs) -> None:
        super().__init__(**kwargs)
        self.fixed_shape = tuple(fixed_shape)

    def forward(self, data: dict, training: bool = False) -> dict:
        data = super().forward(data, training)
        height, width = data['inputs'].shape[-2:]
        below, right = self.fixed_shape[0] - height, self.fixed_shape[1] - width
        if below < 0 or right < 0:
            raise DeployError(
                f'The input is {height} x {width} after padding.',
                expected=f'at most {self.fixed_shape[0]} x {self.fixed_shape[1]}',
                fix='choose a fixed input size that is a multiple of pad_size_divisor of the config (32)',
            )
        data['inputs'] = F.pad(data['inputs'], (0, right, 0, below), value=float(self.pad_value))
        for sample in data['data_samples'] or ():
            sample.set_metainfo(dict(batch_input_shape=self.fixed_shape, pad_shape=self.fixed_shape))
        return data
