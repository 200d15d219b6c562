"""Faults of the masks of a COCO file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .findings import Finding

READ = 200
"""Compressed run lengths that are decoded, spread over the file."""

MANY = 0.1
"""Share of the masks from which a fault is an error."""


def _usable(polygons: Any) -> bool:
    """True if mmdet makes a mask of it: it leaves out polygons of less than three points or half a point."""
    return isinstance(polygons, list) and any(
        isinstance(polygon, list)
        and len(polygon) >= 6
        and len(polygon) % 2 == 0
        and all(type(value) in (int, float) and math.isfinite(value) for value in polygon)
        for polygon in polygons
    )


def _runs(counts: str) -> list[int]:
    """The run lengths in COCO's compressed form: groups of five bits, differences from the third run on.

    Raises:
        ValueError: If it is not of that form.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise ValueError(f'{character!r} in run lengths')
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError('the last run is cut off')
    return runs


def _fills_its_size(mask: Mapping) -> bool:
    counts = mask.get('counts')
    try:
        runs = _runs(counts) if isinstance(counts, str) else list(counts)
        return all(run >= 0 for run in runs) and sum(runs) == mask['size'][0] * mask['size'][1]
    except (TypeError, ValueError, LookupError):
        return False


def _overlap(box: Sequence[float], polygons: Sequence[Sequence[float]]) -> float:
    """Intersection over union of a box and the extent of polygons."""
    xs, ys = [x for p in polygons for x in p[::2]], [y for p in polygons for y in p[1::2]]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    x, y, width, height = box
    inner = max(0, min(right, x + width) - max(left, x)) * max(0, min(bottom, y + height) - max(top, y))
    union = (right - left) * (bottom - top) + width * height - inner
    return inner / union if union > 0 else 1.0


def check_masks(content: Mapping, path: Path) -> Iterator[Finding]:
    """Faults of the masks of a COCO file, whose other fields are right.

    Args:
        content: Its content.
        path: The file, for messages.
    """
    sizes = {entry['id']: [entry['height'], entry['width']] for entry in content['images']}
    masks = [(entry, entry.get('segmentation')) for entry in content['annotations']]
    runs = [(entry, mask) for entry, mask in masks if isinstance(mask, Mapping)]
    polygons = [(entry, mask) for entry, mask in masks if not isinstance(mask, Mapping)]
    without = [entry for entry, mask in polygons if not _usable(mask)]
    if without:
        yield Finding(
            'error',
            f'{path}: {len(without)} of {len(masks)} objects have no usable mask, the first is annotation '
            f'{without[0]["id"]!r} (segmentation: {str(without[0].get("segmentation"))[:40]}).',
            'polygons of at least three points, each two finite numbers; or run lengths',
            'train a detector on boxes (configs/fasterrcnn_*, configs/retinanet_*), or add masks',
        )
    other = [(entry, mask) for entry, mask in runs if list(mask.get('size') or ()) != sizes.get(entry['image_id'], [])]
    if other:
        entry, mask = other[0]
        yield Finding(
            'error',
            f'{path}: {len(other)} masks have another size than their image, the first is annotation {entry["id"]!r}: '
            f'{mask.get("size")} in an image of {sizes.get(entry["image_id"])}.',
            '`size` as height and width of the image',
            'export the annotations again',
        )
    broken = [entry for entry, mask in runs[:: max(1, len(runs) // READ)] if not _fills_its_size(mask)]
    if broken:
        yield Finding(
            'error',
            f'{path}: the run lengths of annotation {broken[0]["id"]!r} do not add up to the size of its mask '
            f'(counts: {str(broken[0]["segmentation"].get("counts"))[:40]}).',
            'height times width pixels in all runs',
            'export the annotations again',
        )
    elsewhere = [
        entry
        for entry, mask in polygons
        if _usable(mask) and all(map(_usable, ([p] for p in mask))) and _overlap(entry['bbox'], mask) < 0.5
    ]
    if elsewhere:
        yield Finding(
            'error' if len(elsewhere) > MANY * len(masks) else 'warning',
            f'{path}: {len(elsewhere)} of {len(masks)} polygons do not lie in their boxes, the first is annotation '
            f'{elsewhere[0]["id"]!r} (bbox: {elsewhere[0]["bbox"]}).',
            'both in pixels of the same image',
            'export the annotations again: boxes or polygons are scaled, normalised or of another image',
        )
