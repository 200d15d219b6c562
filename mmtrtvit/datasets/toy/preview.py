"""A contact sheet of the toy data set, drawn from the files that were written."""

import json
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as rle

from .coco_layout import annotation_file
from .shapes import CLASSES, PALETTE
from .splits import SPLITS

#: Images per split on the sheet, and per row.
PER_SPLIT, PER_ROW = 6, 6


def draw_preview(coco: Path, path: Path) -> None:
    """Draw the first images of each split with their boxes, masks and class names.

    Args:
        coco: The COCO folder of the data set.
        path: The PNG to write.
    """
    # Figure without pyplot: no window system is asked for and the caller's figures are left alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = len(SPLITS) * -(-PER_SPLIT // PER_ROW)
    figure = Figure(figsize=(2.7 * PER_ROW, 2.9 * rows), layout='constrained')
    FigureCanvasAgg(figure)
    axes = iter(figure.subplots(rows, PER_ROW, squeeze=False).flat)
    for split in SPLITS.values():
        content = json.loads((coco / annotation_file(split)).read_text(encoding='ascii'))
        for number in range(PER_SPLIT):
            axis = next(axes)
            axis.set_axis_off()
            if number < len(content['images']):
                image = content['images'][number]
                objects = [item for item in content['annotations'] if item['image_id'] == image['id']]
                axis.set_title(f'{split.name} {image["id"]}: {image["photograph"]}', fontsize=9)
                _draw_image(axis, coco / split.coco / image['file_name'], objects)
    figure.savefig(path, dpi=100)


def _draw_image(axis, path: Path, objects: list[dict]) -> None:
    """Show an image with its COCO annotations on matplotlib axes."""
    axis.imshow(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB))
    for item in objects:
        label = item['category_id'] - 1
        colour = np.array(PALETTE[label]) / 255
        mask = rle.decode(item['segmentation'])
        axis.imshow(np.concatenate([np.broadcast_to(colour, (*mask.shape, 3)), 0.25 * mask[..., None]], axis=2))
        axis.contour(mask, [0.5], colors=[colour], linewidths=1.2)
        left, top, width, height = item['bbox']
        # Pixel centres are at whole numbers on these axes, pixel edges half a pixel before and after.
        corners_x = np.array([0, width, width, 0, 0]) + left - 0.5
        corners_y = np.array([0, 0, height, height, 0]) + top - 0.5
        axis.plot(corners_x, corners_y, color=colour, linewidth=1.2)
        axis.text(
            left,
            top,
            CLASSES[label],
            fontsize=7,
            va='top',
            color='black' if colour.mean() > 0.5 else 'white',
            bbox={'facecolor': colour, 'edgecolor': 'none', 'pad': 1},
        )
