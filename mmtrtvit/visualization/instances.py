"""Boxes and masks over an image."""

import functools
from collections.abc import Mapping
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import torch
from mmengine.structures import InstanceData
from PIL import Image, ImageDraw, ImageFont

from ..prediction.drawing import blend

LETTERS, LINE = 11, 2
"""Size of the letters and width of the boxes' lines, in pixels of the picture."""


@functools.cache
def _font() -> ImageFont.FreeTypeFont:
    """The typeface of titles and legends."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf')), LETTERS)


def _draw_mask(picture: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Blend a mask of any size into a picture, with a white outline; in place."""
    mask = cv2.resize(mask.astype(np.uint8), picture.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    blend(picture, mask > 0, colour)
    cv2.drawContours(picture, cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0], -1, (255,) * 3, 1)


def _draw_label(canvas: Image.Image, box: np.ndarray, text: str, colour: tuple[int, int, int]) -> None:
    """Write into the upper left corner of a box, on its colour; at a border, as far inside as is needed."""
    pen = ImageDraw.Draw(canvas)
    _, _, right, bottom = pen.textbbox((1, 0), text, font=_font())
    x, y = np.maximum(np.minimum(box[:2], (canvas.width - right - 2, canvas.height - bottom - 2)), 0)
    pen.rectangle((x, y, x + right + 1, y + bottom + 1), fill=colour)
    dark = np.dot(colour, (0.3, 0.6, 0.1)) < 130
    pen.text((x + 1, y), text, font=_font(), fill='white' if dark else 'black')


def draw_instances(image: np.ndarray, instances: InstanceData, metainfo: Mapping, side: int) -> np.ndarray:
    """Draw boxes, class names, and masks where there are any; small objects over large ones.

    The image is brought to a fixed size first: lines and letters are measured in pixels, and would hide a small image.

    Args:
        image: RGB ``(H, W, 3)`` uint8.
        instances: ``bboxes`` (x1, y1, x2, y2) and ``labels``, perhaps ``scores`` and ``masks``, in the image's pixels.
        metainfo: ``classes`` of the data set, and ``palette``, which mmdet chooses if it is missing.
        side: Length of the longer side of the picture in pixels.

    Returns:
        The picture, RGB uint8.
    """
    from mmdet.visualization import get_palette

    factor = side / max(image.shape[:2])
    size = [max(round(length * factor), 1) for length in image.shape[1::-1]]
    picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    boxes = np.asarray(torch.as_tensor(getattr(instances.bboxes, 'tensor', instances.bboxes)).cpu()) * factor
    order = np.argsort(-(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), kind='stable')
    labels = torch.as_tensor(instances.labels).tolist()
    palette = get_palette(metainfo.get('palette'), len(metainfo['classes']))
    colours = [tuple(palette[label]) for label in labels]
    if 'masks' in instances:
        masks = instances.masks
        masks = torch.as_tensor(masks.to_ndarray() if hasattr(masks, 'to_ndarray') else masks).cpu().numpy()
        for index in order:
            _draw_mask(picture, masks[index], colours[index])
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    for index in order:
        pen.rectangle((*boxes[index, :2], *np.maximum(*boxes[index].reshape(2, 2))), outline=colours[index], width=LINE)
    for index in order:
        score = f' {instances.scores[index]:.2f}' if 'scores' in instances else ''
        _draw_label(canvas, boxes[index], metainfo['classes'][labels[index]] + score, colours[index])
    return np.array(canvas)
