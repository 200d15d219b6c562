"""Folding BatchNorm into the convolution before it."""

import torch.nn as nn
from mmcv.cnn import ConvModule
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold_conv_module(module: ConvModule) -> None:
    """Fold the BatchNorm of one ``conv -> BatchNorm -> activation`` module into its convolution.

    The BatchNorm is replaced by ``nn.Identity``, so ``ConvModule.forward`` needs no flag. Running
    statistics are used, whatever mode the module is in. A norm that cannot be folded (GroupNorm,
    LayerNorm) and a module that was folded before are left as they are.

    Args:
        module: The module to change in place.
    """
    if not module.with_norm or not isinstance(module.norm, _BatchNorm):
        return
    conv, norm = module.conv, module.norm
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    setattr(module, module.norm_name, nn.Identity())


def fold_batch_norms(root: nn.Module) -> None:
    """Fold every BatchNorm of every :class:`mmcv.cnn.ConvModule` below ``root``, in place."""
    for module in root.modules():
        if isinstance(module, ConvModule):
            fold_conv_module(module)


class ChannelAffine(nn.Module):
    """``y = x * weight + bias`` per channel: what is left of a BatchNorm that no convolution precedes.

    Args:
        norm: The BatchNorm to stand in for, with its running statistics.

    Shape:
        ``(B, C, H, W) -> (B, C, H, W)``
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        scale = (norm.running_var + norm.eps).rsqrt()
        if norm.affine:
            scale = scale * norm.weight.detach()
        shift = -norm.running_mean * scale
        if norm.affine:
            shift = shift + norm.bias.detach()
        self.weight = nn.Parameter(scale[:, None, None].clone())
        self.bias = nn.Parameter(shift[:, None, None].clone())

    def forward(self, x):
        return x * self.weight + self.bias
