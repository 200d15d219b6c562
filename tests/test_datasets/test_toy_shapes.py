"""Shapes of the toy data set: rasters against independent geometry."""

import numpy as np
import pytest

from mmtrtvit.datasets.toy import CLASSES, PALETTE, SHAPES
from mmtrtvit.datasets.toy.shapes import rasterise


def polygon_area(corners):
    x, y = corners.T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def pixel_centres(raster, offset):
    """Coordinates of every pixel centre as seen from the shape's centre."""
    reach = raster.shape[0] // 2
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return columns - offset[0], rows - offset[1]


def test_four_to_six_classes_each_with_a_colour_of_its_own():
    assert 4 <= len(CLASSES) <= 6
    assert len(set(PALETTE)) == len(CLASSES)


@pytest.mark.parametrize('name', CLASSES)
def test_outline_is_inside_the_unit_circle(name):
    assert np.linalg.norm(SHAPES[name].outline, axis=1).max() == pytest.approx(1)


@pytest.mark.parametrize('name', CLASSES)
@pytest.mark.parametrize('angle', [0.0, 0.7, 4.0])
def test_area_is_that_of_the_polygon(name, angle):
    shape, diameter, aspect = SHAPES[name], 120.3, 0.8
    raster = rasterise(shape, diameter, aspect, angle, (0.3, -0.4))
    area = polygon_area(shape.outline) - (polygon_area(shape.hole) if shape.hole is not None else 0)
    assert raster.sum() == pytest.approx(area * aspect * (diameter / 2) ** 2, rel=0.02)
    edge = np.concatenate([raster[0], raster[-1], raster[:, 0], raster[:, -1]])
    assert not edge.any()


def test_ring_is_what_lies_between_two_ellipses():
    diameter, aspect, angle, offset = 90.0, 0.75, 0.9, (0.2, 0.1)
    raster = rasterise(SHAPES['ring'], diameter, aspect, angle, offset)
    x, y = pixel_centres(raster, offset)
    own_x = x * np.cos(angle) + y * np.sin(angle)
    own_y = (-x * np.sin(angle) + y * np.cos(angle)) / aspect
    distance = np.hypot(own_x, own_y) / (diameter / 2)
    sure_inside = (distance > 0.552) & (distance < 0.998)
    sure_outside = (distance < 0.548) | (distance > 1.002)
    assert raster[sure_inside].all() and not raster[sure_outside].any()
    assert sure_inside.sum() + sure_outside.sum() > 0.98 * raster.size


def test_square_follows_its_rotation_and_offset():
    diameter, angle, offset = 80.0, 0.4, (-0.3, 0.25)
    raster = rasterise(SHAPES['rectangle'], diameter, 1.0, angle, offset)
    x, y = pixel_centres(raster, offset)
    # Upright before it is rotated: a square in the Chebyshev distance.
    own_x, own_y = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    np.testing.assert_array_equal(raster, np.maximum(np.abs(own_x), np.abs(own_y)) <= diameter / 2 / np.sqrt(2))
