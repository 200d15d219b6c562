"""Published figures: ``docs/results/published.yaml``, read."""

import os
from collections.abc import Mapping
from pathlib import Path

import yaml

from ..errors import DataError

PATH = Path('docs/results/published.yaml')

MARKS = {'printed': '', 'copied': '', 'recalled': ' (r)'}
"""What stands behind a figure of a source, by how the source was read."""


class Published:
    """Published figures and where they are from.

    Args:
        data: What the file holds.
    """

    def __init__(self, data: Mapping) -> None:
        self.sources = data['sources']
        self.families = data['families']

    @classmethod
    def read(cls, root: str | os.PathLike) -> 'Published':
        """Read the file of a checkout.

        Raises:
            DataError: If there is none.
        """
        path = Path(root) / PATH
        if not path.is_file():
            raise DataError(
                f'There is no {PATH} in {Path(root).absolute()}.',
                expected='a checkout of mmtrtvit',
                fix='run tools/update_tables.py of a checkout',
            )
        return cls(yaml.safe_load(path.read_text(encoding='utf-8')))

    def find(self, family: str, arch: str, table: str) -> Mapping | None:
        """The figures of a size in a table, such as ``'imagenet'`` or ``'maskrcnn_1x'``; ``None`` without."""
        return self.families.get(family, {}).get(arch, {}).get(table)

    def text(self, figures: Mapping) -> str:
        """Where figures are from."""
        return self.sources[figures['source']]['text']

    def mark(self, figures: Mapping) -> str:
        """What stands behind figures that are quoted from memory; empty for others."""
        return MARKS[self.sources[figures['source']]['read']]
