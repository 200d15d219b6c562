"""The CPU, and the instructions that it has. Needs neither PyTorch nor NumPy."""

import platform
from collections.abc import Iterable

INSTRUCTIONS = (
    *('avx2', 'avx_vnni', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_int8', 'amx_bf16'),
    *('asimddp', 'i8mm', 'bf16'),
)
"""Instructions of x86 and ARM that matter to networks. INT8 arithmetic saturates on x86 without VNNI."""


def processor() -> dict:
    """The CPU: its ``name``, and those of :data:`INSTRUCTIONS` that it has as ``features`` (only known on Linux)."""
    told: dict[str, str] = {}
    try:
        with open('/proc/cpuinfo') as file:
            for key, _, value in (line.partition(':') for line in file):
                told.setdefault(key.strip().lower(), value.strip())
    except OSError:
        pass
    flags = (told.get('flags') or told.get('features') or '').split()
    name = told.get('model name') or platform.processor() or platform.machine()
    return dict(name=name, features=[feature for feature in INSTRUCTIONS if feature in flags])


def saturates(features: Iterable[str]) -> bool:
    """Whether INT8 arithmetic cuts sums of two products off at 16 bits: that of x86 without VNNI does."""
    found = set(features)
    return 'avx2' in found and not found & {'avx_vnni', 'avx512_vnni', 'amx_int8'}
