"""The input sizes that an artefact accepts: one size, or a range."""

import dataclasses
import re
from collections.abc import Sequence

from ...errors import ConfigError

Shape = tuple[int, int, int, int]
"""Batch, channels, height, width."""

CHANNELS = 3


@dataclasses.dataclass(frozen=True)
class InputShapes:
    """Smallest, usual and largest input; all the same for a fixed size.

    ``None`` instead of an instance stands for any size, which ONNX Runtime and OpenVINO accept.
    """

    smallest: Shape
    usual: Shape
    largest: Shape

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width if they are fixed."""
        return self.usual[2:] if self.smallest[2:] == self.largest[2:] else None

    @property
    def batch(self) -> int | None:
        """Number of images in the input if it is fixed."""
        return self.usual[0] if self.smallest[0] == self.largest[0] else None

    @property
    def profile(self) -> tuple[Shape, Shape, Shape]:
        """The shapes in the form of a TensorRT profile."""
        return self.smallest, self.usual, self.largest

    def to_dict(self) -> dict[str, list[int]]:
        """The shapes in the form of a manifest."""
        return {'min': list(self.smallest), 'opt': list(self.usual), 'max': list(self.largest)}


def parse_size(text: str) -> tuple[int, int]:
    """Height and width from ``'800x1344'``.

    Raises:
        ConfigError: If the text is not a size.
    """
    found = re.fullmatch(r'(\d+)x(\d+)', text.strip().lower())
    height, width = map(int, found.groups()) if found else (0, 0)
    if not height or not width:
        raise ConfigError(
            f'{text!r} is not an input size.', expected='height x width in pixels, such as 800x1344', fix='correct it'
        )
    return height, width


def input_shapes(
    shape: str | None = None, dynamic: Sequence[str] | None = None, batch: Sequence[int] | None = None
) -> InputShapes | None:
    """The input sizes given by ``--shape``, ``--dynamic`` and ``--batch``.

    Args:
        shape: A fixed size, ``'800x1344'``.
        dynamic: Smallest, usual and largest size.
        batch: The number of images, or the smallest, usual and largest number; 1 by default.

    Returns:
        The shapes; ``None``, for any size, if neither size nor batch is given.

    Raises:
        ConfigError: If they contradict each other or are in the wrong order.
    """
    if shape is None and dynamic is None:
        if batch is not None:
            raise ConfigError(
                f'--batch {" ".join(map(str, batch))} without an input size.',
                expected='--shape HxW, or --dynamic MIN OPT MAX beside it',
                fix='add one of them, or leave out --batch: any size and batch is taken then',
            )
        return None
    if shape is not None and dynamic is not None:
        raise ConfigError('--shape and --dynamic are both given.', expected='one of them', fix='leave out one of them')
    sizes = [parse_size(text) for text in ([shape] * 3 if shape is not None else dynamic)]
    counts = list(batch or [1])
    counts = counts * 3 if len(counts) == 1 else counts
    if len(sizes) != 3 or len(counts) != 3:
        raise ConfigError(
            '--dynamic and --batch take the smallest, the usual and the largest.',
            expected='--dynamic 480x480 800x1344 1344x1344 --batch 1 1 8 or the like',
            fix='give three of each (or a single --batch)',
        )
    shapes = [(count, CHANNELS, *size) for count, size in zip(counts, sizes, strict=True)]
    smallest, usual, largest = shapes
    if not all(1 <= low <= mid <= high for low, mid, high in zip(smallest, usual, largest, strict=True)):
        raise ConfigError(
            f'The inputs {", ".join("x".join(map(str, given)) for given in shapes)} are in the wrong order.',
            expected='smallest, usual, largest: no side of one larger than that of the next',
            fix='correct --shape, --dynamic or --batch',
        )
    return InputShapes(smallest, usual, largest)
