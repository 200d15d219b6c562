"""Box sizes at the input of a network, the share of them that its anchors can match, and the anchors that suit them."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

MATCHED = 0.5
"""IoU of box and anchor, centre on centre, from which a box counts as matched: half of what both cover."""

SCALES = (1, 2, 4, 8, 16)
"""Sizes of the smallest anchor that are tried, in strides."""

WELL_MATCHED = 0.75
"""Share of the boxes of a class that anchors should match."""

RARE = 10
"""Objects of a class below which its sizes say nothing."""


def resize_factor(transforms: Sequence[Mapping], width: int, height: int) -> float:
    """The factor by which the ``Resize`` of a pipeline changes the sides of an image, 1 without one.

    Args:
        transforms: The pipeline.
        width, height: The image, pixels.
    """
    for transform in transforms:
        if not str(transform['type']).endswith('Resize'):
            continue
        if scale := transform.get('scale'):
            across, down = (scale, scale) if isinstance(scale, int) else scale
            if not transform.get('keep_ratio'):
                return math.sqrt(across * down / (width * height))
            return min(max(across, down) / max(width, height), min(across, down) / min(width, height))
        if factor := transform.get('scale_factor'):
            return factor if isinstance(factor, (int, float)) else math.sqrt(factor[0] * factor[1])
    return 1.0


def boxes_at_the_input(content: Mapping, transforms: Sequence[Mapping]) -> dict[str, np.ndarray]:
    """Widths and heights of the boxes of a COCO file behind a pipeline, pixels.

    Args:
        content: The file; boxes without area and crowds are left out.
        transforms: The pipeline.

    Returns:
        Class to array of shape (objects, 2); classes without objects are left out.
    """
    factors = {entry['id']: resize_factor(transforms, entry['width'], entry['height']) for entry in content['images']}
    names = {entry['id']: entry['name'] for entry in content['categories']}
    found: dict[str, list] = {}
    for entry in content['annotations']:
        width, height = entry['bbox'][2:]
        factor = factors.get(entry['image_id'])
        if width > 0 and height > 0 and not entry.get('iscrowd') and factor and entry['category_id'] in names:
            found.setdefault(names[entry['category_id']], []).append((width * factor, height * factor))
    return {name: np.array(boxes) for name, boxes in found.items()}


@dataclasses.dataclass(frozen=True)
class Anchors:
    """The anchors of a head.

    Attributes:
        place: Dotted key of its ``anchor_generator``.
        key: The setting that holds their size: ``scales`` or ``octave_base_scale``.
        scale: The smallest size, in strides.
        scales: All sizes of one level, relative to ``scale``.
        ratios: Heights relative to widths.
        strides: Stride of each level, pixels.
    """

    place: str
    key: str
    scale: float
    scales: tuple[float, ...]
    ratios: tuple[float, ...]
    strides: tuple[int, ...]

    @property
    def smallest(self) -> float:
        """Side of the smallest anchor, pixels."""
        return min(self.strides) * self.scale

    def value(self, scale: float) -> object:
        """The value of :attr:`key` for another smallest size."""
        values = [scale * factor for factor in self.scales] if self.key == 'scales' else [scale]
        values = [int(value) if value == int(value) else value for value in values]
        return values if self.key == 'scales' else values[0]

    def matched(self, boxes: np.ndarray, scale: float | None = None) -> float:
        """The share of boxes that some anchor matches.

        Args:
            boxes: Widths and heights, shape (boxes, 2).
            scale: Another smallest size.
        """
        sides = [stride * (scale or self.scale) * factor for stride in self.strides for factor in self.scales]
        shapes = np.array([(s / math.sqrt(ratio), s * math.sqrt(ratio)) for s in sides for ratio in self.ratios])
        common = np.minimum(boxes[:, None], shapes).prod(2)
        best = (common / (boxes.prod(1)[:, None] + shapes.prod(1) - common)).max(1)
        return float((best >= MATCHED).mean())

    def worst(self, boxes: Mapping[str, np.ndarray], scale: float | None = None) -> tuple[str, float]:
        """The class whose boxes are matched least, and their share.

        Args:
            boxes: Class to widths and heights. Classes of fewer than ten objects count only where all are.
            scale: Another smallest size.
        """
        counted = {name: sizes for name, sizes in boxes.items() if len(sizes) >= RARE} or boxes
        shares = {name: self.matched(sizes, scale) for name, sizes in counted.items()}
        name = min(shares, key=shares.__getitem__)
        return name, shares[name]

    def fitting_scale(self, boxes: Mapping[str, np.ndarray]) -> float:
        """The smallest size, in strides, whose anchors match boxes of every class best; the present one among equals.

        Args:
            boxes: Class to widths and heights.
        """
        # a difference of a percent is none
        shares = {scale: round(self.worst(boxes, scale)[1], 2) for scale in (self.scale, *SCALES)}
        return max(shares, key=lambda scale: (shares[scale], -abs(math.log(scale / self.scale))))


def anchors_of(model: object, place: str = 'model') -> Iterator[Anchors]:
    """The anchors of every head of a model config, as far as they have one size and several strides."""
    if not isinstance(model, Mapping):
        return
    for key, value in model.items():
        if key != 'anchor_generator' or not isinstance(value, Mapping):
            yield from anchors_of(value, f'{place}.{key}')
            continue
        name = 'scales' if value.get('scales') else 'octave_base_scale'
        scales = value.get('scales') or [value.get(name)]
        strides = [stride if isinstance(stride, int) else min(stride) for stride in value.get('strides') or ()]
        if strides and None not in scales:
            octaves = range(value.get('scales_per_octave') or 1) if name == 'octave_base_scale' else (0,)
            parts = len(octaves)
            yield Anchors(
                place=f'{place}.{key}',
                key=name,
                scale=min(scales),
                scales=tuple(scale / min(scales) * 2 ** (octave / parts) for scale in scales for octave in octaves),
                ratios=tuple(value.get('ratios') or (1.0,)),
                strides=tuple(strides),
            )
