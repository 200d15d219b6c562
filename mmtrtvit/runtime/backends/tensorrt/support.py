"""The packages TensorRT and TensorRT for RTX: installed versions, and combinations that cannot work."""

import importlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

from ....environment import TENSORRT_LOWEST, TENSORRT_WITHOUT_FLAGS
from ....errors import DeployError

Version = tuple[int, ...]


class Package(NamedTuple):
    """A package that builds and runs engines.

    Attributes:
        title: Its name in NVIDIA's documentation.
        distributions: Its names for pip.
        install: The command that installs it.
        plugins: Whether some ONNX operators, such as ``RoiAlign``, come from a separate plugin library. Each process
            has to register that library before it reads a graph or loads an engine.
        targets: GPUs, by compute capability, that engines can be built for without having one. Empty if an engine
            only runs on the kind of GPU that built it.
        usual_targets: The default targets.
    """

    title: str
    distributions: tuple[str, ...]
    install: str
    plugins: bool = False
    targets: tuple[str, ...] = ()
    usual_targets: tuple[str, ...] = ()


PACKAGES = {
    'tensorrt': Package(
        title='TensorRT',
        distributions=('tensorrt', 'tensorrt-cu12', 'tensorrt-cu13', 'tensorrt-cu11', 'tensorrt-bindings'),
        install='pip install tensorrt-cu12==10.16.1.11',
        plugins=True,
    ),
    'tensorrt_rtx': Package(
        title='TensorRT for RTX',
        distributions=('tensorrt-rtx', 'tensorrt-rtx-cu12', 'tensorrt-rtx-cu13'),
        install='pip install -r requirements/tensorrt-rtx.txt',
        targets=('sm75', 'sm80', 'sm86', 'sm89', 'sm120', 'sm121'),  # as of version 1.7
        usual_targets=('sm80', 'sm86', 'sm89', 'sm120', 'sm121'),
    ),
}
"""Name of the Python module to package."""

MOST_TOPK = 3840
"""Largest K of a ``TopK`` that the packages support."""


class Refusal(NamedTuple):
    """A combination that cannot work. A condition that is empty or None always holds.

    Attributes:
        package: The Python module.
        since, before: The first affected version, and the first one that is no longer affected.
        capabilities: Affected compute capabilities of the GPU.
        uses: Affected feature: ``'precision flags'``, ``'typed graph'`` (float16, bfloat16 or quantised) or
            ``'float32 graph'``.
        reason: Why it cannot work.
        instead: A combination that works.
    """

    package: str
    reason: str
    instead: str
    since: Version = ()
    before: Version = ()
    capabilities: frozenset[tuple[int, int]] = frozenset()
    uses: str = ''

    def applies(self, package: str, version: Version, capability: tuple[int, int] | None, uses: str) -> bool:
        """True if this refusal covers the combination."""
        return (
            package == self.package
            and (not self.since or version >= self.since)
            and (not self.before or version < self.before)
            and (not self.capabilities or capability in self.capabilities)
            and (not self.uses or uses == self.uses)
        )


REFUSALS = (
    Refusal(
        'tensorrt',
        before=TENSORRT_LOWEST,
        reason='strongly typed networks came with TensorRT 10; earlier versions ignore the data types of the graph',
        instead='TensorRT 10.x or 11.x: pip install tensorrt-cu12==10.16.1.11',
    ),
    Refusal(
        'tensorrt',
        since=TENSORRT_WITHOUT_FLAGS,
        uses='precision flags',
        reason='TensorRT 11 has neither BuilderFlag.FP16 nor BuilderFlag.INT8 nor int8_calibrator, which fp16_mode and '
        'int8_mode of mmdeploy set',
        instead='tools/deploy.py --precision fp16 or int8, which write the precision into the graph',
    ),
    Refusal(
        'tensorrt',
        before=TENSORRT_WITHOUT_FLAGS,
        uses='precision flags',
        reason='engines of TensorRT 10 are strongly typed here: the graph sets the precision, which rules out the '
        'builder flags of fp16_mode and int8_mode',
        instead='tools/deploy.py --precision fp16 or int8, which write the precision into the graph',
    ),
    Refusal(
        'tensorrt_rtx',
        capabilities=frozenset({(9, 0), (10, 0), (10, 3), (11, 0)}),
        reason='TensorRT for RTX does not support data-centre GPUs (H100, H200, B200)',
        instead='--backend tensorrt with TensorRT 10.x or 11.x',
    ),
    Refusal(
        'tensorrt_rtx',
        capabilities=frozenset({(5, 0), (5, 2), (6, 0), (6, 1), (7, 0), (7, 2)}),
        reason='TensorRT for RTX starts with compute capability 7.5 (Turing)',
        instead='--backend onnxruntime',
    ),
    Refusal(
        'tensorrt_rtx',
        capabilities=frozenset({(7, 5)}),
        uses='float32 graph',
        reason='TensorRT for RTX has no float32 matrix product for Turing (sm75)',
        instead='--precision fp16, or other targets',
    ),
    Refusal(
        'tensorrt_rtx',
        uses='precision flags',
        reason='TensorRT for RTX has no builder flags for a precision (fp16_mode, int8_mode)',
        instead='tools/deploy.py --precision fp16 or int8, which write the precision into the graph',
    ),
)
"""Known refusals. The first one that applies is reported."""


def parse_version(text: str) -> Version:
    """``'10.16.1.11'`` as ``(10, 16, 1, 11)``."""
    return tuple(int(part) for part in re.findall(r'\d+', text.split('+')[0].split('rc')[0]))


def installed_version(package: str) -> Version | None:
    """Version of a package without importing it, or ``None`` if it is not installed."""
    if importlib.util.find_spec(package) is None:
        return None
    for distribution in PACKAGES[package].distributions:
        try:
            return parse_version(importlib.metadata.version(distribution))
        except importlib.metadata.PackageNotFoundError:
            continue
    # not installed by pip, for example a package of the operating system
    return parse_version(import_package(package).__version__)


def _missing(package: str, why: str) -> DeployError:
    known = PACKAGES[package]
    return DeployError(
        f'{known.title} cannot be used: {why}.',
        expected=f'the Python module {package} with its libraries',
        fix=f'{known.install} (docs/tensorrt.md says which version for which GPU), or choose another --backend',
    )


def import_package(package: str) -> ModuleType:
    """Import a package.

    Raises:
        DeployError: If it is not installed, or its libraries cannot be loaded.
    """
    try:
        return importlib.import_module(package)
    except (ImportError, OSError) as error:
        raise _missing(package, f'import {package} ends with "{error}"') from error


def require_version(package: str) -> Version:
    """Version of a package that must be installed.

    Raises:
        DeployError: If it is not installed.
    """
    version = installed_version(package)
    if version is None:
        raise _missing(package, f'there is no Python module {package}')
    return version


def find_refusal(
    package: str, version: Version, capability: tuple[int, int] | None = None, uses: str = ''
) -> Refusal | None:
    """The first of :data:`REFUSALS` that applies. Takes the arguments of :func:`refuse_combination`."""
    return next((known for known in REFUSALS if known.applies(package, version, capability, uses)), None)


def refuse_combination(
    package: str, version: Version, capability: tuple[int, int] | None = None, uses: str = ''
) -> None:
    """Raise an error with the reason and an alternative if a combination cannot work.

    Args:
        package: ``'tensorrt'`` or ``'tensorrt_rtx'``.
        version: Its version.
        capability: Compute capability of the GPU, or None to ignore it.
        uses: The feature to be used, see :class:`Refusal`.

    Raises:
        DeployError: If one of :data:`REFUSALS` applies.
    """
    refusal = find_refusal(package, version, capability, uses)
    if refusal is None:
        return
    given = f'{PACKAGES[package].title} {".".join(map(str, version))}'
    if refusal.capabilities:
        given += f' on a GPU of compute capability {".".join(map(str, capability or ()))}'
    raise DeployError(f'{given} cannot be used here: {refusal.reason}.', fix=f'use {refusal.instead}')


def target_of(capability: tuple[int, int]) -> str:
    """A compute capability in the form of ``--targets``: ``(8, 6)`` becomes ``'sm86'``."""
    return 'sm{}{}'.format(*capability)


def why_unfit(package: str, version: Version, capability: tuple[int, int], targets: Sequence[str]) -> str:
    """The reason why a GPU cannot run an engine that was built on this machine; empty if it can.

    Args:
        package: ``'tensorrt'`` or ``'tensorrt_rtx'``.
        version: Its version.
        capability: Compute capability of the GPU.
        targets: Targets that the engine was built for, in lower case; empty for the package's default.
    """
    refusal = find_refusal(package, version, capability)
    if refusal is not None:
        return refusal.reason
    built_for = targets or PACKAGES[package].usual_targets
    if built_for and target_of(capability) not in built_for:
        return f'the engine is for {", ".join(built_for)}, and the GPU here is {target_of(capability)}'
    return ''
