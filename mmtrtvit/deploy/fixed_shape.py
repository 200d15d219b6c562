"""Padding of a detector's input to the one size that a fixed engine takes."""

import torch.nn.functional as F
from mmdet.models import DetDataPreprocessor

from ..errors import DeployError
from ..registry import MODELS


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
