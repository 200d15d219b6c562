"""Calibration of INT8: the ranges that tensors need on real inputs."""

from collections.abc import Callable, Iterable

import numpy as np
import onnx

from ...errors import ConfigError, DataError
from .emulation import Feed, open_graph
from .graph import element_types, with_outputs

BINS = 4096
LEVELS = 128
"""Number of magnitudes in symmetric INT8."""

PERCENTILE = 99.99


class Magnitudes:
    """A histogram of magnitudes. Its range doubles when a larger magnitude comes, so that one pass is enough.

    Attributes:
        largest: The largest magnitude seen.
        limit: Upper end of the histogram.
        counts: ``(BINS,)`` numbers of values.
    """

    def __init__(self) -> None:
        self.largest = self.limit = 0.0
        self.counts = np.zeros(BINS, np.int64)

    def add(self, values: np.ndarray) -> None:
        """Count the magnitudes of ``values``, of any shape."""
        size = np.abs(values).ravel()
        largest = float(size.max(initial=0.0))
        if largest == 0.0:
            return
        self.largest = max(self.largest, largest)
        self.limit = self.limit or largest
        while largest > self.limit:
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(1), np.zeros(BINS // 2, np.int64)])
            self.limit *= 2
        # zeros are exact at every scale, so they do not affect the range
        self.counts += np.histogram(size[size > 0], BINS, (0.0, self.limit))[0]


def _minmax(seen: Magnitudes) -> float:
    return seen.largest


def _percentile(seen: Magnitudes) -> float:
    share = np.cumsum(seen.counts) / seen.counts.sum()
    return min(float((np.searchsorted(share, PERCENTILE / 100) + 1) * seen.limit / BINS), seen.largest)


def _entropy(seen: Magnitudes) -> float:
    """The range whose quantised distribution is closest to the true one (Kullback-Leibler divergence). Values beyond
    the range count at its end. See Migacz, "8-bit inference with TensorRT", GTC 2017."""
    counts = seen.counts.astype(np.float64)
    best, chosen = np.inf, BINS
    for width in range(LEVELS, BINS + 1, LEVELS // 4):
        kept = counts[:width]
        true = kept.copy()
        true[-1] += counts[width:].sum()
        level = np.arange(width) * LEVELS // width
        used = kept > 0
        per_level = np.bincount(level, kept, LEVELS) / np.maximum(np.bincount(level, used, LEVELS), 1)
        quantised = np.where(used, per_level[level], 0.0)
        if not quantised.any():
            continue
        true, quantised = true / true.sum(), quantised / quantised.sum()
        there = true > 0
        divergence = float((true[there] * np.log(true[there] / np.maximum(quantised[there], 1e-12))).sum())
        if divergence < best:
            best, chosen = divergence, width
    return min(chosen * seen.limit / BINS, seen.largest)


METHODS: dict[str, Callable[[Magnitudes], float]] = dict(minmax=_minmax, percentile=_percentile, entropy=_entropy)
"""Name of a method to the function that chooses the range from the magnitudes seen."""


def calibrate(
    model: onnx.ModelProto, tensors: Iterable[str], feeds: Iterable[Feed], method: str = 'minmax'
) -> dict[str, float]:
    """Find the range of tensors of a float32 graph on real inputs.

    The feeds are used one by one, once. Only the tensors of one feed are in memory at a time.

    Args:
        model: The graph.
        tensors: Names of the tensors.
        feeds: Inputs.
        method: One of :data:`METHODS`.

    Returns:
        Name to the largest magnitude to cover, without tensors that were empty or 0 for every feed.

    Raises:
        ConfigError: If the method is unknown.
        DataError: If ``feeds`` is empty or a tensor is not finite.
    """
    if method not in METHODS:
        raise ConfigError(
            f'There is no calibration method {method!r}.',
            expected=', '.join(METHODS),
            fix='correct it',
        )
    names = list(dict.fromkeys(tensors))
    if not names:
        return {}
    session = open_graph(with_outputs(model, names, element_types(model)))
    seen = {name: Magnitudes() for name in names}
    number = 0
    for number, feed in enumerate(feeds, start=1):
        for name, array in zip(names, session.run(names, dict(feed)), strict=True):
            if not np.isfinite(array).all():
                raise DataError(
                    f'Tensor {name!r} is infinite or not a number for calibration input {number}.',
                    expected='finite values in the whole float32 graph',
                    fix='check the checkpoint and the input',
                )
            seen[name].add(array)
    if not number:
        raise DataError(
            'There are no inputs to calibrate on.',
            expected='some tens of real images, after preprocessing',
            fix='give the data set of the config, or images',
        )
    return {name: METHODS[method](magnitudes) for name, magnitudes in seen.items() if magnitudes.largest > 0}
