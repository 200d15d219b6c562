"""A matrix of classes as a picture."""

import os
from collections.abc import Sequence

import numpy as np

from ..atomic import atomic_file

WRITTEN = 30
"""Number of classes up to which percentages are written into the cells."""


def draw_heatmap(
    shares: np.ndarray, counts: np.ndarray, names: Sequence[str], title: str, path: str | os.PathLike
) -> None:
    """Draw shares of true classes as colours, with names at every row and column.

    Classes that are neither in the truth nor in the predictions are left out; the title gives their number.

    Args:
        shares: ``(n, n)``: of each true class (row), how much was taken for which (column); NaN where there is none.
        counts: ``(n, n)``, the counts behind the shares.
        names: Names of the n classes.
        title: Text above.
        path: The PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    there = (counts.sum(axis=0) + counts.sum(axis=1)) > 0
    shown = [name for name, is_there in zip(names, there, strict=True) if is_there]
    percent = 100 * shares[there][:, there]
    if not there.all():
        title += f'\n{(~there).sum()} classes are neither there nor predicted, and left out'
    cell = 0.45 if len(shown) <= WRITTEN else 0.19
    letters = 9 if len(shown) <= WRITTEN else 8
    margin = 1.2 + 0.075 * max(map(len, shown), default=0)
    side = max(cell * len(shown), 3)
    figure = Figure(figsize=(side + margin + 0.8, side + margin + 0.4), dpi=110, layout='constrained')
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    # The background has no row of its own truth to be found in: such cells stay grey.
    axis.set_facecolor('0.9')
    image = axis.imshow(percent, cmap='Blues', vmin=0, vmax=100, aspect='equal')
    axis.set_xticks(range(len(shown)), shown, rotation=90, fontsize=letters)
    axis.set_yticks(range(len(shown)), shown, fontsize=letters)
    axis.tick_params(length=0)
    axis.set_xticks(np.arange(len(shown) + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(len(shown) + 1) - 0.5, minor=True)
    axis.grid(which='minor', color='white', linewidth=0.5)
    axis.tick_params(which='minor', length=0)
    axis.set_xlabel('prediction')
    axis.set_ylabel('truth')
    if len(shown) <= WRITTEN:
        for (row, column), value in np.ndenumerate(percent):
            if value >= 0.5:
                colour = 'white' if value > 55 else 'black'
                axis.text(column, row, f'{value:.0f}', ha='center', va='center', fontsize=8, color=colour)
    bar = figure.colorbar(image, ax=axis, fraction=0.04, pad=0.02)
    bar.set_label('% of the true class')
    axis.set_title(title, fontsize=10)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110)
