"""Sliding windows over the input of a segmentor, as mmseg's ``test_cfg.mode='slide'`` does it."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..errors import DeployError
from .network import Network
from .tensor_names import OUTPUT

AT_ONCE = 8
"""Windows that are held as one batch; the network splits it further where it must."""


class Window(NamedTuple):
    """The window of a segmentor.

    Attributes:
        size: Height and width, pixels of the input.
        stride: Distance from one window to the next, down and across.
    """

    size: tuple[int, int]
    stride: tuple[int, int]

    @classmethod
    def from_manifest(cls, described: Mapping) -> 'Window':
        """Create it from the ``window`` of a manifest that was already checked."""
        return cls(tuple(described['size']), tuple(described['stride']))

    def places(self, size: tuple[int, int]) -> list[tuple[slice, slice]]:
        """Rows and columns of each window over an input. The last ones are moved back to end where the input ends."""
        starts = [
            [min(place, max(side - extent, 0)) for place in range(0, max(side - extent + step - 1, 0) + 1, step)]
            for side, extent, step in zip(size, self.size, self.stride, strict=True)
        ]
        return [
            (slice(top, min(top + self.size[0], size[0])), slice(left, min(left + self.size[1], size[1])))
            for top in starts[0]
            for left in starts[1]
        ]


def slide(network: Network, image: np.ndarray, window: Window) -> dict[str, np.ndarray]:
    """Run a segmentor on windows over an input, and average its logits where they overlap.

    Args:
        network: The network.
        image: ``(3, H, W)`` float32.
        window: The window.

    Returns:
        The outputs, as of a network that was given the whole input.

    Raises:
        DeployError: If the network gives classes, which cannot be averaged, or does not accept the size of the window.
    """
    size = image.shape[1], image.shape[2]
    places = window.places(size)
    total, count = np.zeros((0, *size), np.float32), np.zeros(size, np.float32)
    for start in range(0, len(places), AT_ONCE):
        several = places[start : start + AT_ONCE]
        for place, outputs in zip(
            several, network(np.stack([image[:, place[0], place[1]] for place in several])), strict=True
        ):
            logits = outputs[OUTPUT]
            if logits.dtype.kind != 'f':
                raise DeployError(
                    'The network gives classes, and those of overlapping windows cannot be averaged.',
                    expected='logits',
                    fix='export again with tools/deploy.py',
                )
            if not len(total):
                total = np.zeros((len(logits), *size), np.float32)
            total[:, place[0], place[1]] += logits
            count[place] += 1
    return {OUTPUT: total / count}
