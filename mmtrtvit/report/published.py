"""Published figures: ``docs/results/published.yaml``, read and cited."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from ..errors import DataError

PATH = Path('docs/results/published.yaml')


class Published:
    """Published figures and their sources.

    Args:
        data: The content of the file.
    """

    def __init__(self, data: Mapping) -> None:
        self.sources = data['sources']
        self.families = data['families']
        self.peers = data.get('peers', {})

    @classmethod
    def read(cls, root: str | os.PathLike) -> 'Published':
        """Read the file of a checkout.

        Raises:
            DataError: If the file is missing.
        """
        path = Path(root) / PATH
        if not path.is_file():
            raise DataError(
                f'There is no {PATH} in {Path(root).absolute()}.',
                expected='a checkout of mmtrtvit',
                fix='run tools/dev/update_pages.py of a checkout',
            )
        return cls(yaml.safe_load(path.read_text(encoding='utf-8')))

    def find(self, family: str, arch: str, table: str) -> Mapping | None:
        """The figures of a size in a table, such as ``'imagenet'`` or ``'maskrcnn_1x'``; ``None`` without."""
        return self.families.get(family, {}).get(arch, {}).get(table)

    def find_row(self, row: Mapping, size: Sequence[int]) -> Mapping | None:
        """The ImageNet figures of the backbone that a row measured, at its input size; ``None`` without.

        Args:
            row: A row as :mod:`mmtrtvit.measurement` describes it.
            size: Height and width of its input.
        """
        if row['scope'] != 'backbone' or list(size) not in ([224, 224], [384, 384]):
            return None
        table = 'imagenet' if size[0] == 224 else 'imagenet_384'
        if row['origin'] == 'timm':
            # a name without a tag stands for the weights that are listed of it
            weights = {**{name.split('.')[0]: name for name in self.peers}, **{name: name for name in self.peers}}
            return self.peers.get(weights.get(row['source']), {}).get(table)
        return self.find(row['family'], row['arch'], table) if row['origin'] == 'ours' else None

    def text(self, figures: Mapping) -> str:
        """The source of figures, in words."""
        return self.sources[figures['source']]['text']


class Notes:
    """The sources below a table, numbered in the order in which they are cited.

    Args:
        published: The figures.
    """

    def __init__(self, published: Published) -> None:
        self._published = published
        self._numbers: dict[str, int] = {}

    def number(self, figures: Mapping) -> str:
        """The mark of the source of ``figures``, such as ``'[1]'``, or ``'[1] (r)'`` where it is from memory."""
        number = self._numbers.setdefault(figures['source'], len(self._numbers) + 1)
        return f'[{number}]{" (r)" if self._recalled(figures["source"]) else ""}'

    def cited(self, figures: Mapping | None, text: str, without: str = 'none') -> str:
        """A text with figures filled in and its source, such as ``'82.7 [1] (r)'``.

        Args:
            figures: A table of a size, or nothing.
            text: Format of the figures, such as ``'{params_m} / {flops_g}'``.
            without: The text without figures.
        """
        return self.marked(text.format(**figures), figures) if figures else without

    def marked(self, text: str, figures: Mapping | None) -> str:
        """A text with the mark of the source behind it, if there are figures."""
        return f'{text} {self.number(figures)}' if figures else text

    def lines(self) -> list[str]:
        """One line for each source, and one that explains the mark of recalled figures where there are any."""
        lines = [
            f'[{number}] *Published*: {self._published.sources[name]["text"]}' for name, number in self._numbers.items()
        ]
        return [
            *lines,
            *(['(r): recalled, found in no text at hand.'] if any(map(self._recalled, self._numbers)) else []),
        ]

    def _recalled(self, source: str) -> bool:
        return self._published.sources[source]['read'] == 'recalled'
