"""One image of the toy data set: shapes on a photograph, and the object that each pixel shows."""

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

from .photographs import PHOTOGRAPHS, Photograph, random_patch
from .scene_settings import SceneSettings
from .shapes import CLASSES, SHAPES, rasterise
from .splits import SPLITS


@dataclass(frozen=True)
class Scene:
    """An image and its truth.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        instances: uint8 (H, W): 0 where the photograph shows, k where object k - 1 does. Objects never
            share a pixel, so each one's mask is exactly its visible part.
        labels: Index into :data:`~mmtrtvit.datasets.toy.shapes.CLASSES` of each object, from back to
            front.
        photograph: The background.
    """

    image: np.ndarray
    instances: np.ndarray
    labels: tuple[int, ...]
    photograph: Photograph

    def mask(self, index: int) -> np.ndarray:
        """The visible pixels of one object, bool (H, W)."""
        return self.instances == index + 1


def make_scene(seed: int, split: str, index: int, settings: SceneSettings) -> Scene:
    """Compose image ``index`` of a split. The same arguments always give the same scene.

    Args:
        seed: Seed of the data set, 0 or above.
        split: Key of :data:`~mmtrtvit.datasets.toy.splits.SPLITS`.
        index: Number of the image, from 0. Images do not depend on each other.
        settings: The look of the scenes.

    Returns:
        The scene. With settings that leave room for them it has at least one object.
    """
    # Seeding by index, not one stream for all, is what keeps image i the same however many are made.
    rng = np.random.default_rng((seed, SPLITS[split].seed_key, index))
    photographs = [photograph for photograph in PHOTOGRAPHS if photograph.split == split]
    height, width = (int(side) for side in rng.integers(*settings.image_side, size=2, endpoint=True))
    photograph = photographs[rng.integers(len(photographs))]
    canvas = _background(rng, photograph, height, width, settings)
    instances = np.zeros((height, width), np.uint8)
    labels, whole_areas = [], []
    for _ in range(rng.integers(*settings.objects, endpoint=True)):
        label = int(rng.integers(len(CLASSES)))
        placed = _place(rng, label, instances, whole_areas, settings)
        if placed is None:
            continue
        mask, whole_area = placed
        texture = photographs[rng.integers(len(photographs))]
        _paint(rng, canvas, mask, texture, settings)
        labels.append(label)
        whole_areas.append(whole_area)
        instances[mask] = len(labels)
    image = np.rint(canvas * 255).astype(np.uint8)
    return Scene(image, instances, tuple(labels), photograph)


def _background(
    rng: np.random.Generator, photograph: Photograph, height: int, width: int, settings: SceneSettings
) -> np.ndarray:
    """A patch of the photograph with its colours changed, float32 (height, width, 3) in [0, 1]."""
    patch = random_patch(rng, photograph, height, width, settings.background_crop)
    mean = patch.mean(axis=(0, 1))
    patch = mean + (patch - mean) * rng.uniform(*settings.background_contrast)
    patch = patch * rng.uniform(*settings.background_tint, size=3) + rng.uniform(*settings.background_brightness)
    return np.clip(patch, 0, 1).astype(np.float32)


def _place(
    rng: np.random.Generator,
    label: int,
    instances: np.ndarray,
    whole_areas: list[int],
    settings: SceneSettings,
) -> tuple[np.ndarray, int] | None:
    """Find a place in front of everything where enough of this object and of those behind it stays in sight.

    Returns:
        The object's mask, bool (H, W), and the pixels its whole shape has; None when no place fits.
    """
    height, width = instances.shape
    for _ in range(settings.placement_tries):
        diameter = rng.uniform(*settings.object_size) * min(height, width)
        margin = diameter * (0.5 - settings.max_outside)
        # Pixel centres are at whole numbers, so the image's edges are half a pixel before and after them.
        centre = rng.uniform((margin, margin), (width - margin, height - margin)) - 0.5
        pixel = np.rint(centre).astype(int)
        raster = rasterise(
            SHAPES[CLASSES[label]],
            diameter,
            rng.uniform(*settings.aspect),
            np.deg2rad(rng.uniform(*settings.tilt)),
            tuple(centre - pixel),
        )
        whole_area = int(raster.sum())
        reach = raster.shape[0] // 2
        padded = np.zeros((height + 2 * reach, width + 2 * reach), bool)
        padded[pixel[1] : pixel[1] + 2 * reach + 1, pixel[0] : pixel[0] + 2 * reach + 1] = raster
        mask = padded[reach : reach + height, reach : reach + width]
        left_over = np.bincount(instances[~mask], minlength=len(whole_areas) + 1)[1:]
        shares = np.append(left_over / np.maximum(whole_areas, 1), mask.sum() / max(whole_area, 1))
        if shares.min() >= settings.min_visible:
            return mask, whole_area
    return None


def _paint(
    rng: np.random.Generator,
    canvas: np.ndarray,
    mask: np.ndarray,
    texture: Photograph,
    settings: SceneSettings,
) -> None:
    """Fill ``mask`` of ``canvas`` (float32 RGB in [0, 1]) in place with a textured colour that stands out."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside = mask[window]
    patch = random_patch(rng, texture, *inside.shape, settings.background_crop)[inside]
    strength = rng.uniform(*settings.fill_texture)
    behind = _lab(canvas[window][inside])
    best, best_contrast = patch, -1.0
    for _ in range(settings.colour_tries):
        colour = colorsys.hsv_to_rgb(
            rng.random(), rng.uniform(*settings.fill_saturation), rng.uniform(*settings.fill_value)
        )
        fill = ((1 - strength) * np.array(colour) + strength * patch).astype(np.float32)
        contrast = np.quantile(np.linalg.norm(_lab(fill) - behind, axis=1), 0.1)
        if contrast > best_contrast:
            best, best_contrast = fill, contrast
        if contrast >= settings.min_contrast:
            break
    canvas[window][inside] = best


def _lab(colours: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (N, 3) of float32 RGB (N, 3) in [0, 1]."""
    return cv2.cvtColor(np.ascontiguousarray(colours[None]), cv2.COLOR_RGB2Lab)[0]
