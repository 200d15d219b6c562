"""Parameters and multiply-accumulates, counted without running anything.

Networks are built on PyTorch's meta device, which has shapes and no values: a detector at 1280 x 800 is counted in a
second and takes no memory. Convolutions, linear layers and matrix products are counted, as they take the time; those of
attention by themselves. The operators that are left out are listed.
"""

import copy
import dataclasses
import functools
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping

import torch
import torch.nn as nn
from mmengine.config import Config
from mmengine.registry import MODELS
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from .families import FAMILIES
from .methods import METHODS, Method, method_of

CLASSES = 1000
"""Outputs of the ImageNet classifier that the published totals include."""

IMAGENET_SIZES = {'imagenet': 224, 'imagenet_384': 384}
"""Tables of published ImageNet figures to the height and width of their input."""

ATTENTION = ('bmm', 'baddbmm')
"""Operators of attention's two matrix products in the deploy form. mmcv's counter, which gave the published totals of
detectors and segmentors, leaves them out."""

_COPIES = (torch.ops.aten.clone, torch.ops.aten._unsafe_view)
"""Operators beside views that change the layout only, and cost no multiply-accumulates."""


class _OperatorNames(TorchDispatchMode):
    """Records the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket not in flop_registry and not func.is_view and func.overloadpacket not in _COPIES:
            self.calls[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@dataclasses.dataclass(frozen=True)
class Complexity:
    """The cost of a network on one input.

    Attributes:
        shape: Shape of the input.
        params: Parameters, and buffers not counted.
        macs: Multiply-accumulates by operator, such as ``convolution``, ``addmm`` (linear layers), ``bmm``.
        parts: ``(parameters, multiply-accumulates)`` by part: the stem and each stage of a backbone, or the backbone,
            the neck and each head of a network.
        skipped: Calls of operators that are not counted, by name: norms, activations, pooling, additions.
    """

    shape: tuple[int, ...]
    params: int
    macs: Mapping[str, int]
    parts: Mapping[str, tuple[int, int]]
    skipped: Mapping[str, int]

    @property
    def total_macs(self) -> int:
        """Multiply-accumulates of all operators."""
        return sum(self.macs.values())

    @property
    def attention_macs(self) -> int:
        """Those of attention's matrix products."""
        return sum(self.macs.get(name, 0) for name in ATTENTION)

    def to_dict(self) -> dict:
        """As plain data."""
        return dict(
            kind='measured',
            method='counted on the graph of the deploy form; multiply-accumulates, norms and activations left out',
            shape='x'.join(map(str, self.shape)),
            params=self.params,
            macs=self.total_macs,
            macs_by_operator=dict(self.macs),
            parts={name: dict(params=params, macs=macs) for name, (params, macs) in self.parts.items()},
            skipped=dict(self.skipped),
        )


@dataclasses.dataclass(frozen=True)
class NetworkComplexity(Complexity):
    """The cost of a detector or segmentor, and the share that published totals include.

    Attributes:
        method: Its name in :data:`~mmtrtvit.zoo.methods.METHODS`.
        trained_params: Parameters without those that the authors of published totals freeze.
        idle: Parts with parameters that do not run in testing and so have no multiply-accumulates.
    """

    method: str
    trained_params: int
    idle: tuple[str, ...]

    @property
    def published_macs(self) -> int:
        """Multiply-accumulates as published: without attention's two matrix products."""
        return self.total_macs - self.attention_macs


def count_operators(work: Callable, *inputs) -> tuple[object, dict[str, int], dict[str, int], dict[str, int]]:
    """The output of ``work``, its multiply-accumulates by operator and by module, and the operators left out."""
    # PyTorch does not count the fused attention of CPUs
    with (
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
        _OperatorNames() as names,
        FlopCounterMode(display=False) as counter,
    ):
        output = work(*inputs)
    counts = counter.get_flop_counts()
    by_operator = {operator.__name__: flops // 2 for operator, flops in counts.pop('Global', {}).items()}
    by_module = {name: sum(flops.values()) // 2 for name, flops in counts.items()}
    return output, by_operator, by_module, dict(names.calls.most_common())


def count_complexity(model: nn.Module, shape: tuple[int, ...]) -> Complexity:
    """Count a network with one input tensor.

    Args:
        model: A network on the meta device (``with torch.device('meta')``), where nothing is computed, or on any other.
        shape: Shape of the input.
    """
    device = next((tensor.device for tensor in model.parameters()), torch.device('cpu'))
    _, by_operator, by_module, skipped = count_operators(model, torch.empty(shape, device=device))
    parts: dict[str, list[int]] = {}
    # Stages are lists of blocks that the backbone runs one by one: a stage is the sum of its blocks.
    for name, macs in by_module.items():
        found = re.fullmatch(r'\w+\.(stem|(stages\.\d+)\.\d+)', name)
        if found:
            part = parts.setdefault(found[2] or found[1], [0, 0])
            part[1] += macs
    for name, part in parts.items():
        part[0] = sum(parameter.numel() for parameter in model.get_submodule(name).parameters())
    return Complexity(
        shape=tuple(shape),
        params=sum(parameter.numel() for parameter in model.parameters()),
        macs=by_operator,
        parts={name: (params, macs) for name, (params, macs) in parts.items()},
        skipped=skipped,
    )


@functools.cache
def backbone_complexity(
    arch: str, size: int | tuple[int, int] = 224, batch: int = 1, family: str = 'trtvit'
) -> Complexity:
    """Count a backbone in its deploy form, where attention is matrix products.

    The parameters are those of the training form: folding takes those of the BatchNorms away.

    Args:
        arch: A size of the family.
        size: Height and width of the input, or both if they differ.
        batch: Images in the input.
        family: A name in :data:`~mmtrtvit.zoo.families.FAMILIES`.

    Raises:
        ConfigError: If ``arch`` is unknown.
    """
    with torch.device('meta'):
        backbone = FAMILIES[family].type(arch=arch).eval()
        params = {name: _size(part) for name, part in _parts(backbone)}
        total = _size(backbone)
        backbone.switch_to_deploy()
    sides = (size, size) if isinstance(size, int) else size
    counted = count_complexity(backbone, (batch, 3, *sides))
    parts = {name: (params[name], macs) for name, (_, macs) in counted.parts.items()}
    return dataclasses.replace(counted, params=total, parts=parts)


def _size(module: nn.Module, trained: bool = False) -> int:
    """Number of parameters, or of those that are trained."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad or not trained)


def _parts(backbone: nn.Module):
    yield 'stem', backbone.stem
    for index, stage in enumerate(backbone.stages):
        yield f'stages.{index}', stage


@functools.cache
def classifier_params(arch: str, family: str = 'trtvit') -> int:
    """Parameters of the linear layer to 1000 classes that ends the network for ImageNet, or of both with two."""
    with torch.device('meta'):
        width = FAMILIES[family].type(arch=arch).out_channels[-1]
    return FAMILIES[family].classifiers * (width + 1) * CLASSES


def classifier_complexity(arch: str, size: int = 224, family: str = 'trtvit') -> tuple[int, int]:
    """Parameters and multiply-accumulates with the ImageNet classifier, as published.

    The classifier is a norm, the mean over all pixels and one linear layer, or two whose outputs are averaged. Norms
    that a backbone has for dense prediction only are not counted.
    """
    with torch.device('meta'):
        backbone = FAMILIES[family].type(arch=arch, final_norm=True)
    linear = classifier_params(arch, family)
    macs = FAMILIES[family].classifiers * backbone.out_channels[-1] * CLASSES
    return _size(backbone) + linear, backbone_complexity(arch, size, family=family).total_macs + macs


_counted: dict[tuple, NetworkComplexity] = {}
"""Earlier results: configs of several schedules share a model."""


def network_complexity(config: Config, shape: tuple[int, int] | None = None) -> NetworkComplexity:
    """Count a detector or segmentor: any backbone, any of :data:`~mmtrtvit.zoo.methods.METHODS`.

    The parts that run in testing are counted one after the other, a RoI head on as many RoIs as published totals
    are for. The steps between networks are left out: choice of proposals, suppression, pasting of masks.

    Args:
        config: A config as ``configs/upernet_trtvit_b_ade20k.py``; it stays as it is.
        shape: Height and width of the input; by default those of the published totals.

    Raises:
        ConfigError: If the config's method is not one that this package counts.
    """
    name = method_of(config)
    shape = tuple(shape or METHODS[name].shape)
    key = (config.default_scope, shape, json.dumps(config.model.to_dict(), sort_keys=True))
    if key not in _counted:
        _counted[key] = _count_network(config, name, METHODS[name], shape)
    return _counted[key]


def published_params(network: NetworkComplexity, family: str, arch: str) -> int:
    """Parameters of a network by the rules of the published totals of a family.

    Published totals of some families include the ImageNet classifier, which their authors left in the backbone.
    """
    classifier = classifier_params(arch, family) if FAMILIES[family].classifier_stays else 0
    return network.trained_params + classifier


def _count_network(config: Config, name: str, method: Method, shape: tuple[int, int]) -> NetworkComplexity:
    model = copy.deepcopy(config.model)
    model.backbone.frozen_stages = method.frozen_stages
    model.pop('init_cfg', None)
    with torch.device('meta'):
        network = MODELS.build(dict(model, _scope_=config.default_scope)).eval()
        params, trained = _size(network), _size(network, trained=True)
        sizes = {part: _size(module) for part, module in network.named_children()}
        network.backbone.switch_to_deploy()

    macs, skipped, parts = Counter(), Counter(), {}

    def count(part: str, module: nn.Module, inputs: object) -> object:
        output, by_operator, _, left_out = count_operators(module, inputs)
        macs.update(by_operator)
        skipped.update(left_out)
        parts[part] = (sizes.get(part, _size(module)), sum(by_operator.values()))
        return output

    run_parts(network, method, torch.empty(1, 3, *shape, device='meta'), count)
    ran = {part.split('.')[0] for part in parts}
    return NetworkComplexity(
        shape=(1, 3, *shape),
        params=params,
        macs=dict(macs),
        parts=parts,
        skipped=dict(skipped.most_common()),
        method=name,
        trained_params=trained,
        idle=tuple(part for part, size in sizes.items() if size and part not in ran),
    )


def run_parts(
    network: nn.Module, method: Method, image: torch.Tensor, run: Callable[[str, nn.Module, object], object]
) -> None:
    """Give the parts of a detector or segmentor that run in testing to a function, one after the other.

    Args:
        network: The network.
        method: Its method.
        image: ``(1, 3, H, W)``.
        run: Called with the name of a part, the part and its input, and returns the part's output. The RoIs of a RoI
            head are as many as published totals are for.
    """
    x: object = image
    for part in method.chain:
        x = run(part, network.get_submodule(part), x)
    for prefix, rois in method.rois.items():
        extractor = network.get_submodule(f'roi_head.{prefix}_roi_extractor')
        shape = (rois, extractor.out_channels, *extractor.roi_layers[0].output_size)
        part = f'roi_head.{prefix}_head'
        run(part, network.get_submodule(part), torch.zeros(shape, device=image.device))


def with_backbone(config: Config, backbone: Mapping) -> Config:
    """A config with another backbone, and with its channels wherever they are asked for.

    Args:
        config: A config of one of :data:`~mmtrtvit.zoo.methods.METHODS`; it stays as it is.
        backbone: Settings of a backbone, such as ``dict(type='mmtrtvit.NextViT', arch='s')``.
    """
    with torch.device('meta'):
        channels = MODELS.build(dict(backbone)).out_channels
    config = copy.deepcopy(config)
    model = config.model
    model.backbone = dict(backbone)
    model['neck' if 'neck' in model else 'decode_head'].in_channels = list(channels)
    if 'auxiliary_head' in model:
        model.auxiliary_head.in_channels = channels[model.auxiliary_head.in_index]
    return config
