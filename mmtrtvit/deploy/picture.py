"""Detections drawn side by side."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData

from ..atomic import atomic_file

DRAWN_ABOVE = 0.3
"""Score from which a detection is drawn."""


@contextlib.contextmanager
def _same_colours() -> Iterator[None]:
    """Give the same detections the same colours in every column: mmdet jitters them at random."""
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)


def draw_side_by_side(
    rows: Sequence[tuple[np.ndarray, Mapping[str, InstanceData]]], metainfo: Mapping, path: str | os.PathLike
) -> None:
    """Draw images in rows, with one column for each set of instances.

    Args:
        rows: For each row an RGB image ``(H, W, 3)`` uint8, and title to instances (bboxes, labels, and
            optionally scores and masks) in its pixels.
        metainfo: ``classes`` and ``palette`` of the data set.
        path: The PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    visualizer = DetLocalVisualizer(name='side_by_side')
    visualizer.dataset_meta = dict(metainfo)
    columns = max(len(instances) for _, instances in rows)
    figure = Figure(figsize=(4 * columns, 4 * len(rows)), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (image, sets) in zip(axes, rows, strict=True):
        for axis in line:
            axis.axis('off')
        for axis, (title, instances) in zip(line, sets.items(), strict=False):
            shown = instances[instances.scores > DRAWN_ABOVE] if 'scores' in instances else instances
            classes, palette = visualizer.dataset_meta.get('classes'), visualizer.dataset_meta.get('palette')
            with _same_colours():
                drawn = visualizer._draw_instances(image, shown.cpu(), classes, palette)
            axis.imshow(drawn)
            axis.set_title(f'{title}: {len(shown)}', fontsize=10)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=100)
