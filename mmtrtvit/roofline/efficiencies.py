"""Efficiencies that were found by calibration, and those that stand in where there was none."""

from ..errors import ConfigError
from .fusion import COMPILERS
from .predict import Efficiency

CALIBRATED: dict[tuple[str, str], Efficiency] = {}
"""Device and compiler to efficiencies, as ``python tools/dev/validate_roofline.py predict`` found them."""

_GPU = ('tensorrt', 'tensorrt-8.0', 'inductor', 'eager')
_CPU = ('openvino', 'onnxruntime')

_STAND_IN = {'tensorrt': ('t4', 'tensorrt-8.0')}
"""Compilers without a calibration of their own, and the one that stands in."""


def compilers_of(device: str) -> tuple[str, ...]:
    """Compilers and runtimes of a device, the usual one first."""
    return _CPU if device == 'cpu' else _GPU


def efficiency_of(device: str, compiler: str) -> tuple[Efficiency, str]:
    """The efficiencies of a compiler on a device.

    Returns:
        The efficiencies, and where they come from.

    Raises:
        ConfigError: If the compiler does not exist or not for this device.
    """
    if compiler not in compilers_of(device):
        raise ConfigError(
            f'--compiler {compiler} cannot be predicted on {device}.',
            expected=', '.join(compilers_of(device)),
            fix='correct --compiler',
        )
    if (device, compiler) in CALIBRATED:
        return CALIBRATED[device, compiler], f'calibrated on this device for {COMPILERS[compiler].title}'
    others = [key for key in CALIBRATED if key[1] == compiler] or [_STAND_IN[compiler]]
    other = others[0]
    return CALIBRATED[other], (
        f'not calibrated on this device: the efficiencies are those of {COMPILERS[other[1]].title} on {other[0]}'
    )
