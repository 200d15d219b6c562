"""What every backend gives: a session that runs one network on arrays, by the names of its inputs and outputs."""

import abc
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ...errors import DeployError


class TensorSpec(NamedTuple):
    """An input or output of a network.

    Attributes:
        name: Its name in the graph.
        dtype: Name of its NumPy type, such as ``'float32'``.
        shape: Its sides; those that are free by the name of the dimension (or -1 where it has none).
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def fits(self, array: np.ndarray) -> bool:
        """Whether an array has this rank, and the sides that are fixed."""
        return array.ndim == len(self.shape) and all(
            isinstance(side, str) or side in (-1, given) for side, given in zip(self.shape, array.shape, strict=True)
        )


class Session(abc.ABC):
    """A loaded network.

    Attributes:
        device: Where it computes: ``'cpu'``, or ``'cuda'`` for a GPU. Latencies compare only on the same one.
        inputs, outputs: What it takes and gives, in the order of the graph.
    """

    device: str = 'cpu'
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the network.

        Args:
            feeds: Name to array for every input. Floating-point arrays are given as float32 whatever the precision
                of the network.

        Returns:
            Name to array for every output; floating-point ones as float32.

        Raises:
            DeployError: If an input is missing or has another shape than the network takes.
        """
        for spec in self.inputs:
            given = feeds.get(spec.name)
            if given is None or not spec.fits(given):
                sides = ' x '.join(map(str, spec.shape))
                said = 'nothing' if given is None else ' x '.join(map(str, given.shape))
                raise DeployError(
                    f'Input {spec.name!r}: {said} was given.',
                    expected=f'{sides} ({spec.dtype})',
                    fix='give an image of that size, or export with --dynamic for sizes that vary',
                )
        outputs = self.run({spec.name: feeds[spec.name] for spec in self.inputs})
        return {name: array.astype(np.float32) if array.dtype.kind == 'f' else array for name, array in outputs.items()}

    @abc.abstractmethod
    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the network on arrays that were checked."""
