"""What mmtrtvit needs from the machine it runs on, and how to mend what is wrong.

One table (:data:`PARTS`) names every part: the import name, the versions that work, what it is needed for
and the command that installs it. :func:`inspect_environment` compares the table with what is there,
:func:`require` does the same for the parts that backbones or whole networks cannot do without.

Two sets of OpenMMLab distributions have the same import names (``onedl-mmcv`` and ``mmcv``, ...), so a part
is found by importing it, never by the name of its distribution.

Nothing but the standard library is imported when this file is loaded, and it can be loaded by its path:
``tools/check_env.py`` runs it where nothing is installed, and on a Python (3.8, 3.9) too old for mmtrtvit.
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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path

OK, MISSING, WRONG = 'ok', 'missing', 'wrong'

# Requirement of each OpenMMLab part, by stack (the first is the default) and import name.
STACKS = {
    'onedl': {
        'mmengine': 'onedl-mmengine==0.10.12',
        'mmcv': 'onedl-mmcv==2.3.6',
        'mmdet': 'onedl-mmdetection==3.5.1',
        'mmseg': 'onedl-mmsegmentation==1.4.2',
        'mmpretrain': 'onedl-mmpretrain==1.3.6',
    },
    'upstream': {
        'mmengine': 'mmengine==0.10.7',
        'mmcv': 'mmcv==2.1.0',
        'mmdet': 'mmdet==3.3.0',
        'mmseg': 'mmsegmentation==1.2.2',
        'mmpretrain': 'mmpretrain==1.2.0',
    },
}

# Further distributions that install one of those import names.
OTHER_DISTRIBUTIONS = {'mmcv': ('mmcv-full', 'mmcv-lite')}

# How mmcv is built: with its operators, and against the torch that is installed.
PIP_MMCV = 'MMCV_WITH_OPS=1 {pip} install --no-build-isolation {requirement}'
PIP_MMCV_AGAIN = f'{PIP_MMCV} --no-deps --no-cache-dir --force-reinstall'
PIP = '{pip} install "{requirement}"'


@dataclass(frozen=True)
class Part:
    """One thing that is needed, or that one feature needs.

    Attributes:
        name: What the table calls it.
        module: Its import name.
        wanted: Versions that work, as ``'>=2.4,<2.14'``. Empty: any.
        expected: What is wanted, in words, where there is no version to compare.
        purpose: What it is needed for.
        requirement: What pip is asked for. Empty: the stack's requirement for ``module``.
        install: Command that installs it, with ``{pip}`` and ``{requirement}`` filled in.
        repair: Command that mends it when it is there but broken. Empty: ``install``.
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
    requirement: str = ''
    install: str = PIP
    repair: str = ''
    expected: str = ''
    required: bool = False
    fatal: bool = False
    one_of: str = ''
    probe: Callable[[], str] | None = None
    remark: Callable[[str], str] | None = None


@dataclass(frozen=True)
class PartReport:
    """What was found of one part.

    Attributes:
        name: What the table calls the part.
        found: Version, or ``''`` when the part is missing or broken.
        wanted: Versions that work, or what is expected in words.
        status: ``'ok'``, ``'missing'`` or ``'wrong'``.
        required: Whether mmtrtvit cannot be used before this is ``'ok'``.
        purpose: What the part is needed for.
        problem: What is wrong, ``''`` when nothing is.
        fix: The command that mends it, ``''`` when nothing is wrong.
        remarks: What else is worth knowing about what was found.
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

    def as_dict(self) -> dict:
        """Returns the report as plain data for JSON."""
        return asdict(self)


class EnvironmentProblem(ImportError):
    """The environment lacks what mmtrtvit cannot do without; the message says what, and how to mend it."""


class NotInstalled(ImportError):
    """A probe looked for a part that is not there (as opposed to one that is there and broken)."""


# --- versions -----------------------------------------------------------------------------------------------

# Setting this variable (to anything) turns "version out of range" from an error into a remark.
ANY_VERSION = 'MMTRTVIT_ANY_VERSION'

_COMPARE = {'>=': operator.ge, '<=': operator.le, '==': operator.eq, '>': operator.gt, '<': operator.lt}


def release(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: ``'2.13.0+cpu'`` gives ``(2, 13, 0)``, an unreadable one ``()``."""
    match = re.match(r'\d+(\.\d+)*', version)
    return tuple(int(number) for number in match.group().split('.')) if match else ()


def in_range(version: str, wanted: str) -> bool:
    """Whether ``version`` satisfies all of ``wanted``, as ``'>=2.4,<2.14'``. An unreadable one does."""
    found = release(version)
    if not found:
        return True
    for clause in filter(None, wanted.split(',')):
        sign, bound = re.match(r'(>=|<=|==|>|<)(.+)', clause.strip()).groups()
        limit = release(bound)
        length = max(len(found), len(limit))
        left, right = (numbers + (0,) * (length - len(numbers)) for numbers in (found, limit))
        if not _COMPARE[sign](left, right):
            return False
    return True


# --- finding parts ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what modules print and warn about while they are imported out of the report."""
    with contextlib.ExitStack() as entered:
        entered.enter_context(warnings.catch_warnings())
        entered.enter_context(contextlib.redirect_stdout(io.StringIO()))
        entered.enter_context(contextlib.redirect_stderr(io.StringIO()))
        warnings.simplefilter('ignore')
        yield


def is_there(module: str) -> bool:
    """Whether ``module`` can be found, without importing more of it than its parents."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        # ValueError: a module in sys.modules without a __spec__, which is there all the same.
        return module in sys.modules


def _distributions_of(module: str) -> list[str]:
    """Names of the installed distributions, of those known, that provide the import name ``module``."""
    names = [re.split('[=<>]', stack[module])[0] for stack in STACKS.values() if module in stack]
    names += OTHER_DISTRIBUTIONS.get(module, ())
    installed = []
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            metadata.distribution(name)
            installed.append(name)
    return installed


def _import_version(module: str) -> str:
    """Import ``module`` and find its version, by its ``__version__`` or by the distribution it came in.

    Raises:
        NotInstalled: It is not there.
        BaseException: Whatever its import raised.
    """
    if not is_there(module):
        raise NotInstalled
    imported = importlib.import_module(module)
    version = getattr(imported, '__version__', None)
    if version:
        return str(version)
    # importlib.metadata learnt packages_distributions in Python 3.10.
    by_module = getattr(metadata, 'packages_distributions', dict)()
    for distribution in by_module.get(module.split('.')[0], ()):
        return metadata.version(distribution)
    return 'unknown version'


def _python_version() -> str:
    return platform.python_version()


def _mmcv_ops() -> str:
    """What mmcv's operators were compiled for: ``'CPU'`` or ``'CUDA 12.8'``."""
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


def _ops_remark(compiled_for: str) -> str:
    try:
        gpu = _gpu()
    except Exception:  # no GPU, or one that cannot be asked: then there is nothing to say
        return ''
    if compiled_for != 'CPU':
        return ''
    return (
        f'mmcv was compiled for the CPU only, but torch sees {gpu}: detectors fail on the GPU until mmcv is '
        'built again with the CUDA toolkit (nvcc) of the version that torch was built with'
    )


TENSORRT_LOWEST = (8, 6)
"""The first TensorRT that reads LayerNormalization, and with it the exported graphs."""

TENSORRT_TYPED = (10,)
"""The first with strongly typed networks (FP16, BF16, INT8 by the graph). mmdeploy 1.3.1 and its plugins end here."""

TENSORRT_WITHOUT_FLAGS = (11,)
"""The first without builder flags for a precision."""

# What each release series of TensorRT can do here: (from, up to but not including, remark).
TENSORRT_SERIES = (
    (TENSORRT_LOWEST, TENSORRT_TYPED, 'FP32 engines only; runs the plugins of mmdeploy 1.3.1'),
    (TENSORRT_TYPED, (12,), 'strongly typed engines: FP32, FP16, BF16 and INT8, by the types in the ONNX file'),
)


def _tensorrt_remark(version: str) -> str:
    for first, end, remark in TENSORRT_SERIES:
        if first <= release(version) < end:
            return f'TensorRT {release(version)[0]}: {remark}'
    return ''


PARTS = (
    Part(
        name='Python',
        module='sys',
        wanted='>=3.10,<3.13',
        purpose='everything',
        install='make a new virtual environment with Python 3.10, 3.11 or 3.12',
        required=True,
        probe=_python_version,
    ),
    Part(
        name='torch',
        module='torch',
        wanted='>=2.4,<2.14',
        purpose='everything',
        requirement='torch==2.13.0',
        required=True,
    ),
    Part(
        # mmengine imports it when it is there and survives only its absence.
        name='torchvision',
        module='torchvision',
        wanted='',
        purpose='mmpretrain',
        requirement='torchvision==0.28.0',
        repair='{pip} uninstall -y torchvision   (or install the build that pairs with this torch: '
        '0.28 with 2.13, 0.27 with 2.12, ...)',
        expected='pair of torch, or none',
        fatal=True,
    ),
    Part(name='mmengine', module='mmengine', wanted='>=0.10.7,<1', purpose='everything', required=True),
    Part(
        name='mmcv',
        module='mmcv',
        wanted='>=2.1,<2.4',
        purpose='everything',
        install=PIP_MMCV,
        repair=PIP_MMCV_AGAIN,
        required=True,
    ),
    Part(
        name='mmcv compiled ops',
        module='mmcv._ext',
        wanted='',
        purpose='RoIAlign, NMS',
        install=PIP_MMCV,
        repair=PIP_MMCV_AGAIN,
        expected='built with this torch',
        required=True,
        probe=_mmcv_ops,
        remark=_ops_remark,
    ),
    Part(name='mmdet', module='mmdet', wanted='>=3.3,<4', purpose='detection', one_of='mmdet or mmseg'),
    Part(name='mmseg', module='mmseg', wanted='>=1.2.2,<2', purpose='segmentation', one_of='mmdet or mmseg'),
    Part(name='mmpretrain', module='mmpretrain', wanted='>=1.2,<2', purpose='ImageNet pretraining'),
    Part(
        name='mmdeploy',
        module='mmdeploy',
        wanted='>=1.3.1,<2',
        purpose='export',
        requirement='mmdeploy==1.3.1',
        install='{pip} install --no-deps "{requirement}" && '
        '{pip} install aenum grpcio multiprocess prettytable terminaltables onnx',
    ),
    Part(name='onnx', module='onnx', wanted='>=1.17,<2', purpose='export', requirement='onnx>=1.17,<2'),
    Part(
        name='onnxruntime',
        module='onnxruntime',
        wanted='>=1.20,<2',
        purpose='running ONNX files',
        requirement='onnxruntime>=1.20,<2',
    ),
    Part(
        name='openvino',
        module='openvino',
        wanted='>=2024.0',
        purpose='running on Intel CPUs',
        requirement='openvino==2026.4.1',
    ),
    Part(
        name='tensorrt',
        module='tensorrt',
        wanted='>=8.6,<12',
        purpose='engines for NVIDIA GPUs',
        requirement='tensorrt>=10,<12',
        remark=_tensorrt_remark,
    ),
    Part(
        name='tensorrt_rtx',
        module='tensorrt_rtx',
        wanted='>=1.0',
        purpose='portable engines for RTX GPUs',
        requirement='tensorrt-rtx>=1.0',
    ),
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

# --- judging them -------------------------------------------------------------------------------------------


def stack() -> str:
    """The stack that is installed: ``'upstream'`` when only its distributions are there, else ``'onedl'``."""
    names = [name for module in STACKS['onedl'] for name in _distributions_of(module)]
    return 'upstream' if names and not any(name.startswith('onedl-') for name in names) else 'onedl'


def _command(template: str, part: Part) -> str:
    requirement = part.requirement or STACKS[stack()].get(part.module.split('.')[0], part.module)
    return template.format(pip=f'{shlex.quote(sys.executable or "python")} -m pip', requirement=requirement)


def _explain(error: BaseException) -> str:
    """The kind and the first line of an error."""
    lines = str(error).strip().splitlines()
    return f'{type(error).__name__}: {lines[0]}' if lines else type(error).__name__


def _side_by_side(part: Part) -> str:
    """A remark on two distributions that wrote their files into one package, or ``''``."""
    names = _distributions_of(part.module)
    if len(names) < 2:
        return ''
    wanted = STACKS[stack()][part.module]
    return (
        f'{" and ".join(names)} are installed over one import name, {part.module}, so their files are mixed: '
        f'run {_command("{pip}", part)} uninstall -y {" ".join(names)}, then install {wanted} again'
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
        status, problem, fix = WRONG, _explain(error), part.repair or part.install
    remarks = []
    if status == OK and not in_range(found, part.wanted):
        problem = f'version {found} is not {part.wanted}'
        if os.environ.get(ANY_VERSION):
            remarks.append(f'{problem} (accepted because {ANY_VERSION} is set)')
            problem = ''
        else:
            status, fix = WRONG, f'{part.install}   (or set {ANY_VERSION}=1 to try it all the same)'
    if part.module in STACKS['onedl']:
        remarks.append(_side_by_side(part))
    return PartReport(
        name=part.name,
        found=found,
        wanted=part.wanted or part.expected,
        status=status,
        required=part.required or (part.fatal and status == WRONG),
        purpose=part.purpose,
        problem=problem,
        fix=_command(fix, part),
        remarks=tuple(filter(None, remarks)),
    )


def _inspect(parts: Iterable[Part]) -> list[PartReport]:
    """Judge parts one by one, then the groups of which one part is enough."""
    parts = list(parts)
    reports = [inspect_part(part) for part in parts]
    served = {part.one_of for part, report in zip(parts, reports) if report.status == OK}
    return [
        replace(report, required=True) if part.one_of and part.one_of not in served else report
        for part, report in zip(parts, reports)
    ]


def inspect_environment() -> list[PartReport]:
    """Look for every part of :data:`PARTS`.

    Returns:
        One report a part, in the order of the table. Nothing that an import does is raised or printed.
    """
    with _quiet():
        reports = _inspect(PARTS)
        for index, (part, report) in enumerate(zip(PARTS, reports)):
            if part.remark and report.status == OK:
                remark = part.remark(report.found)
                reports[index] = replace(report, remarks=report.remarks + ((remark,) if remark else ()))
    return reports


def describe(report: PartReport) -> str:
    """One line on the state of a part, as ``'torch is missing (not installed)'``."""
    state = {OK: 'is right', MISSING: 'is missing', WRONG: 'does not work'}[report.status]
    return f'{report.name} {state}' + (f' ({report.problem})' if report.problem else '')


def first_problem(reports: Iterable[PartReport]) -> PartReport | None:
    """The first required part that is not right, else the first optional one that is there but broken."""
    reports = list(reports)
    wrong = [report for report in reports if report.required and report.status != OK]
    wrong += [report for report in reports if report.status == WRONG]
    return wrong[0] if wrong else None


def _check_env() -> Path | None:
    """``tools/check_env.py`` of the checkout or of the installed package."""
    package = Path(__file__).parent
    places = (package.parent / 'tools', package / '.mim' / 'tools')
    return next((place / 'check_env.py' for place in places if (place / 'check_env.py').is_file()), None)


def _message_alone(hook: Callable) -> Callable:
    """Wrap ``sys.excepthook``: a program that an :class:`EnvironmentProblem` ends prints no traceback."""

    @functools.wraps(hook)
    def show(kind, error, traceback):
        if isinstance(error, EnvironmentProblem):
            print(f'\nError: {error}', file=sys.stderr)
        else:
            hook(kind, error, traceback)

    return show


BACKBONES = ('Python', 'torch', 'torchvision', 'mmengine', 'mmcv')
"""Parts that are enough for backbones alone. mmcv's Python part will do."""


def require(*, networks: bool = False) -> None:
    """Check the parts that backbones, or whole networks, cannot do without. Imports them.

    Args:
        networks: Check what detectors and segmentors need beside their backbone as well: mmcv's compiled operators, and
            mmdet or mmseg.

    Raises:
        EnvironmentProblem: A part is missing, broken or of a version that does not work. The message names
            the first such part and the command that mends it. Where nothing catches it, the message is all
            that the program prints.
    """
    needed = (part for part in PARTS if part.required or part.fatal or part.one_of)
    reports = _inspect(part for part in needed if networks or part.name in BACKBONES)
    for report in reports:
        for remark in report.remarks:
            warnings.warn(remark, stacklevel=3)
    wrong = next((report for report in reports if report.required and report.status != OK), None)
    if wrong is None:
        return
    check_env = _check_env()
    lines = [
        f'mmtrtvit cannot be used in this environment: {describe(wrong)}',
        f'Expected: {wrong.name} {wrong.wanted}',
        f'Fix: {wrong.fix}',
    ]
    if check_env:
        lines.append(f'Every part at a glance: {shlex.quote(sys.executable)} {shlex.quote(str(check_env))}')
    sys.excepthook = _message_alone(sys.excepthook)
    raise EnvironmentProblem('\n'.join(lines))


# --- showing them -------------------------------------------------------------------------------------------

COLUMNS = ('Part', 'Found', 'Wanted', 'Status', '', 'Needed for')
COLOURS = {OK: 'green', MISSING: 'yellow', WRONG: 'red'}


def _row(report: PartReport) -> tuple[str, ...]:
    need = 'required' if report.required else 'optional'
    return (report.name, report.found or '-', report.wanted, report.status, need, report.purpose)


def _plain_table(reports: list[PartReport]) -> str:
    rows = [COLUMNS, *map(_row, reports)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ['  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    lines.insert(1, '  '.join('-' * width for width in widths))
    return '\n'.join(lines)


def _print_table(reports: list[PartReport]) -> None:
    """Print the table, with colours where rich is installed."""
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print(_plain_table(reports))
        return
    console = Console()
    if not console.is_terminal:
        # Piped output has no width of its own, and rich would fold the rows at 80 columns.
        console = Console(width=160)
    table = Table(*COLUMNS)
    for report in reports:
        colour = 'red' if report.required and report.status != OK else COLOURS[report.status]
        cells = list(_row(report))
        cells[3] = f'[{colour}]{cells[3]}[/{colour}]'
        table.add_row(*cells)
    console.print(table)


def print_report(reports: list[PartReport]) -> None:
    """Print the table of parts, what is remarkable about them, and the command for the first thing wrong."""
    _print_table(reports)
    for report in reports:
        lines = [describe(report)] if report.status == WRONG else []
        lines += [f'{report.name}: {remark}' for remark in report.remarks]
        for line in lines:
            print(f'* {line}')
    wrong = first_problem(reports)
    if wrong is None:
        print('\nEverything that is required is here.')
        return
    kind = 'First thing wrong' if wrong.required else 'All that is required is here. Optional, but broken'
    print(f'\n{kind}: {describe(wrong)}')
    print(f'Fix: {wrong.fix}')
    if wrong.required:
        print('In a checkout, `make setup` makes an environment in which all of this is right.')
