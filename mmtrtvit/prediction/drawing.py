"""Boxes, masks and label maps over an image, with OpenCV alone."""

import colorsys

import cv2
import numpy as np
from numpy.typing import ArrayLike

from ..runtime.masks import as_masks
from ..runtime.postprocess import ClassScores, Detections, LabelMap

ALPHA = 0.5
"""Opacity of masks and of the colours of a label map."""

FONT = cv2.FONT_HERSHEY_SIMPLEX


def colours_of(palette: ArrayLike, number: int) -> np.ndarray:
    """A colour for each class.

    Args:
        palette: ``(n, 3)`` RGB from 0 to 255, as in a manifest; it may have too few colours, or none.
        number: Number of classes.

    Returns:
        ``(number, 3)`` uint8 RGB. Missing colours have hues that differ as much as possible from those before them.
    """
    palette = np.asarray(palette, np.uint8).reshape(-1, 3)
    golden = 0.618034
    made = [colorsys.hsv_to_rgb(index * golden % 1, 0.85, 0.95) for index in range(len(palette), number)]
    made_colours = np.rint(np.array(made).reshape(-1, 3) * 255).astype(np.uint8)
    return np.concatenate([palette[:number], made_colours])


def blend(picture: np.ndarray, inside: np.ndarray, colour: ArrayLike) -> None:
    """Mix a colour into the pixels of a picture that lie in a mask; in place.

    Args:
        picture: ``(H, W, 3)`` uint8.
        inside: ``(H, W)`` bool.
        colour: Three numbers, in the order of the picture's channels.
    """
    picture[inside] = np.rint((1 - ALPHA) * picture[inside] + ALPHA * np.asarray(colour))


def _drawable(text: str) -> str:
    """OpenCV's letters are ASCII; it draws each byte of any other letter as a question mark."""
    return text.encode('ascii', 'replace').decode()


def _label(picture: np.ndarray, corner: np.ndarray, text: str, colour: tuple[int, ...], line: int) -> None:
    """Write above a box, on its colour; inside the picture in any case."""
    scale, bold = line / 3, max(line - 1, 1)
    (width, height), below = cv2.getTextSize(_drawable(text), FONT, scale, bold)
    height, width = height + below + 2, width + 2
    left = int(np.clip(corner[0], 0, max(picture.shape[1] - width, 0)))
    top = int(np.clip(corner[1] - height, 0, max(picture.shape[0] - height, 0)))
    cv2.rectangle(picture, (left, top), (left + width, top + height), colour, cv2.FILLED)
    dark = np.dot(colour, (0.114, 0.587, 0.299)) < 130
    ink = (255, 255, 255) if dark else (0, 0, 0)
    cv2.putText(picture, _drawable(text), (left + 1, top + height - below), FONT, scale, ink, bold, cv2.LINE_AA)


def line_width(shape: tuple[int, ...]) -> int:
    """Width of lines that suits a picture of a height and a width, pixels."""
    return max(round((shape[0] + shape[1]) / 2 * 0.002), 1)


def draw_detections(
    image: np.ndarray, found: Detections, palette: ArrayLike, *, line: int | None = None, labels: bool = True
) -> np.ndarray:
    """Draw boxes with names and scores, and masks where there are any; small objects over large ones.

    Args:
        image: ``(H, W, 3)`` uint8, BGR; not changed.
        found: The objects.
        palette: As in :func:`colours_of`.
        line: Width of the lines, pixels; by default it follows the size of the image.
        labels: Whether to write names and scores.

    Returns:
        The picture, BGR.
    """
    picture = image.copy()
    line = line or line_width(image.shape)
    colours = colours_of(palette, len(found.classes))[:, ::-1]
    areas = (found.boxes[:, 2] - found.boxes[:, 0]) * (found.boxes[:, 3] - found.boxes[:, 1])
    order = np.argsort(-areas, kind='stable').tolist()
    names = found.names
    limits = np.array(image.shape[1::-1] * 2)
    corners = np.clip(np.rint(found.boxes), 0, limits - 1).astype(int)
    if found.masks is not None:
        masks = as_masks(found.masks)
        for index in order:
            top, left, inside = masks.region(index)
            if not inside.any():
                continue
            part = picture[top : top + inside.shape[0], left : left + inside.shape[1]]
            blend(part, inside, colours[found.labels[index]])
            outline = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
            cv2.drawContours(part, outline, -1, (255, 255, 255), 1)
    for index in order:
        colour = tuple(colours[found.labels[index]].tolist())
        cv2.rectangle(picture, corners[index, :2].tolist(), corners[index, 2:].tolist(), colour, line)
    for index in order if labels else ():
        colour = tuple(colours[found.labels[index]].tolist())
        _label(picture, corners[index, :2], f'{names[index]} {found.scores[index]:.2f}', colour, line)
    return picture


def draw_class(image: np.ndarray, found: ClassScores, palette: ArrayLike) -> np.ndarray:
    """Write the most probable class and its probability into the top left corner of an image.

    Args:
        image: ``(H, W, 3)`` uint8, BGR; not changed.
        found: The scores.
        palette: As in :func:`colours_of`.

    Returns:
        The picture, BGR.
    """
    picture = image.copy()
    colour = tuple(colours_of(palette, len(found.scores))[found.label, ::-1].tolist())
    _label(picture, np.zeros(2), f'{found.name} {found.score:.2f}', colour, 2 * line_width(image.shape))
    return picture


def draw_label_map(image: np.ndarray, found: LabelMap) -> np.ndarray:
    """Colour an image by the class of each pixel.

    Args:
        image: ``(H, W, 3)`` uint8, BGR; not changed.
        found: The classes. A value without a class is drawn black.

    Returns:
        The picture, BGR.
    """
    colours = colours_of(found.palette, len(found.classes))[:, ::-1]
    table = np.concatenate([colours, np.zeros((1, 3), np.uint8)])
    colour = table[np.minimum(found.labels, len(colours))]
    return cv2.addWeighted(image, 1 - ALPHA, colour, ALPHA, 0)
