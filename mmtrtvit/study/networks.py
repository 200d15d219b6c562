"""The networks of the study: settings of one class that differ in one thing at a time.

The paper's own widths and depths of these networks were not available: those here are the project's own choice. All
have the widths of TRT-ViT-A and, but for the refined ones, the depths of ResNet-50. PVT reduces keys and values in its
early stages; the PVT-like network here does not, so its early stages cost more than PVT's.
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..benchmark.sources import Source
from ..benchmark.speed import known_names, measure_sources
from ..models import TRTViT

WIDTHS = (128, 256, 512, 1024)
"""Channels of the four stages."""

DEPTHS = (3, 4, 6, 3)
"""Blocks of the four stages: those of ResNet-50."""

REFINED = (2, 2, 9, 3)
"""Shallow, then deep: as many blocks, three of which went from the first two stages to the third."""

HEAD_DIM = 32
"""Channels of an attention head at full width."""


@dataclasses.dataclass(frozen=True)
class Network:
    """A setting of :class:`~mmtrtvit.models.TRTViT`.

    Attributes:
        types: Letter of the blocks of each stage, such as ``'CCCM'``.
        depths: Blocks of each stage.
        shrink_ratio: The paper's R.
    """

    types: str
    depths: tuple[int, ...] = DEPTHS
    shrink_ratio: float = 0.5

    def backbone(self, width: float = 1.0, **settings: Any) -> TRTViT:
        """The network.

        Args:
            width: Factor of the channels of stages and attention heads.
            settings: Further arguments of :class:`~mmtrtvit.models.TRTViT`.

        Raises:
            ConfigError: If the channels cannot be shared out to heads of attention.
        """
        arch = dict(widths=tuple(int(channels * width) for channels in WIDTHS), **self.stages())
        return TRTViT(arch, shrink_ratio=self.shrink_ratio, head_dim=int(HEAD_DIM * width), **settings)

    def stages(self) -> dict[str, tuple]:
        """Depths and block types as an ``arch`` has them."""
        return dict(depths=self.depths, block_types=tuple(self.types))

    def facts(self) -> dict:
        """The properties that set it apart, as plain data."""
        return dict(types='-'.join(self.types), depths=list(self.depths), shrink_ratio=self.shrink_ratio)


NETWORKS: dict[str, Network] = {
    'ResNet': Network('CCCC'),
    'PVT-like': Network('TTTT'),
    'MixNetV': Network('CCCT'),
    'Refined-ResNet': Network('CCCC', REFINED),
    'Refined-PVT-like': Network('TTTT', REFINED),
    'Refined-MixNetV': Network('CCCT', REFINED),
    'MixNetA': Network('CCCA'),
    'MixNetB': Network('CCCB'),
    'MixNetC': Network('CCCM'),
    'C-C-M-M': Network('CCMM'),
    'C-M-M-M': Network('CMMM'),
    'M-M-M-M': Network('MMMM'),
    'MixNetC, R = 0.25': Network('CCCM', shrink_ratio=0.25),
    'MixNetC, R = 0.75': Network('CCCM', shrink_ratio=0.75),
}
"""The networks by name."""

STUDIES: dict[str, tuple[str, ...]] = {
    'networks': tuple(NETWORKS)[:9],
    'placement': ('ResNet', 'MixNetC', 'C-C-M-M', 'C-M-M-M', 'M-M-M-M'),
    'shrink': ('MixNetC, R = 0.25', 'MixNetC', 'MixNetC, R = 0.75'),
}
"""Comparison to its networks: those of the paper, the stages with mixed blocks, and the share of the Transformer."""


def network_source(name: str) -> Source:
    """A network of :data:`NETWORKS` as a source of the benchmark."""
    network = NETWORKS[name]
    facts = dict(name=name, scope='backbone', family='trtvit', origin='ours', extra=dict(study=network.facts()))
    return Source(facts, network.backbone)


def names_of(studies: Iterable[str]) -> list[str]:
    """The networks of studies, each once.

    Raises:
        ConfigError: If a study is unknown.
    """
    studies = list(studies)
    known_names('--studies', studies, STUDIES)
    return list(dict.fromkeys(name for study in studies for name in STUDIES[study]))


def study_networks(
    studies: Sequence[str] = tuple(STUDIES), out: str | os.PathLike = 'work_dirs/study', **settings: Any
) -> list[Mapping]:
    """Measure networks in turn.

    Args:
        studies: Keys of :data:`STUDIES`.
        out: Folder of ``rows.jsonl``; rows are added to those that are there.
        settings: Further arguments of :func:`~mmtrtvit.benchmark.speed.measure_sources`.

    Returns:
        The rows.

    Raises:
        ConfigError: If a study is unknown, and as :func:`~mmtrtvit.benchmark.speed.measure_sources`.
    """
    return measure_sources([network_source(name) for name in names_of(studies)], out, **settings)
