"""The shapes that are the classes of the toy data set, and their exact rasters."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shape:
    """A class of objects: an outline inside the unit circle, possibly with a hole.

    Attributes:
        outline: (N, 2) corners as x, y.
        hole: (M, 2) corners of a cut-out, or None.
        colour: RGB that marks the class in pictures. Objects themselves have any colour.
    """

    outline: np.ndarray
    colour: tuple[int, int, int]
    hole: np.ndarray | None = None


def _around(corners: int, radii: tuple[float, ...] = (1.0,)) -> np.ndarray:
    """Corners at equal angles from the top on, at distances from the centre that repeat ``radii``."""
    angles = 2 * np.pi * np.arange(corners) / corners - np.pi / 2
    radius = np.resize(radii, corners)
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)


def _plus(arm: float) -> np.ndarray:
    """A cross whose arms are ``2 * arm`` wide and end on the unit circle."""
    reach = np.sqrt(1 - arm**2)
    quarter = np.array([[arm, -reach], [arm, -arm], [reach, -arm]])
    turn = np.array([[0, 1], [-1, 0]])
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])


# A circle of 72 corners is within 0.1 % of its radius of the true one: less than a tenth of a pixel here.
SHAPES = {
    'disc': Shape(_around(72), (230, 25, 75)),
    'rectangle': Shape(np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / np.sqrt(2), (60, 180, 75)),
    'triangle': Shape(_around(3), (255, 225, 25)),
    'star': Shape(_around(10, (1.0, 0.45)), (0, 130, 200)),
    'cross': Shape(_plus(0.3), (245, 130, 48)),
    'ring': Shape(_around(72), (145, 30, 180), hole=_around(72, (0.55,))),
}

#: Class names, in label order.
CLASSES = tuple(SHAPES)
#: One RGB colour per class, for pictures.
PALETTE = tuple(shape.colour for shape in SHAPES.values())


def _fill(raster: np.ndarray, corners: np.ndarray, value: bool) -> None:
    """Set the pixels whose centre a polygon (N, 2; x, y) encloses: those with an odd number of edges to their right."""
    x0, y0 = corners.T[:, :, None]
    x1, y1 = np.roll(corners, -1, axis=0).T[:, :, None]
    rows = np.arange(raster.shape[0])
    edge, row = np.nonzero((y0 <= rows) != (y1 <= rows))
    slope = ((x1 - x0) / np.where(y1 == y0, 1, y1 - y0))[edge, 0]
    crossing = x0[edge, 0] + (row - y0[edge, 0]) * slope
    toggles = np.zeros((raster.shape[0], raster.shape[1] + 1), np.int8)
    np.add.at(toggles, (row, np.ceil(crossing).astype(int)), 1)
    raster[np.cumsum(toggles[:, :-1], axis=1) % 2 == 1] = value


def rasterise(shape: Shape, diameter: float, aspect: float, angle: float, offset: tuple[float, float]) -> np.ndarray:
    """The pixels of a shape: those whose centre lies inside its outline and outside its hole.

    Args:
        shape: The shape to draw.
        diameter: Diameter of the circle around the shape before it is squeezed, pixels.
        aspect: Factor on the shape's own y axis.
        angle: Rotation, radians.
        offset: Centre of the shape (x, y) as seen from the raster's centre pixel, pixels, in [-0.5, 0.5].

    Returns:
        Bool array (S, S), S odd and large enough that the shape never touches its edge.
    """
    reach = int(np.ceil(diameter / 2)) + 1
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    raster = np.zeros((2 * reach + 1, 2 * reach + 1), bool)
    for corners, inside in ((shape.outline, True), (shape.hole, False)):
        if corners is not None:
            _fill(raster, (corners * [1, aspect]) @ rotation * (diameter / 2) + offset + reach, inside)
    return raster
