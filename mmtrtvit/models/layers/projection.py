"""Setting the channels of a map, and halving it."""

import torch.nn as nn
from mmcv.cnn import ConvModule


class Projection(nn.Sequential):
    """1x1 convolution that sets the channels, after a 2x2 average where the resolution is halved.

    The patch embedding of Next-ViT (arXiv:2207.05501, section 3). The available text of TRT-ViT, an earlier paper of
    the same authors, names the 1x1 convolution only: halving the resolution in this way is reconstructed.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: 1, or 2 to halve the resolution. The last row or column of an odd size is averaged by itself.
        norm_cfg: The norm after the convolution.

    Shape:
        ``(B, in_channels, H, W) -> (B, out_channels, ceil(H / stride), ceil(W / stride))``
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm_cfg: dict) -> None:
        conv = ConvModule(in_channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None)
        pool = nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)
        super().__init__(*([conv] if stride == 1 else [pool, conv]))
