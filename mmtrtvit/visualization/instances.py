"""Boxes and masks over an image, with mmengine's visualiser."""

from collections.abc import Mapping

import cv2
import numpy as np
import torch
from mmengine.structures import InstanceData
from mmengine.visualization import Visualizer

ALPHA = 0.5
"""Opacity of masks."""

LETTERS = 8
"""Size of the letters in points."""


class _Canvas(Visualizer):
    """A visualiser whose view stays on the image: from matplotlib 3.11 on, each polygon that is added moves it."""

    def set_image(self, image: np.ndarray) -> None:
        super().set_image(image)
        self.ax_save.autoscale(False)


def _to_size(instances: InstanceData, factor: float, width: int, height: int) -> dict[str, np.ndarray]:
    """Boxes, labels, scores and masks as arrays, brought to an image of another size; large objects first."""
    boxes = np.asarray(torch.as_tensor(getattr(instances.bboxes, 'tensor', instances.bboxes)).cpu()) * factor
    order = np.argsort(-(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), kind='stable')
    found = dict(boxes=boxes[order], labels=np.asarray(torch.as_tensor(instances.labels).cpu())[order])
    if 'scores' in instances:
        found['scores'] = np.asarray(instances.scores.cpu())[order]
    if 'masks' in instances and len(boxes):
        masks = instances.masks
        masks = masks.to_ndarray() if hasattr(masks, 'to_ndarray') else np.asarray(torch.as_tensor(masks).cpu())
        found['masks'] = np.stack(
            [
                cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
                for mask in masks[order]
            ]
        )
    return found


def _contours(masks: np.ndarray) -> list[np.ndarray]:
    """Outlines of masks, ``(points, 2)`` each."""
    return [
        contour[:, 0]
        for mask in masks
        for contour in cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
        if len(contour) > 2
    ]


def draw_instances(image: np.ndarray, instances: InstanceData, metainfo: Mapping, side: int) -> np.ndarray:
    """Draw boxes, class names, and masks where there are any.

    The image is brought to a fixed size first: lines and letters are measured in pixels, and would hide a small image.

    Args:
        image: RGB ``(H, W, 3)`` uint8.
        instances: ``bboxes`` (x1, y1, x2, y2) and ``labels``, perhaps ``scores`` and ``masks``, in the image's pixels.
        metainfo: ``classes``, and ``palette`` unless mmdet shall choose the colours, of the data set.
        side: Length of the longer side of the picture in pixels.

    Returns:
        The picture, RGB uint8.
    """
    from mmdet.visualization import get_palette

    factor = side / max(image.shape[:2])
    height, width = (max(round(length * factor), 1) for length in image.shape[:2])
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    objects = _to_size(instances, factor, width, height)
    if not len(objects['boxes']):
        return resized
    palette = get_palette(metainfo.get('palette'), len(metainfo['classes']))
    colours = [tuple(palette[label]) for label in objects['labels']]

    masks = objects.get('masks', ())
    for mask, colour in zip(masks, colours):  # draw_binary_masks gives the same, but blends the whole image each time
        resized[mask] = np.rint((1 - ALPHA) * resized[mask] + ALPHA * np.array(colour))
    canvas = _Canvas(name='instances')
    canvas.set_image(resized)
    if contours := _contours(masks):
        canvas.draw_polygons(contours, edge_colors='w', line_widths=1)
    canvas.draw_bboxes(objects['boxes'], edge_colors=colours, line_widths=2)
    for index, (box, label) in enumerate(zip(objects['boxes'], objects['labels'], strict=True)):
        text = metainfo['classes'][label]
        if 'scores' in objects:
            text += f' {objects["scores"][index]:.2f}'
        # At the right border there is no room to the right of the box's corner.
        right = box[0] > 0.8 * width
        dark = np.dot(colours[index], (0.3, 0.6, 0.1)) < 130
        canvas.draw_texts(
            text,
            box[[2, 1]] if right else box[:2],
            font_sizes=LETTERS,
            colors='w' if dark else 'k',
            horizontal_alignments='right' if right else 'left',
            bboxes=dict(facecolor=np.array(colours[index]) / 255, alpha=0.85, pad=0.7, edgecolor='none'),
        )
    return canvas.get_image()
