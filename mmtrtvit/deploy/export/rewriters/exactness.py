"""Data exchanged between the forward pass of a detector and its heads through the data samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .image_extent import IMAGE_EXTENT, image_extent
from .selection import EXACTNESS


class Exactness:
    """Notes of the heads on whether their selection is certain. Empty in the native flavour, where it always is."""

    def __init__(self) -> None:
        self.notes: list[Tensor] = []

    @classmethod
    def prepare(cls, data_samples: Sequence, batch_inputs: Tensor, preprocessor: nn.Module) -> Exactness:
        """Store the extent of the images, their padded shape and a list for notes where the heads look for them.

        Args:
            data_samples: One for each image. Heads receive their meta information.
            batch_inputs: ``(B, C, H, W)``, normalised and padded.
            preprocessor: The data preprocessor that normalised it.
        """
        exactness = cls()
        fields = {
            IMAGE_EXTENT: image_extent(batch_inputs, preprocessor),
            'img_shape': batch_inputs.shape[2:],
            EXACTNESS: exactness.notes,
        }
        for sample in data_samples:
            for name, value in fields.items():
                # set_metainfo would copy the value, which breaks tracing
                sample.set_field(name=name, value=value, field_type='metainfo')
        return exactness

    def append_to(self, results: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The outputs of the heads, followed by the ``(B,)`` minimum of the notes if there are any."""
        return (*results, torch.stack(self.notes).amin(0)) if self.notes else tuple(results)
