"""Efficiencies of a device from the latency of a few networks."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ..errors import ConfigError
from .devices import Device
from .fusion import Compiler
from .layers import Graph
from .predict import Efficiency, Roofline

NETWORKS = 5
"""The most networks that a device is calibrated on: few enough that every other one tests the prediction."""

_NOISE = 0.05
"""Standard deviation of the logarithm of a measured latency around the prediction."""

_DOUBT = 0.5
"""Standard deviation of the logarithm of an efficiency around its usual value, which decides where networks cannot."""

_LIMITS = dict(conv=1.2, linear=1.2, attention=1.2, depthwise=1.2, stream=1.2, irregular=1.2)
"""Efficiencies above 1 are possible, as clocks rise above those of the data sheets; far above, they are not."""


@dataclasses.dataclass(frozen=True)
class Observation:
    """The latency of a network.

    Attributes:
        graph: Its layers.
        batch: Images in the input.
        milliseconds: The latency of a batch.
    """

    graph: Graph
    batch: int
    milliseconds: float


def calibrate(
    device: Device,
    compiler: Compiler,
    precision: str,
    observations: Sequence[Observation],
    start: Efficiency | None = None,
) -> Efficiency:
    """Find the efficiencies that explain the latency of a few networks best.

    The logarithms are fitted by least squares, each efficiency drawn towards its usual value: five networks leave some
    of them open.

    Args:
        device: The device.
        compiler: The compiler or runtime that ran the networks.
        precision: The precision that they ran in.
        observations: The networks, at most :data:`NETWORKS`.
        start: The usual values.

    Raises:
        ConfigError: If there are no networks or too many, or a latency is not positive.
    """
    if not 1 <= len(observations) <= NETWORKS:
        raise ConfigError(
            f'{len(observations)} networks were given to calibrate on.',
            expected=f'1 to {NETWORKS}',
            fix='give fewer networks: those that are left out test the prediction',
        )
    for one in observations:
        if not one.milliseconds > 0:
            raise ConfigError(
                f'The latency of {one.graph.name} is {one.milliseconds} ms.',
                expected='a positive number',
                fix='measure it again',
            )
    usual = start or Efficiency()
    names = [field.name for field in dataclasses.fields(Efficiency)]
    centre = np.log([getattr(usual, name) for name in names])
    highest = np.log([_LIMITS.get(name, math.inf) for name in names])
    usual_roofline = Roofline(device, compiler, precision, usual)
    groups = [usual_roofline.groups(one.graph) for one in observations]
    measured = np.log([one.milliseconds for one in observations])

    def residuals(at: np.ndarray) -> np.ndarray:
        roofline = Roofline(device, compiler, precision, Efficiency(**dict(zip(names, np.exp(at)))))
        predicted = [
            roofline.predict_groups(found, one.batch, one.batch / one.graph.shape[0]).total
            for found, one in zip(groups, observations, strict=True)
        ]
        return np.concatenate([(np.log(predicted) - measured) / _NOISE, (at - centre) / _DOUBT])

    at, damping = centre.copy(), 1.0
    now = residuals(at)
    for _ in range(40):
        step = 1e-4
        slopes = np.stack([(residuals(at + step * unit) - now) / step for unit in np.eye(len(at))], axis=1)
        hessian = slopes.T @ slopes
        change = np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), -slopes.T @ now)
        wanted = np.minimum(at + change, highest)
        then = residuals(wanted)
        if then @ then < now @ now:
            done = now @ now - then @ then < 1e-6 * (now @ now)
            at, now, damping = wanted, then, damping / 4
            if done:
                break
        else:
            damping *= 4
    return Efficiency(**{name: round(float(value), 4) for name, value in zip(names, np.exp(at), strict=True)})
