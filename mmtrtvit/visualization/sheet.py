"""Pictures in rows and columns, with titles and, for label maps, a legend of the classes in them."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np
from mmengine.structures import InstanceData, LabelData, PixelData

from ..atomic import atomic_file
from .instances import draw_instances
from .label_map import ALPHA, classes_in, draw_label_map, has_ignored

DRAWN_ABOVE = 0.3
"""Score from which a detection is drawn."""

SIDE, DPI = 520, 100
"""Longer side of a picture in pixels, and pixels per inch."""

LETTER = 0.075
"""Width of a letter of a title or of the legend in inches, about."""


@dataclasses.dataclass
class Panel:
    """One picture.

    Attributes:
        title: Text above it; the number of instances is added to its first line.
        image: RGB ``(H, W, 3)`` uint8.
        content: Drawn over it, in its pixels: instances (bboxes, labels, perhaps scores and masks), a label
            map, or nothing. A label (perhaps with the scores of all classes) is written above it.
    """

    title: str
    image: np.ndarray
    content: InstanceData | PixelData | LabelData | None = None


def _drawn(panel: Panel, metainfo: Mapping, score_thr: float) -> tuple[str, np.ndarray]:
    """Title and picture of a panel."""
    content = panel.content
    if isinstance(content, InstanceData):
        shown = content[content.scores > score_thr] if 'scores' in content else content
        name, *rest = panel.title.splitlines()
        return '\n'.join([f'{name}: {len(shown)}', *rest]), draw_instances(panel.image, shown, metainfo, SIDE)
    if isinstance(content, PixelData):
        return panel.title, draw_label_map(panel.image, content, metainfo)
    if isinstance(content, LabelData):
        label = int(content.label)
        name = dict(enumerate(metainfo.get('classes') or ())).get(label, str(label))
        score = f' {float(content.score[label]):.2f}' if 'score' in content else ''
        return f'{panel.title}: {name}{score}', panel.image
    if content is not None:
        raise TypeError(f'{panel.title}: {type(content).__name__} is neither instances nor a label map.')
    return panel.title, panel.image


def _legend(panels: Sequence[Panel], metainfo: Mapping) -> list:
    """Handles for the classes that label maps show."""
    from matplotlib.patches import Patch

    maps = [panel.content for panel in panels if isinstance(panel.content, PixelData)]
    present = sorted({label for labels in maps for label in classes_in(labels, metainfo)})
    handles = [
        Patch(facecolor=np.array(metainfo['palette'][label]) / 255, edgecolor='black', label=metainfo['classes'][label])
        for label in present
    ]
    if any(has_ignored(labels, metainfo) for labels in maps):
        handles.append(Patch(facecolor=[1 - ALPHA] * 3, edgecolor='black', hatch='//', label='(ignored)'))
    return handles


def _wrapped(title: str, width: float) -> str:
    """A title in lines that fit into ``width`` inches; words are kept whole where they can be."""
    import textwrap

    return '\n'.join(textwrap.fill(line, max(int(width / LETTER), 8)) for line in title.splitlines())


def draw_sheet(
    rows: Sequence[Sequence[Panel]],
    metainfo: Mapping,
    path: str | os.PathLike,
    *,
    title: str = '',
    score_thr: float = DRAWN_ABOVE,
) -> None:
    """Draw pictures in rows and columns.

    Args:
        rows: The pictures. Rows may have different lengths.
        metainfo: ``classes`` and ``palette`` of the data set.
        path: The PNG file to write.
        title: Text above all.
        score_thr: Score from which a detection is drawn.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = [[_drawn(panel, metainfo, score_thr) for panel in row] for row in rows]
    columns = max(map(len, drawn))
    shapes = [[picture.shape for _, picture in row] for row in drawn]
    # A column is as wide as its pictures need at most, so that portraits do not stand in empty space.
    inches = SIDE / DPI
    width = inches * max(shape[1] / max(shape[:2]) for row in shapes for shape in row)
    titles = [[_wrapped(text, width) for text, _ in row] for row in drawn]
    heights = [
        width * max(shape[0] / shape[1] for shape in row) + 0.18 * max(text.count('\n') + 1 for text in line) + 0.17
        for row, line in zip(shapes, titles, strict=True)
    ]
    handles = _legend([panel for row in rows for panel in row], metainfo)
    legend_columns = legend_height = 0
    if handles:
        entry = 0.6 + LETTER * max(len(handle.get_label()) for handle in handles)
        legend_columns = max(int(columns * width / entry), 1)
        legend_height = 0.1 + 0.19 * -(-len(handles) // legend_columns)

    height = sum(heights) + legend_height + 0.4 * bool(title)
    figure = Figure(figsize=(columns * width, height), dpi=DPI, layout='constrained')
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.07, wspace=0, hspace=0)
    axes = figure.subplots(len(drawn), columns, squeeze=False, gridspec_kw=dict(height_ratios=heights))
    for axis in axes.flat:
        axis.axis('off')
        axis.set_anchor('N')
    for line, row, texts in zip(axes, drawn, titles, strict=True):
        for axis, (_, picture), text in zip(line, row, texts, strict=False):
            axis.imshow(picture)
            axis.set_title(text, fontsize=10)
    if handles:
        figure.legend(
            handles=handles, loc='outside lower center', ncols=legend_columns, fontsize=9, frameon=False, borderpad=0
        )
    if title:
        figure.suptitle(_wrapped(title, columns * width), fontsize=12)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=DPI)


def draw_side_by_side(
    rows: Sequence[tuple[np.ndarray, Mapping[str, InstanceData | PixelData | LabelData | None]]],
    metainfo: Mapping,
    path: str | os.PathLike,
    *,
    score_thr: float = DRAWN_ABOVE,
) -> None:
    """Draw images in rows, with one column for each content to be drawn over them.

    Args:
        rows: For each row an RGB image ``(H, W, 3)`` uint8, and title to instances (bboxes, labels, and optionally
            scores and masks) or label map in its pixels, or to None for the image alone.
        metainfo: ``classes`` and ``palette`` of the data set.
        path: The PNG file to write.
        score_thr: Score from which a detection is drawn.
    """
    sheet = [[Panel(title, image, content) for title, content in contents.items()] for image, contents in rows]
    draw_sheet(sheet, metainfo, path, score_thr=score_thr)
