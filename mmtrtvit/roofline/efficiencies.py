"""Devices by name, and efficiencies: those that calibration found, and those that stand in where there was none."""

import dataclasses

from ..errors import ConfigError
from .devices import DEVICES, Device
from .fusion import COMPILERS
from .predict import Efficiency
from .this_cpu import measure_cpu

CALIBRATED: dict[tuple[str, str], Efficiency] = {
    ('t4', 'tensorrt-8.0'): Efficiency(
        conv=0.6062, linear=0.608, attention=0.3007, depthwise=0.2, stream=0.4927, irregular=0.1395, overhead=13.2364
    ),
    ('rtx4090', 'eager'): Efficiency(
        conv=0.8293, linear=1.2, attention=0.366, depthwise=0.2758, stream=0.9606, irregular=0.6209, overhead=4.0035
    ),
    ('rtx4090', 'inductor'): Efficiency(
        conv=0.9631, linear=1.0607, attention=0.4045, depthwise=0.1909, stream=0.9975, irregular=0.382, overhead=3.9615
    ),
    ('rtx5090', 'inductor'): Efficiency(
        conv=1.0906, linear=1.0453, attention=0.441, depthwise=0.183, stream=0.8388, irregular=0.3344, overhead=3.9957
    ),
    ('cpu', 'openvino'): Efficiency(
        conv=1.1564, linear=1.1812, attention=0.5368, depthwise=0.231, stream=0.7371, irregular=0.4794, overhead=3.8929
    ),
    ('cpu', 'onnxruntime'): Efficiency(
        conv=1.1786, linear=1.0837, attention=0.4504, depthwise=0.2311, stream=0.7311, irregular=0.3918, overhead=4.1002
    ),
}
"""Device and compiler to efficiencies, as ``python tools/dev/validate_roofline.py predict`` found them."""

_GPU = ('tensorrt', 'tensorrt-8.0', 'inductor', 'eager')
_CPU = ('openvino', 'onnxruntime')

_STAND_IN = {'tensorrt': ('t4', 'tensorrt-8.0')}
"""Compilers without a calibration of their own, and the one that stands in."""


def device(name: str) -> Device:
    """A device by name; ``cpu`` is this machine, measured on the spot.

    Raises:
        ConfigError: If the name is unknown.
    """
    if name == 'cpu':
        return measure_cpu()
    if name not in DEVICES:
        raise ConfigError(f'--device {name} is unknown.', expected=', '.join([*DEVICES, 'cpu']), fix='correct --device')
    return DEVICES[name]


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
    other = next((key for key in CALIBRATED if key[1] == compiler), _STAND_IN.get(compiler))
    found, name = CALIBRATED[other], COMPILERS[other[1]].title
    if other[0] == device:
        return found, f'not calibrated for {COMPILERS[compiler].title}: those of {name} on this device'
    # Shares of peaks say something of the compiler; the time to start a kernel belongs to the device.
    usual = Efficiency().overhead
    return dataclasses.replace(found, overhead=usual), (
        f'not calibrated on this device: the shares of its peaks are those of {name} on {other[0]}, and '
        f'{usual:g} us to start a group of layers are an assumption'
    )
