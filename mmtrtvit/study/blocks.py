"""The blocks at the four feature sizes of ResNet: the paper's Table 1 on any backend."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn as nn

from ..benchmark.sources import Source
from ..benchmark.speed import PYTORCH, known_names, measure_inputs
from ..models import TRTViT

BLOCKS: dict[str, str] = {
    'BottleNeck': 'C',
    'Transformer': 'T',
    'MixBlockA': 'A',
    'MixBlockB': 'B',
    'MixBlockC': 'M',
}
"""Blocks to their letters in ``block_types``."""

STAGES: tuple[tuple[int, int], ...] = ((256, 56), (512, 28), (1024, 14), (2048, 7))
"""Channels, and height and width, of ResNet's stages at 224 x 224."""


@dataclasses.dataclass(frozen=True)
class BlockSource(Source):
    """A block inside of a stage: as many channels out as in, stride 1.

    Attributes:
        letter: Its letter in ``block_types``.
        stage: The stage, counted from 0.
    """

    letter: str = ''
    stage: int = 0

    def backbone(self) -> TRTViT:
        """The smallest backbone with the block in it, behind one that sets the channels."""
        types = ['C'] * len(STAGES)
        types[self.stage] = self.letter
        arch = dict(
            widths=tuple(channels for channels, _ in STAGES),
            depths=tuple(2 if stage == self.stage else 1 for stage in range(len(STAGES))),
            block_types=tuple(types),
        )
        return TRTViT(arch, out_indices=(self.stage,))

    def block_of(self, backbone: TRTViT) -> nn.Module:
        """The block in its backbone."""
        return backbone.stages[self.stage][1]

    def build(self) -> nn.Module:
        """The block in the form that is deployed."""
        backbone = self.backbone().eval()
        backbone.switch_to_deploy()
        return self.block_of(backbone)


def block_source(name: str, stage: int) -> BlockSource:
    """A block of :data:`BLOCKS` in a stage, counted from 0."""
    letter = BLOCKS[name]
    facts = dict(
        name=f'{name}, stage {stage + 1}',
        scope='block',
        family='trtvit',
        origin='ours',
        extra=dict(study=dict(block=name, stage=stage + 1)),
    )
    source = BlockSource(facts, letter=letter, stage=stage)
    return dataclasses.replace(source, make=lambda: source.block_of(source.backbone()))


def study_blocks(
    blocks: Sequence[str] = tuple(BLOCKS),
    out: str | os.PathLike = 'work_dirs/study',
    *,
    batches: Sequence[int] = (1,),
    backends: Sequence[str] = (PYTORCH, 'onnxruntime', 'openvino'),
    modes: Sequence[str] = ('eager',),
    precisions: Sequence[str] = ('fp32',),
    **settings: Any,
) -> list[Mapping]:
    """Measure blocks at all feature sizes of :data:`STAGES`, those of one batch in turn.

    Args:
        blocks: Keys of :data:`BLOCKS`.
        out: Folder of ``rows.jsonl``; rows are added to those that are there.
        batches: Numbers of images.
        backends, modes, precisions, settings: As in :func:`~mmtrtvit.benchmark.speed.measure_inputs`.

    Returns:
        The rows.

    Raises:
        ConfigError: If a block is unknown, and as :func:`~mmtrtvit.benchmark.speed.measure_inputs`.
    """
    known_names('--blocks', blocks, BLOCKS)
    inputs = [
        [
            (block_source(name, stage), (batch, channels, side, side))
            for stage, (channels, side) in enumerate(STAGES)
            for name in blocks
        ]
        for batch in batches
    ]
    return measure_inputs(inputs, out, backends=backends, modes=modes, precisions=precisions, **settings)
