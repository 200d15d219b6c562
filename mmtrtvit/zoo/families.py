"""The families of backbones: name, paper, recipe, weights, and how the authors count."""

import dataclasses
from collections.abc import Mapping

from ..models import PyramidBackbone
from ..registry import MODELS


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of backbones.

    Attributes:
        title: Its name in tables.
        backbone: Name of its class in the registry.
        blocks: Its parts, as a metafile lists them.
        paper: Title and address.
        page: Its page of the documentation.
        recipe: The recipe of its configs: published with it, or adapted from another one, and how.
        weights: Source of its weights, if there are any.
        licence: Licence of the authors' code, and of the weights where they say so.
        classifiers: Linear layers that end the network for ImageNet; with distillation there are two.
        recipes: The same as ``recipe`` of single tables, such as ``'maskrcnn_1x'``, where it is another one.
        pretraining: The recipes on ImageNet: height of the images to recipe, as ``recipe``.
        classifier_stays: Whether published parameters of detectors and segmentors include the ImageNet
            classifier, which the authors left in the backbone without using it.
    """

    title: str
    backbone: str
    blocks: tuple[str, ...]
    paper: tuple[str, str]
    page: str
    recipe: str
    weights: str
    licence: str
    classifiers: int = 1
    recipes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pretraining: Mapping[int, str] = dataclasses.field(default_factory=dict)
    classifier_stays: bool = False

    @property
    def type(self) -> type[PyramidBackbone]:
        """The class of the backbone."""
        return MODELS.get(self.backbone)

    @property
    def archs(self) -> tuple[str, ...]:
        """Names of its sizes."""
        return tuple(self.type.arch_settings)

    def origin(self, arch: str) -> str:
        """Origin of the widths and depths of a size, in a word or two, such as ``'reconstructed'``."""
        return self.type.arch_settings[arch]['provenance'].split(':')[0].split(' from ')[0]

    def name(self, arch: str) -> str:
        """Name of a size, such as ``'TRT-ViT-C'``; the only size of a family has the family's name."""
        return f'{self.title}-{arch.upper()}' if len(self.archs) > 1 else self.title


_ROI_ALIGN = 'RoIAlign takes 2 x 2 samples a bin, as in every config here'
"""The one difference from the published detectors, which makes an exact export possible."""

_LONGER = f'three times as long, with crops of many sizes; {_ROI_ALIGN}'

_BORROWED = "adapted from Next-ViT's official config"

FAMILIES: dict[str, Family] = {
    'trtvit': Family(
        title='TRT-ViT',
        backbone='TRTViT',
        blocks=('MixBlockC', 'BottleNeck'),
        paper=('TRT-ViT: TensorRT-oriented Vision Transformer', 'https://arxiv.org/abs/2205.09579'),
        page='docs/trt_vit.md',
        recipe=f"{_BORROWED}, with nothing frozen; TRT-ViT's own is not published",
        weights='none is published',
        licence='none: there is no code of the authors',
        pretraining={
            224: 'published in its main settings: that of Swin, with gradients clipped at 1; stochastic depth is not',
            384: "adapted from Next-ViT's official command line; TRT-ViT's own is not published",
        },
    ),
    'nextvit': Family(
        title='Next-ViT',
        backbone='NextViT',
        blocks=('Next Convolution Block', 'Next Transformer Block'),
        paper=(
            'Next-ViT: Next Generation Vision Transformer for Efficient Deployment in Realistic Industrial Scenarios',
            'https://arxiv.org/abs/2207.05501',
        ),
        page='docs/next_vit.md',
        recipe='adapted from the official config for Mask R-CNN',
        weights="none of this project's; the authors', to be converted: https://github.com/bytedance/Next-ViT",
        licence='Apache-2.0',
        recipes={
            'maskrcnn_1x': f'published: the official config; {_ROI_ALIGN}',
            'maskrcnn_3x': f'published: the official config; {_ROI_ALIGN}',
            'semfpn_80k': 'adapted from the official config: as many images, in 80k iterations of 16 for 40k of 32',
            'upernet_160k': 'published: the official config',
        },
        pretraining={
            224: 'published: the official command line, without the 10 epochs at the lowest rate after the 300',
            384: 'published: the official command line',
        },
        classifier_stays=True,
    ),
    'efficientformer': Family(
        title='EfficientFormer',
        backbone='EfficientFormer',
        blocks=('Meta4D: pooling', 'Meta3D: attention with biases'),
        paper=('EfficientFormer: Vision Transformers at MobileNet Speed', 'https://arxiv.org/abs/2206.01191'),
        page='docs/efficientformer.md',
        recipe='adapted from the official config for Mask R-CNN 1x',
        weights="none of this project's; the authors', to be converted: https://github.com/snap-research/EfficientFormer",
        licence='MIT, parts of the code Apache-2.0',
        classifiers=2,
        recipes={
            'maskrcnn_1x': f'published: the official config; {_ROI_ALIGN}',
            'maskrcnn_3x': f'adapted from the official config for 1x: {_LONGER}',
            'retinanet_3x': f'adapted from the official config for Mask R-CNN 1x: {_LONGER}',
            'semfpn_80k': 'published: the official config, in its form for 4 GPUs',
            'upernet_160k': f"{_BORROWED}; EfficientFormer's own does not exist",
        },
        pretraining={
            224: 'adapted from the official command line: without distillation and repeated augmentation',
        },
    ),
    'turbovit': Family(
        title='TurboViT (stand-in)',
        backbone='TurboViT',
        blocks=('Mask Unit Attention', 'Q-pooling'),
        paper=(
            'TurboViT: Generating Fast Vision Transformers via Generative Architecture Search',
            'https://arxiv.org/abs/2308.11421',
        ),
        page='docs/turbovit.md',
        recipe=f"{_BORROWED}, with nothing frozen; TurboViT's own is not published",
        weights='none is published',
        licence='none: there is no code of the authors',
        pretraining={224: "adapted from TRT-ViT's; TurboViT's own is not published"},
    ),
}
"""Families by their names in the names of configs."""
