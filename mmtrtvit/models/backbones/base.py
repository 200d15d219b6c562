"""The base class of all backbones: the contract with heads, training and deployment."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn as nn
from mmengine.model import BaseModule
from torch.nn.modules.batchnorm import _BatchNorm

from ... import checkpoint  # the module: it may be importing mmengine, which registers the backbones, at this moment
from ...errors import ConfigError
from ..layers import fold_batch_norms, recompute_in_backward, replace_batch_norms

_PRETRAINED_KEYS = ('checkpoint', 'prefix', 'allow_mismatch')
"""Keys of ``init_cfg=dict(type='Pretrained', ...)``: arguments of :func:`~mmtrtvit.checkpoint.load_backbone`."""


class PyramidBackbone(BaseModule):
    """A stem, then stages of blocks; each stage halves the resolution of the one before.

    A subclass names its sizes and settings in the class attributes below, builds :attr:`stem`, :attr:`stages` (with
    :meth:`_build_stages`) and :attr:`final_norm` in this order, and ends its constructor with :meth:`freeze`.

    Args:
        arch: A name in :attr:`arch_settings`, or a dict with the same keys.
        out_indices: Stages to return, counted from 0. Stages after the last one are not built, so no
            parameter is ever without a gradient.
        frozen_stages: Parts to freeze: -1 nothing, 0 the stem, ``n`` the stem and the first ``n`` stages.
            Frozen parts stay in evaluation mode in training and get no gradient.
        norm_eval: Keep every BatchNorm in evaluation mode in training (for batches of a few images per GPU).
        with_cp: Compute activations again in the backward pass instead of keeping them, block by block.
        norm_cfg: The norms that a convolution can absorb; by default BatchNorm. Other norms are not folded.
        init_cfg: mmengine's initialisers, in place of :attr:`initialisers`. ``dict(type='Pretrained',
            checkpoint=...)`` loads by name after those and raises unless every tensor of the backbone is filled
            (``allow_mismatch=True`` to accept that).

    Attributes:
        out_channels (tuple[int, ...]): Channels of each map that is returned.
        strides (tuple[int, ...]): Its stride in pixels of the input.

    Shape:
        ``(B, 3, H, W)`` of any size -> one ``(B, out_channels[i], ceil(H / strides[i]), ceil(W / strides[i]))``
        for each of ``out_indices``, as a tuple.

    Raises:
        ConfigError: If an argument cannot be used; the message says which values can.
    """

    arch_settings: ClassVar[Mapping[str, Mapping]] = {}
    """The sizes by name: :attr:`arch_keys`, each with one value per stage, and ``provenance``."""
    arch_keys: ClassVar[tuple[str, ...]] = ('widths', 'depths')
    integer_keys: ClassVar[tuple[str, ...]] = ('widths', 'depths')
    """Those of :attr:`arch_keys` whose values are positive integers."""
    block_letters: ClassVar[tuple[str, ...]] = ()
    """The letters that spell ``block_types``, where an arch has them."""
    initialisers: ClassVar[tuple[Mapping, ...]] = ()
    """mmengine's initialisers that are used where ``init_cfg`` names none."""
    new_parts: ClassVar[tuple[str, ...]] = ()
    """Modules that classifiers do not have: pretrained weights may lack them."""
    stage_strides: ClassVar[tuple[int, ...]] = (4, 8, 16, 32)

    stem: nn.Module
    stages: nn.ModuleList
    final_norm: nn.Module
    """The norm on the map of the last stage, which classifiers need; otherwise ``nn.Identity``."""

    def __init__(
        self,
        arch: str | Mapping,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        configs = [init_cfg] if isinstance(init_cfg, Mapping) else list(init_cfg or [])
        pretrained = [self._read_pretrained(config) for config in configs if config['type'] == 'Pretrained']
        initialisers = [config for config in configs if config['type'] != 'Pretrained'] or list(self.initialisers)
        super().__init__(init_cfg=initialisers or None)
        self.pretrained = pretrained[-1] if pretrained else None
        self.arch = self._read_arch(arch)
        self.out_indices = self._read_out_indices(out_indices)
        if not isinstance(frozen_stages, int) or not -1 <= frozen_stages <= len(self.stage_strides):
            raise ConfigError(
                f'{type(self).__name__}(frozen_stages={frozen_stages!r}).',
                expected=f'-1 (nothing), 0 (stem) or 1 to {len(self.stage_strides)} (stem and that many stages)',
                fix='correct `frozen_stages` in the backbone of the config',
            )
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.norm_cfg = dict(norm_cfg or dict(type='BN', requires_grad=True))
        self.out_channels = tuple(self.stage_widths[i] for i in self.out_indices)
        self.strides = tuple(self.stage_strides[i] for i in self.out_indices)

    def _read_pretrained(self, config: Mapping) -> dict:
        settings = {key: value for key, value in config.items() if key != 'type'}
        unknown = [key for key in settings if key not in _PRETRAINED_KEYS]
        if unknown or 'checkpoint' not in settings:
            fault = f'with unknown {", ".join(map(repr, unknown))}' if unknown else "without 'checkpoint'"
            raise ConfigError(
                f"{type(self).__name__}(init_cfg=dict(type='Pretrained', ...)) {fault}.",
                expected=f'of the keys {", ".join(_PRETRAINED_KEYS)}, the first at least',
                fix='correct `init_cfg` in the backbone of the config',
            )
        return settings

    def _read_arch(self, arch: str | Mapping) -> dict:
        name = type(self).__name__
        if isinstance(arch, str):
            if arch not in self.arch_settings:
                raise ConfigError(
                    f'{name}(arch={arch!r}) is unknown.',
                    expected=f'one of {", ".join(map(repr, self.arch_settings))}, or a dict with '
                    f'the keys {", ".join(self.arch_keys)}',
                    fix='correct `arch` in the backbone of the config',
                )
            return dict(self.arch_settings[arch])
        keys = f'a dict with the keys {", ".join(self.arch_keys)}, each with {len(self.stage_strides)} entries'
        given = arch if isinstance(arch, Mapping) else {}
        missing = [key for key in self.arch_keys if key not in given]
        unknown = [key for key in given if key not in (*self.arch_keys, 'provenance')]
        wrong = [key for key in self.arch_keys if key in given and not self._is_right(key, given[key])]
        faults = {'without': missing, 'with unknown': unknown, 'with a wrong value for': wrong}
        if not isinstance(arch, Mapping) or any(faults.values()):
            said = '; '.join(f'{fault} {", ".join(map(repr, found))}' for fault, found in faults.items() if found)
            raise ConfigError(
                f'{name}(arch={arch!r}): {said or f"a {type(arch).__name__}"}.',
                expected=f'{keys}, or one of the names {", ".join(map(repr, self.arch_settings))}',
                fix='correct `arch` in the backbone of the config',
            )
        return dict(arch)

    def _is_right(self, key: str, values: object) -> bool:
        """True if an entry of an arch dict has one value per stage: positive integers, or the subclass's own."""
        if not isinstance(values, Sequence) or len(values) != len(self.stage_strides):
            return False
        return key not in self.integer_keys or all(isinstance(value, int) and value > 0 for value in values)

    def _read_out_indices(self, out_indices: Sequence[int]) -> tuple[int, ...]:
        given = list(out_indices) if isinstance(out_indices, Sequence) else []
        indices = [stage for stage in range(len(self.stage_strides)) if stage in given]
        if not given or given != indices:
            raise ConfigError(
                f'{type(self).__name__}(out_indices={out_indices!r}).',
                expected=f'increasing stage numbers from 0 to {len(self.stage_strides) - 1}, such as (0, 1, 2, 3)',
                fix='correct `out_indices` in the backbone of the config',
            )
        return tuple(indices)

    def _read_block_types(self) -> tuple[str | Sequence[str], ...]:
        """One letter for each block of each stage.

        Raises:
            ConfigError: If a letter is unknown or a stage has neither one letter nor one for each block.
        """
        types = []
        for stage, (letters, depth) in enumerate(zip(self.arch['block_types'], self.arch['depths'], strict=True)):
            spelled = letters if isinstance(letters, Sequence) else ()
            spelled = spelled * depth if len(spelled) == 1 else spelled
            if len(spelled) != depth or any(letter not in self.block_letters for letter in spelled):
                raise ConfigError(
                    f'{type(self).__name__}: block_types[{stage}]={letters!r} for a stage of {depth} blocks.',
                    expected=f'one letter, or {depth} letters, of {", ".join(self.block_letters)}',
                    fix='correct `block_types` of the arch',
                )
            types.append(spelled)
        return tuple(types)

    @property
    def block_widths(self) -> tuple[tuple[int, ...], ...]:
        """Channels of the map that each block of each stage ends with."""
        return tuple((width,) * depth for width, depth in zip(self.arch['widths'], self.arch['depths'], strict=True))

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """Channels of the map that each stage ends with."""
        return tuple(widths[-1] for widths in self.block_widths)

    @property
    def num_stages(self) -> int:
        """Number of stages that are built: up to the last one that is returned."""
        return self.out_indices[-1] + 1

    def _build_stages(
        self, channels: int, drop_path_rate: float, build_block: Callable[..., nn.Module]
    ) -> nn.ModuleList:
        """Build the blocks of every stage that is needed; the first block of each but the first stage has stride 2.

        Args:
            channels: Channels of the stem's output.
            drop_path_rate: Stochastic depth of the last block, rising linearly from 0 in the first one.
            build_block: Called with the number of the stage and that of the block in it, and with ``in_channels``,
                ``out_channels``, ``stride`` and ``drop_path`` by name.

        Raises:
            ConfigError: If the rate is not a probability below 1.
        """
        if not 0.0 <= drop_path_rate < 1.0:
            raise ConfigError(
                f'{type(self).__name__}(drop_path_rate={drop_path_rate!r}).',
                expected='a probability from 0 to below 1',
                fix='correct `drop_path_rate` in the backbone of the config',
            )
        rates = iter(torch.linspace(0, drop_path_rate, sum(map(len, self.block_widths)), device='cpu').tolist())
        stages = nn.ModuleList()
        for stage, widths in enumerate(self.block_widths[: self.num_stages]):
            blocks = nn.Sequential()
            for place, width in enumerate(widths):
                stride = 2 if stage > 0 and place == 0 else 1
                blocks.append(
                    build_block(
                        stage, place, in_channels=channels, out_channels=width, stride=stride, drop_path=next(rates)
                    )
                )
                channels = width
            stages.append(blocks)
        return stages

    def init_weights(self) -> None:
        """Initialise, and then load the pretrained weights that ``init_cfg`` names, if any."""
        if self.is_init:
            return
        super().init_weights()
        self.init_blocks()
        if self.pretrained is not None:
            checkpoint.load_backbone(self, **self.pretrained)

    def init_blocks(self) -> None:
        """Initialise the parameters that ``init_cfg`` cannot address: a hook for subclasses, empty here."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.stem(x)
        outputs = []
        for index, stage in enumerate(self.stages):
            for block in stage:
                x = recompute_in_backward(block, x) if self.with_cp and torch.is_grad_enabled() else block(x)
            if index in self.out_indices:
                # mmcv's operators (RoIAlign) read memory as NCHW, whatever the strides of a tensor say
                outputs.append(self.output(index, x).contiguous())
        return tuple(outputs)

    def output(self, index: int, x: torch.Tensor) -> torch.Tensor:
        """The map that is returned for the last map ``x`` of stage ``index``."""
        return self.final_norm(x) if index == len(self.stages) - 1 else x

    def freeze(self) -> None:
        """Freeze the stem and the first stages as ``frozen_stages`` says."""
        frozen = [self.stem, *self.stages[: self.frozen_stages]] if self.frozen_stages >= 0 else []
        for module in frozen:
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> 'PyramidBackbone':
        """Set training mode, except for frozen parts and, with ``norm_eval``, for every BatchNorm."""
        super().train(mode)
        self.freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of the layer that a parameter belongs to, for layer-wise learning-rate decay.

        Args:
            param_name: Name of the parameter, with ``prefix``.
            prefix: The part of it before the name that the backbone itself gives, such as ``'backbone.'``.

        Returns:
            ``(depth, number of depths)``: 0 for the stem, ``i`` for the i-th block counted from 1, the last for
            parameters that follow the blocks or are outside the backbone.
        """
        depths = [len(stage) for stage in self.stages]
        last = sum(depths) + 1
        if not param_name.startswith(prefix):
            return last, last + 1
        part, *rest = param_name.removeprefix(prefix).split('.')
        if part == 'stem':
            return 0, last + 1
        if part == 'stages':
            stage, block = int(rest[0]), int(rest[1])
            return sum(depths[:stage]) + block + 1, last + 1
        return last, last + 1

    @torch.no_grad()
    def switch_to_deploy(self) -> None:
        """Take the form that is exported; mmdeploy calls this before it exports. Idempotent.

        Every BatchNorm goes into the convolution before it, every layer that has an export form of its own
        (a ``switch_to_deploy`` method) takes it, and a BatchNorm that is left after that becomes a scale and a
        shift. The output stays the same, which the tests check in float64. The backbone cannot be trained, nor
        its training checkpoint be loaded, after this.
        """
        fold_batch_norms(self)
        for module in self.modules():
            if module is not self and hasattr(module, 'switch_to_deploy'):
                module.switch_to_deploy()
        replace_batch_norms(self)
