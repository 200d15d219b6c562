"""Learning rates that fall from the head towards the stem."""

import torch.nn as nn
from mmengine.optim import DefaultOptimWrapperConstructor

from ..errors import ConfigError
from ..registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Multiply the learning rate of each layer of the backbone by a power of ``paramwise_cfg.layer_decay``.

    A parameter at depth ``d`` of ``n``, as the backbone's ``get_layer_depth`` counts, gets
    ``lr * layer_decay ** (n - d - 1)``: the last depth the full rate, the stem the smallest (as in the fine-tuning of
    BEiT, arXiv:2106.08254; the depths are those of mmpretrain's interface). Parameters outside a backbone with
    ``get_layer_depth`` get the full rate. All other settings of ``paramwise_cfg`` keep their meaning, and their
    factors of the learning rate are multiplied with these.

    Args:
        optim_wrapper_cfg: As in :class:`mmengine.optim.DefaultOptimWrapperConstructor`.
        paramwise_cfg: Settings with ``layer_decay``, above 0 and at most 1.

    Raises:
        ConfigError: If ``layer_decay`` is missing or out of range, the optimiser has no ``lr``, or no part of the
            network has ``get_layer_depth``.
    """

    def _validate_cfg(self) -> None:
        super()._validate_cfg()
        decay = self.paramwise_cfg.get('layer_decay')
        if not isinstance(decay, (int, float)) or not 0 < decay <= 1 or self.base_lr is None:
            raise ConfigError(
                f'Layer-wise learning-rate decay with layer_decay={decay!r} and optimizer.lr={self.base_lr!r}.',
                expected='a factor above 0 and at most 1, such as 0.9, and a learning rate',
                fix='set optim_wrapper.paramwise_cfg.layer_decay and optim_wrapper.optimizer.lr',
            )

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', **options) -> None:
        """Add the parameter groups of ``module``; at the root of the network, scale their learning rates."""
        super().add_params(params, module, prefix=prefix, **options)
        if prefix:  # the base class calls this for every child
            return
        names = {parameter: name for name, parameter in module.named_parameters()}
        backbones = {
            f'{name}.' if name else '': part
            for name, part in module.named_modules()
            if hasattr(part, 'get_layer_depth')
        }
        if not backbones:
            raise ConfigError(
                f'Layer-wise learning-rate decay: no part of {type(module).__name__} has get_layer_depth.',
                expected='a backbone that counts its layers, such as TRTViT',
                fix='use another backbone, or leave out optim_wrapper.constructor',
            )
        for group in params:
            name = names[group['params'][0]]
            for start, backbone in backbones.items():
                if name.startswith(start):
                    depth, depths = backbone.get_layer_depth(name, start)
                    factor = self.paramwise_cfg['layer_decay'] ** (depths - depth - 1)
                    group['lr'] = group.get('lr', self.base_lr) * factor
                    break
