"""Parameters and multiply-accumulates, counted without running anything.

Networks are built on PyTorch's meta device, which has shapes and no values: a detector at 1280 x 800 is counted in a
second and takes no memory. What is counted is what takes the time: convolutions, linear layers and matrix products,
those of attention included. What is not counted is named.
"""

import dataclasses
import functools
import re
from collections import Counter
from collections.abc import Mapping

import torch
import torch.nn as nn
from mmengine.config import Config
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from ..models import TRTViT

CLASSES = 1000
"""Outputs of the ImageNet classifier that the published totals include."""

DETECTION_SHAPE = (800, 1280)
"""Height and width at which FLOPs of detectors are published (mmdetection's default)."""

PROPOSALS, MASKS = 1000, 100
"""RoIs that the box head and the mask head are counted for, as mmdetection's counter does."""

_ATTENTION = 'bmm'
"""Where attention's two matrix products are counted in the deploy form; mmcv's counter leaves them out."""

_COPIES = (torch.ops.aten.clone, torch.ops.aten._unsafe_view)
"""Changes of layout, beside views: there is nothing to count in them."""


class _OperatorNames(TorchDispatchMode):
    """Notes which operators run."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket not in flop_registry and not func.is_view and func.overloadpacket not in _COPIES:
            self.calls[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@dataclasses.dataclass(frozen=True)
class Complexity:
    """What a network costs on one input.

    Attributes:
        shape: Shape of the input.
        params: Parameters, and buffers not counted.
        macs: Multiply-accumulates by operator, such as ``convolution``, ``addmm`` (linear layers), ``bmm``.
        parts: ``(parameters, multiply-accumulates)`` by part: the stem and each stage of a backbone.
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


def _count(work, *inputs: torch.Tensor) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Multiply-accumulates by operator and by module, and the operators that are not counted."""
    with torch.no_grad(), _OperatorNames() as names, FlopCounterMode(display=False) as counter:
        work(*inputs)
    counts = counter.get_flop_counts()
    by_operator = {operator.__name__: flops // 2 for operator, flops in counts.pop('Global', {}).items()}
    by_module = {name: sum(flops.values()) // 2 for name, flops in counts.items()}
    return by_operator, by_module, dict(names.calls.most_common())


def count_complexity(model: nn.Module, shape: tuple[int, ...]) -> Complexity:
    """Count a network with one input tensor.

    Args:
        model: On the meta device (``with torch.device('meta')``), where nothing is computed, or on any other.
        shape: Shape of the input.
    """
    device = next((tensor.device for tensor in model.parameters()), torch.device('cpu'))
    by_operator, by_module, skipped = _count(model, torch.empty(shape, device=device))
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
def backbone_complexity(arch: str, size: int = 224, batch: int = 1) -> Complexity:
    """Count a TRT-ViT backbone in its deploy form, where attention is matrix products.

    The parameters are those of the training form: folding takes those of the BatchNorms away.

    Args:
        arch: As in :class:`~mmtrtvit.models.TRTViT`.
        size: Height and width of the input.
        batch: Images in the input.

    Raises:
        ConfigError: If ``arch`` is unknown.
    """
    with torch.device('meta'):
        backbone = TRTViT(arch=arch).eval()
        params = {name: sum(p.numel() for p in part.parameters()) for name, part in _parts(backbone)}
        total = sum(parameter.numel() for parameter in backbone.parameters())
        backbone.switch_to_deploy()
    counted = count_complexity(backbone, (batch, 3, size, size))
    parts = {name: (params[name], macs) for name, (_, macs) in counted.parts.items()}
    return dataclasses.replace(counted, params=total, parts=parts)


def _parts(backbone: nn.Module):
    yield 'stem', backbone.stem
    for index, stage in enumerate(backbone.stages):
        yield f'stages.{index}', stage


def classifier_complexity(arch: str, size: int = 224) -> tuple[int, int]:
    """Parameters and multiply-accumulates with the ImageNet classifier, as published.

    The classifier is a BatchNorm, the mean over all pixels and a linear layer.
    """
    backbone = backbone_complexity(arch, size)
    width = TRTViT.arch_settings[arch]['widths'][-1]
    return backbone.params + 2 * width + (width + 1) * CLASSES, backbone.total_macs + width * CLASSES


def detector_complexity(config: Config) -> tuple[int, int]:
    """Parameters and multiply-accumulates of a Mask R-CNN config, by the rules of the published totals.

    Parameters: all but those of stem and first stage, which the authors freeze. Multiply-accumulates: at
    1280 x 800 with 1000 proposals and 100 masks, without attention's two matrix products, which the counter that
    the authors used does not know.

    Args:
        config: A config as ``configs/maskrcnn_trtvit_b_coco.py``.
    """
    from mmdet.registry import MODELS as DETECTORS

    model = config.model.copy()
    model.backbone = dict(model.backbone, frozen_stages=1)
    with torch.device('meta'):
        detector = DETECTORS.build(dict(model, _scope_='mmdet')).eval()
        params = sum(parameter.numel() for parameter in detector.parameters() if parameter.requires_grad)
        detector.backbone.switch_to_deploy()

    def run(image: torch.Tensor) -> None:
        maps = detector.neck(detector.backbone(image))
        detector.rpn_head(maps)
        head = detector.roi_head
        for part, extractor, rois in (
            (head.bbox_head, head.bbox_roi_extractor, PROPOSALS),
            (head.mask_head, head.mask_roi_extractor, MASKS),
        ):
            size = extractor.roi_layers[0].output_size
            part(torch.empty(rois, extractor.out_channels, *size, device='meta'))

    by_operator, _, _ = _count(run, torch.empty(1, 3, *DETECTION_SHAPE, device='meta'))
    return params, sum(macs for name, macs in by_operator.items() if name != _ATTENTION)
