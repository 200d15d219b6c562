"""The parts that mmtrtvit needs from the machine it runs on, and the commands that install them.

One table (:data:`PARTS`) names every part: the import name, the versions that work, the feature that needs it.
:func:`inspect_environment` compares the table with the machine; :func:`require` does so for the parts that backbones or
whole networks cannot do without. The pins are those of the requirement files, in the checkout or the installed package.

Two sets of OpenMMLab distributions have the same import names (``onedl-mmcv`` and ``mmcv``, ...), so a part is found by
importing it, never by the name of its distribution.

``tools/check_env.py`` loads this file by its path, where nothing is installed, and by a Python too old for mmtrtvit
(3.8, 3.9). Hence only the standard library is used, and versions are compared without ``packaging``.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import io
import operator
import os
import platform
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

OK, MISSING, WRONG = 'ok', 'missing', 'wrong'

ANY_VERSION = 'MMTRTVIT_ANY_VERSION'
"""Setting this variable (to anything) turns "version out of range" from an error into a remark."""

TENSORRT_LOWEST = (10,)
"""The first TensorRT with strongly typed networks, whose precision is that of the graph."""

TENSORRT_TYPED_FULLY = (10, 12)
"""The first in which NVIDIA calls strong typing fully available."""

TENSORRT_WITHOUT_FLAGS = (11,)
"""The first without builder flags for a precision."""


class EnvironmentProblem(ImportError):
    """The environment lacks a part that mmtrtvit cannot do without; the message names it and how to install it."""


class NotInstalled(ImportError):
    """A probe looked for a part that is not there (as opposed to one that is there and broken)."""


# --- versions and pins ----------------------------------------------------------------------------------------

_COMPARE = {'>=': operator.ge, '<=': operator.le, '==': operator.eq, '>': operator.gt, '<': operator.lt}


def release(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: ``'2.13.0+cpu'`` gives ``(2, 13, 0)``, an unreadable one ``()``."""
    match = re.match(r'\d+(\.\d+)*', version)
    return tuple(int(number) for number in match.group().split('.')) if match else ()


def in_range(version: str, wanted: str) -> bool:
    """True if ``version`` satisfies all of ``wanted``, as ``'>=2.4,<2.14'``. An unreadable one does."""
    clauses = re.findall(r'(>=|<=|==|>|<)\s*([\d.]+)', wanted)
    bounds = [(_COMPARE[sign], release(bound)) for sign, bound in clauses]
    length = max(map(len, [release(version), *(bound for _, bound in bounds)]))

    def padded(numbers: tuple[int, ...]) -> tuple[int, ...]:
        return numbers + (0,) * (length - len(numbers))

    return not release(version) or all(holds(padded(release(version)), padded(bound)) for holds, bound in bounds)


@functools.lru_cache
def pins() -> dict[str, str]:
    """The lines of the requirement files, as ``'onedl-mmcv==2.3.6'``, by the name of the distribution."""
    package = Path(__file__).parent
    found = {}
    for folder in (package.parent, package / '.mim'):
        for file in (folder / 'requirements').glob('*.txt'):
            lines = (line.partition(' #')[0].strip() for line in file.read_text().splitlines())
            found.update({re.split('[<>=]', line)[0]: line for line in lines if line and line[0] != '#'})
    return found


def installed(distributions: Iterable[str]) -> list[str]:
    """The installed ones among ``distributions``."""
    found = []
    for name in distributions:
        with contextlib.suppress(metadata.PackageNotFoundError):
            metadata.distribution(name)
            found.append(name)
    return found


def stack() -> str:
    """The stack that is installed: ``'upstream'`` when only its distributions are there, else ``'onedl'``."""
    names = installed(name for part in PARTS if len(part.distributions) > 1 for name in part.distributions)
    return 'upstream' if names and not any(name.startswith('onedl-') for name in names) else 'onedl'


# --- the probes of parts that are more than a module with a version --------------------------------------------


def is_there(module: str) -> bool:
    """True if ``module`` can be found. Only its parents are imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        # ValueError: a module in sys.modules without a __spec__, which is there all the same.
        return module in sys.modules


def _mmcv_operators() -> str:
    """The target that mmcv's operators were compiled for: ``'CPU'`` or ``'CUDA 12.8'``."""
    if not is_there('mmcv'):
        raise NotInstalled
    # The operators are linked against torch's libraries, which are only found once torch is loaded.
    importlib.import_module('torch')
    extension = importlib.import_module('mmcv._ext')
    cuda = getattr(extension, 'get_compiling_cuda_version', lambda: '')()
    return f'CUDA {cuda}' if re.match(r'\d', str(cuda)) else 'CPU'


def _gpu() -> str:
    """Names of the CUDA GPUs that torch can use."""
    if not is_there('torch'):
        raise NotInstalled('no torch to ask')
    torch = importlib.import_module('torch')
    if not torch.cuda.is_available():
        raise NotInstalled('torch sees no CUDA GPU' if torch.version.cuda else 'this torch is a CPU build')
    return ', '.join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))


def _operators_remark(compiled_for: str) -> str:
    try:
        gpu = _gpu()
    except Exception:  # no GPU, or one that cannot be asked
        return ''
    if compiled_for != 'CPU':
        return ''
    return (
        f'mmcv was compiled for the CPU only, but torch sees {gpu}: detectors fail on the GPU until mmcv is '
        'built again with the CUDA toolkit (nvcc) of the version that torch was built with'
    )


def _tensorrt_remark(version: str) -> str:
    if release(version) < TENSORRT_LOWEST:
        return ''
    return (
        f'TensorRT {release(version)[0]}: strongly typed engines: FP32, FP16, BF16 and INT8, by the types in the '
        'ONNX file' + ('' if release(version) >= TENSORRT_TYPED_FULLY else '; experimental before TensorRT 10.12')
    )


# --- the table --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """One thing that is needed, or that one feature needs.

    Attributes:
        name: Its name in the table.
        module: Its import name.
        wanted: Versions that work, as ``'>=2.4,<2.14'``. Empty: any.
        purpose: The feature that needs it.
        distributions: Distributions that bring it; where they are several, that of the onedl stack, that of the
            upstream stack, and others.
        install: Command that installs it, with ``{pip}`` and ``{requirement}`` filled in.
        repair: Command that fixes it when it is there but broken. Empty: ``install``.
        expected: Text in place of ``wanted`` for a part without a version to compare.
        required: Whether nothing works without it.
        fatal: Whether nothing works when it is there but broken.
        one_of: Parts of the same group are required together: one of them has to work.
        probe: Finds the version instead of importing ``module`` and reading its ``__version__``.
        remark: Says what follows from the version that was found.
    """

    name: str
    module: str
    wanted: str
    purpose: str
    distributions: tuple[str, ...] = ()
    install: str = '{pip} install "{requirement}"'
    repair: str = ''
    expected: str = ''
    required: bool = False
    fatal: bool = False
    one_of: str = ''
    probe: Callable[[], str] | None = None
    remark: Callable[[str], str] | None = None

    @property
    def requirement(self) -> str:
        """The argument for pip: the pin of the requirement files, else the versions that work."""
        if not self.distributions:
            return self.module
        upstream = len(self.distributions) > 1 and stack() == 'upstream'
        name = self.distributions[1 if upstream else 0]
        return pins().get(name, f'{name}{self.wanted}')

    def command(self, template: str) -> str:
        """Fill in a command of the table."""
        return template.format(pip=f'{shlex.quote(sys.executable or "python")} -m pip', requirement=self.requirement)


_MMCV: dict[str, Any] = dict(
    distributions=('onedl-mmcv', 'mmcv', 'mmcv-full', 'mmcv-lite'),
    install='MMCV_WITH_OPS=1 {pip} install --no-build-isolation {requirement}',
    # pip would find the requirement satisfied, or bring the same wheel again from its cache.
    repair='MMCV_WITH_OPS=1 {pip} install --no-build-isolation {requirement} '
    '--no-deps --no-cache-dir --force-reinstall',
    required=True,
)

PARTS = (
    Part(
        name='Python',
        module='sys',
        wanted='>=3.10,<3.13',
        purpose='everything',
        install='make a new virtual environment with Python 3.10, 3.11 or 3.12',
        required=True,
        probe=platform.python_version,
    ),
    Part('torch', 'torch', '>=2.4,<2.14', 'everything', ('torch',), required=True),
    Part(
        # mmengine imports it when it is there and survives only its absence.
        name='torchvision',
        module='torchvision',
        wanted='',
        purpose='mmpretrain',
        distributions=('torchvision',),
        repair='{pip} uninstall -y torchvision   (or install the build that pairs with this torch: '
        '0.28 with 2.13, 0.27 with 2.12, ...)',
        expected='pair of torch, or none',
        fatal=True,
    ),
    Part(
        # Its distributions share one import name, and mmcv requires the one that needs libraries of a desktop.
        name='OpenCV',
        module='cv2',
        wanted='>=4.5',
        purpose='reading images',
        install='{pip} install opencv-python-headless',
        repair='{pip} uninstall -y opencv-python opencv-python-headless && {pip} install opencv-python-headless   '
        '(a slim container has no libGL; or: apt-get install libgl1 libglib2.0-0)',
        required=True,
    ),
    Part('mmengine', 'mmengine', '>=0.10.7,<1', 'everything', ('onedl-mmengine', 'mmengine'), required=True),
    Part('mmcv', 'mmcv', '>=2.1,<2.4', 'everything', **_MMCV),
    Part(
        name='mmcv compiled ops',
        module='mmcv._ext',
        wanted='',
        purpose='RoIAlign, NMS',
        expected='built with this torch',
        probe=_mmcv_operators,
        remark=_operators_remark,
        **_MMCV,
    ),
    Part('mmdet', 'mmdet', '>=3.3,<4', 'detection', ('onedl-mmdetection', 'mmdet'), one_of='mmdet or mmseg'),
    Part(
        name='mmseg',
        module='mmseg',
        wanted='>=1.2.2,<2',
        purpose='segmentation',
        distributions=('onedl-mmsegmentation', 'mmsegmentation'),
        one_of='mmdet or mmseg',
    ),
    Part(
        name='mmpretrain',
        module='mmpretrain',
        wanted='>=1.2,<2',
        purpose='image classification',
        distributions=('onedl-mmpretrain', 'mmpretrain'),
        install='{pip} install "{requirement}" and the torchvision that pairs with this torch; without a GPU '
        '`make reference` makes an environment with both',
    ),
    Part(
        name='mmdeploy',
        module='mmdeploy',
        wanted='>=1.3.1,<2',
        purpose='export',
        distributions=('mmdeploy',),
        install='{pip} install --no-deps "{requirement}" && '
        '{pip} install aenum grpcio multiprocess prettytable terminaltables onnx',
    ),
    Part('onnx', 'onnx', '>=1.17,<2', 'export', ('onnx',)),
    Part('onnxruntime', 'onnxruntime', '>=1.20,<2', 'running ONNX files', ('onnxruntime',)),
    Part('openvino', 'openvino', '>=2024.0', 'running on Intel CPUs', ('openvino',)),
    Part('tensorrt', 'tensorrt', '>=10,<12', 'engines for NVIDIA GPUs', ('tensorrt',), remark=_tensorrt_remark),
    Part('tensorrt_rtx', 'tensorrt_rtx', '>=1.0', 'portable engines for RTX GPUs', ('tensorrt-rtx-cu12',)),
    Part(
        name='GPU',
        module='torch',
        wanted='',
        purpose='training at full size, TensorRT',
        install='with an NVIDIA GPU: install its driver and a CUDA build of torch; without: nothing to do',
        expected='CUDA',
        probe=_gpu,
    ),
)


# --- judging the parts ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PartReport:
    """The state of one part.

    Attributes:
        name: Its name in the table.
        found: Version, or ``''`` when the part is missing or broken.
        wanted: Versions that work, or a description in words.
        status: ``'ok'``, ``'missing'`` or ``'wrong'``.
        required: Whether mmtrtvit cannot be used before this is ``'ok'``.
        purpose: The feature that needs it.
        problem: The fault, ``''`` when nothing is wrong.
        fix: The command that fixes it, ``''`` when nothing is wrong.
        remarks: Further notes on the version that was found.
    """

    name: str
    found: str
    wanted: str
    status: str
    required: bool
    purpose: str
    problem: str = ''
    fix: str = ''
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line on the state of the part, as ``'torch is missing (not installed)'``."""
        state = {OK: 'is right', MISSING: 'is missing', WRONG: 'does not work'}[self.status]
        return f'{self.name} {state}' + (f' ({self.problem})' if self.problem else '')


def _import_version(module: str) -> str:
    """Import ``module`` and find its version, by its ``__version__`` or by the distribution it came in.

    Raises:
        NotInstalled: It is not there.
        BaseException: Whatever its import raised.
    """
    if not is_there(module):
        raise NotInstalled
    version = getattr(importlib.import_module(module), '__version__', None)
    if version:
        return str(version)
    # importlib.metadata learnt packages_distributions in Python 3.10.
    by_module: Mapping[str, list[str]] = getattr(metadata, 'packages_distributions', dict)()
    return next(map(metadata.version, by_module.get(module.split('.')[0], ())), 'unknown version')


def _side_by_side(part: Part) -> str:
    """A remark on two distributions that wrote their files into one package, or ``''``."""
    names = installed(part.distributions)
    if len(names) < 2:
        return ''
    return (
        f'{" and ".join(names)} are installed over one import name, {part.module}, so their files are mixed: '
        f'run {part.command("{pip}")} uninstall -y {" ".join(names)}, then install {part.requirement} again'
    )


def inspect_part(part: Part) -> PartReport:
    """Find one part and judge it. Whatever its import raises is reported, not raised."""
    found, status, problem, fix = '', OK, '', ''
    try:
        found = (part.probe or functools.partial(_import_version, part.module))()
    except NotInstalled as error:
        status, problem, fix = MISSING, str(error) or 'not installed', part.install
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a broken extension may raise anything, SystemExit too
        first_line = f': {error}'.strip().partition('\n')[0]
        status, problem, fix = WRONG, f'{type(error).__name__}{first_line}', part.repair or part.install
    remarks = [_side_by_side(part)]
    if status == OK and not in_range(found, part.wanted):
        problem = f'version {found} is not {part.wanted}'
        if os.environ.get(ANY_VERSION):
            remarks.append(f'{problem} (accepted because {ANY_VERSION} is set)')
            problem = ''
        else:
            status, fix = WRONG, f'{part.install}   (or set {ANY_VERSION}=1 to try it all the same)'
    if status == OK and part.remark:
        remarks.append(part.remark(found))
    return PartReport(
        name=part.name,
        found=found,
        wanted=part.wanted or part.expected,
        status=status,
        required=part.required or (part.fatal and status == WRONG),
        purpose=part.purpose,
        problem=problem,
        fix=part.command(fix) if fix else '',
        remarks=tuple(filter(None, remarks)),
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what modules print and warn about while they are imported out of the report."""
    unseen = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(unseen), contextlib.redirect_stderr(unseen):
        warnings.simplefilter('ignore')
        yield


def inspect_environment(parts: Iterable[Part] = PARTS) -> list[PartReport]:
    """Look for every part.

    Returns:
        One report a part, in the order of ``parts``. Nothing that an import does is raised or printed.
    """
    parts = list(parts)
    with _quiet():
        reports = [inspect_part(part) for part in parts]
    served = {part.one_of for part, report in zip(parts, reports) if report.status == OK}
    return [
        replace(report, required=True) if part.one_of and part.one_of not in served else report
        for part, report in zip(parts, reports)
    ]


def first_problem(reports: Iterable[PartReport]) -> PartReport | None:
    """The first required part that is not right, else the first optional one that is there but broken."""
    reports = list(reports)
    wrong = [report for report in reports if report.required and report.status != OK]
    wrong += [report for report in reports if report.status == WRONG]
    return wrong[0] if wrong else None


def _message_alone(hook: Callable, problem: EnvironmentProblem) -> Callable:
    """Wrap ``sys.excepthook``: a program that ends because it cannot import something prints the problem alone.

    Its exit status is 2.
    """

    @functools.wraps(hook)
    def show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if isinstance(error, ImportError):
            print(f'\nError: {error if isinstance(error, EnvironmentProblem) else problem}', file=sys.stderr)
            sys.exit(2)  # as command_line does for errors after the imports
        hook(kind, error, traceback)

    return show


BACKBONES = ('Python', 'torch', 'torchvision', 'OpenCV', 'mmengine', 'mmcv')
"""Parts that are enough for backbones alone. mmcv's Python part will do."""


def require(*, networks: bool = False) -> None:
    """Check the parts that backbones, or whole networks, cannot do without. Imports them.

    Args:
        networks: Check the further needs of detectors and segmentors as well: mmcv's compiled operators, and mmdet or
            mmseg.

    Raises:
        EnvironmentProblem: A part is missing, broken or of a version that does not work. The message names
            the first such part and the command that fixes it. Where nothing catches it, the message is all
            that the program prints.
    """
    needed = (part for part in PARTS if part.required or part.fatal or part.one_of)
    reports = inspect_environment(part for part in needed if networks or part.name in BACKBONES)
    for report in reports:
        for remark in report.remarks:
            warnings.warn(remark, stacklevel=3)
    _refuse(first_problem(report for report in reports if report.required), 'mmtrtvit cannot be used')


def require_part(name: str) -> None:
    """Check an optional part that is needed now. Imports it.

    Args:
        name: Its name in :data:`PARTS`.

    Raises:
        EnvironmentProblem: As :func:`require`.
    """
    (part,) = (part for part in PARTS if part.name == name)
    (report,) = inspect_environment([part])
    _refuse(None if report.status == OK else report, f'{part.purpose} cannot be used')


def _refuse(wrong: PartReport | None, refused: str) -> None:
    """Raise the error for a part that is not right; nothing without one."""
    if wrong is None:
        return
    package = Path(__file__).parent
    places = (package.parent / 'tools' / 'check_env.py', package / '.mim' / 'tools' / 'check_env.py')
    command = [f'Every part at a glance: {shlex.join([sys.executable, str(p)])}' for p in places if p.is_file()]
    lines = [
        f'{refused} in this environment: {wrong}',
        f'Expected: {wrong.name} {wrong.wanted}',
        f'Fix: {wrong.fix}',
        *command[:1],
    ]
    problem = EnvironmentProblem('\n'.join(lines))
    sys.excepthook = _message_alone(sys.excepthook, problem)
    raise problem


# --- showing them -----------------------------------------------------------------------------------------------

COLUMNS = ('Part', 'Found', 'Wanted', 'Status', '', 'Needed for')


def print_report(reports: list[PartReport]) -> None:
    """Print the table of parts, the remarks on them, and the command for the first thing wrong."""
    need = {True: 'required', False: 'optional'}
    rows: list[tuple[str, ...]] = [COLUMNS]
    rows += [(r.name, r.found or '-', r.wanted, r.status, need[r.required], r.purpose) for r in reports]
    widths = [max(map(len, column)) for column in zip(*rows)]
    rows.insert(1, tuple('-' * width for width in widths))
    for row in rows:
        print('  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    for report in reports:
        for line in [str(report)] * (report.status == WRONG) + [f'{report.name}: {r}' for r in report.remarks]:
            print(f'* {line}')
    wrong = first_problem(reports)
    if wrong is None:
        print('\nEverything that is required is here.')
        return
    kind = 'First thing wrong' if wrong.required else 'All that is required is here. Optional, but broken'
    print(f'\n{kind}: {wrong}\nFix: {wrong.fix}')
    if wrong.required:
        print('In a checkout, `make setup` makes an environment in which all of this is right.')
