"""Folding BatchNorm into the layer before or after it."""

import torch
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


def scale_and_shift(norm: _BatchNorm) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and shift of a BatchNorm in evaluation, ``y = x * scale + shift``; both of shape ``(C,)``."""
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.detach()
    shift = -norm.running_mean * scale
    if norm.affine:
        shift = shift + norm.bias.detach()
    return scale, shift


@torch.no_grad()
def fold_into_next(norm: nn.Module, *layers: nn.Linear | nn.Conv2d) -> nn.Module:
    """Fold a BatchNorm into the layers that read its output, in place.

    Exact for layers that see every channel at one point only. An average over windows may stand between the norm and
    a layer as long as the weights of each window sum to 1 (``count_include_pad=False``): it commutes with the norm.

    Args:
        norm: The norm; anything but a BatchNorm is left alone.
        layers: Linear layers or 1x1 convolutions without padding and groups. One without a bias gets one.

    Returns:
        The module to put in the norm's place: ``nn.Identity``, or ``norm`` itself where it was left alone.
    """
    if not isinstance(norm, _BatchNorm):
        return norm
    scale, shift = scale_and_shift(norm)
    for layer in layers:
        weight = layer.weight.flatten(1)
        added = weight @ shift
        layer.bias = nn.Parameter(added if layer.bias is None else layer.bias + added)
        layer.weight.copy_((weight * scale).reshape_as(layer.weight))
    return nn.Identity()


def replace_batch_norms(root: nn.Module) -> None:
    """Put a :class:`ChannelAffine` in the place of every BatchNorm below ``root``."""
    for module in list(root.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, name, ChannelAffine(child))


class ChannelAffine(nn.Module):
    """``y = x * weight + bias`` per channel: a BatchNorm in evaluation that no convolution can absorb.

    Args:
        norm: The BatchNorm to stand in for, with its running statistics.

    Shape:
        ``(B, C, H, W) -> (B, C, H, W)``
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        scale, shift = scale_and_shift(norm)
        self.weight = nn.Parameter(scale[:, None, None].clone())
        self.bias = nn.Parameter(shift[:, None, None].clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight + self.bias
