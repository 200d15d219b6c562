"""The plot of the study: densities of the blocks over the stages."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .blocks import BLOCKS, STAGES
from .guidelines import cases_of, tera

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ('#28587b', '#c8553d', '#b8860b', '#5a8a3c', '#8a5a9e')
"""Colours of :data:`~mmtrtvit.study.blocks.BLOCKS`."""


def block_figure(run: Sequence[Mapping]) -> 'Figure':
    """TeraFLOPS and TeraParams of each block over the stages, a column for each backend.

    Args:
        run: Rows of blocks that were measured in turn.
    """
    # without pyplot: no window system is asked for, and the caller's figures are left alone
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    cases = cases_of(run)
    figure = Figure(figsize=(1.5 + 3.1 * len(cases), 6), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(cases), squeeze=False, sharex=True, sharey='row')
    for line, (count, title) in zip(axes, (('macs', 'TeraFLOPS'), ('params', 'TeraParams')), strict=True):
        line[0].set_ylabel(title)
        for axis, (case, rows) in zip(line, cases.items(), strict=True):
            for colour, name in zip(COLOURS, BLOCKS, strict=True):
                stages = [stage for stage in range(1, len(STAGES) + 1) if f'{name}, stage {stage}' in rows]
                values = [tera(rows[f'{name}, stage {stage}'], count) for stage in stages]
                if values:
                    axis.plot(stages, values, marker='o', markersize=4, color=colour, label=name)
            axis.spines[['top', 'right']].set_visible(False)
            if count == 'macs':
                axis.set_title(case, fontsize=10)
            else:
                axis.set_xlabel('stage')
                axis.set_xticks(
                    range(1, len(STAGES) + 1), [f'{stage}\n{side}x{side}' for stage, (_, side) in enumerate(STAGES, 1)]
                )
    axes[0, 0].set_ylim(bottom=0)  # at the end: it stops the axes from growing
    axes[1, 0].set_yscale('log')
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc='outside lower center', ncols=len(BLOCKS), frameon=False)
    figure.suptitle(f'Blocks, batch {run[0]["batch"]}, {run[0]["device_name"]}', fontsize=9)
    return figure
