"""The table of configs."""

import re
from pathlib import Path

from ...zoo.complexity import network_complexity
from ...zoo.configs import find_configs
from ...zoo.methods import METRIC_TITLES
from ..published import Published
from .text import Notes, markdown, millions

HEADLINES = ('box_ap', 'mask_ap', 'miou', 'miou_ms')
"""The metrics that the table shows, of those that are published."""


def zoo_table(root: Path, published: Published, family: str) -> str:
    """Every config of a family: what it is, what it counts to, and what is published of its like.

    Args:
        root: A checkout.
        published: What the literature says.
        family: A name in :data:`~mmtrtvit.zoo.families.FAMILIES`.
    """
    rows, notes = [], Notes(published)
    for entry in find_configs(root):
        if entry.family != family:
            continue
        network = network_complexity(entry.load())
        figures = published.find(family, entry.arch, entry.table)
        said = 'none'
        if figures:
            shown = [f'{METRIC_TITLES[key]} {figures[key]}' for key in HEADLINES if key in figures]
            said = f'{", ".join(shown)} {notes.number(figures)}'
        rows.append(
            [
                f'`configs/{entry.path.name}`',
                entry.title,
                entry.about.title,
                entry.schedule,
                millions(network.params),
                f'{network.total_macs / 1e9:.0f}',
                re.match('published|adapted', entry.recipe)[0],
                said,
            ]
        )
    if not rows:
        return '*There is no config yet.*'
    header = ['config', 'backbone', 'method', 'schedule', 'params M', 'MACs G', 'recipe', 'published result']
    return '\n\n'.join([markdown(header, rows), *notes.lines()])
