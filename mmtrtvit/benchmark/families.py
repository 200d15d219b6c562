"""The families of backbones: what each is called, where it comes from, and how its totals are published."""

import dataclasses

from ..models import PyramidBackbone
from ..registry import MODELS


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of backbones.

    Attributes:
        title: Its name in tables.
        backbone: Name of its class in the registry.
        blocks: What a metafile says that it is made of.
        paper: Title and address.
        page: Its page of the documentation.
        recipe: Whose recipes its configs follow.
        weights: What there is of weights.
        classifier_stays: Whether published parameters of detectors and segmenters include the ImageNet
            classifier, which the authors left in the backbone without using it.
    """

    title: str
    backbone: str
    blocks: tuple[str, ...]
    paper: tuple[str, str]
    page: str
    recipe: str
    weights: str
    classifier_stays: bool

    @property
    def type(self) -> type[PyramidBackbone]:
        """The class of the backbone."""
        return MODELS.get(self.backbone)

    @property
    def archs(self) -> tuple[str, ...]:
        """Names of its sizes."""
        return tuple(self.type.arch_settings)

    def origin(self, arch: str) -> str:
        """Where the widths and depths of a size come from, in a word or two, such as ``'reconstructed'``."""
        return self.type.arch_settings[arch]['provenance'].split(':')[0].split(' from ')[0]

    def name(self, arch: str) -> str:
        """Name of a size, such as ``'TRT-ViT-C'``."""
        return f'{self.title}-{arch.upper()}'


FAMILIES: dict[str, Family] = {
    'trtvit': Family(
        title='TRT-ViT',
        backbone='TRTViT',
        blocks=('MixBlockC', 'BottleNeck'),
        paper=('TRT-ViT: TensorRT-oriented Vision Transformer', 'https://arxiv.org/abs/2205.09579'),
        page='docs/trt_vit.md',
        recipe="adapted from Next-ViT's official configs, with nothing frozen; TRT-ViT's own is not published",
        weights='none is published',
        classifier_stays=False,
    ),
    'nextvit': Family(
        title='Next-ViT',
        backbone='NextViT',
        blocks=('Next Convolution Block', 'Next Transformer Block'),
        paper=(
            'Next-ViT: Next Generation Vision Transformer for Efficient Deployment in Realistic Industrial Scenarios',
            'https://arxiv.org/abs/2207.05501',
        ),
        page='docs/model_zoo.md',
        recipe="Next-ViT's official configs",
        weights="none of this project's; the authors': https://github.com/bytedance/Next-ViT",
        classifier_stays=True,
    ),
}
"""Name in the names of configs to the family."""
