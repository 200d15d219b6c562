"""Make the virtual environment that the Makefile's targets run in (`make setup` calls this).

The order matters: mmcv's operators are compiled against the torch that is installed, and mmdeploy has to be
installed without its dependencies. Every step that has succeeded is remembered with a digest of what it
depends on: a second run continues where the first stopped, and repeats only what the requirements changed.

Only the standard library is used: this runs before anything is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / 'requirements'
PYTHONS = ((3, 10), (3, 12))

# Requirement file of each OpenMMLab stack, and how many core-minutes its mmcv takes to compile.
STACKS = {'onedl': ('openmmlab.txt', 18), 'upstream': ('openmmlab-upstream.txt', 26)}

# Free space (GiB): without the first nothing can work, below the second the CUDA build of torch does not fit.
DISK_NEEDED, DISK_FOR_CUDA = 5, 12
MEMORY_PER_COMPILER = 2  # GiB
HEARTBEAT = 15  # seconds between two signs of life where the output is not a terminal

# Compiled operators that load are not yet operators that work: run one.
TRY_MMCV_OPS = (
    'import torch; from mmcv.ops import nms; '
    'boxes = torch.tensor([[0., 0., 9., 9.], [1., 1., 9., 9.]]); '
    'assert len(nms(boxes, torch.tensor([.9, .8]), .5)[1]) == 1'
)

# What a log says when something well known went wrong, and what to do about it.
ADVICE = (
    (r'No space left on device', 'Free some disk space, or point TMPDIR at a larger disk.'),
    (r'Python\.h: No such file', 'Install the headers of this Python (Debian, Ubuntu: python3-dev).'),
    (
        r'Killed signal|internal compiler error: Killed|\bMemoryError\b',
        'The machine ran out of memory: run it again with fewer compilers at once, as MAX_JOBS=1 make setup.',
    ),
    (
        r'CUDA_HOME environment variable is not set|detected CUDA version|unsupported GNU version',
        'The CUDA toolkit does not fit this torch. Install the one of torch.version.cuda, or compile for the '
        'CPU only: CUDA_VISIBLE_DEVICES= make setup.',
    ),
    (
        r'Temporary failure in name resolution|Connection (refused|timed out)|ReadTimeout|ProxyError',
        'The package index could not be reached: check the network and the settings `pip config list` shows.',
    ),
    (
        r'No matching distribution found|Could not find a version',
        'The package index has no such release for this Python: try another (make setup PYTHON=python3.11).',
    ),
)


class SetupError(Exception):
    """The environment cannot be made; the message says why and what to do."""


@dataclass(frozen=True)
class Step:
    """One step of the set-up.

    Attributes:
        name: Also the name of its log.
        what: What it does and how long that takes.
        commands: Commands to run, one after the other.
        inputs: Files whose contents decide whether it has to be done again.
        environment: Variables added for the commands.
        check: Command that succeeds when the step's result works, or ``None``.
        remedy: Command that is run once when ``check`` fails, before it is tried again.
    """

    name: str
    what: str
    commands: tuple[tuple[str, ...], ...]
    inputs: tuple[Path, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    check: tuple[str, ...] | None = None
    remedy: tuple[str, ...] | None = None


# --- the machine --------------------------------------------------------------------------------------------


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def compilers() -> int:
    """Compilers to run at once: one a core, as far as the memory goes, unless MAX_JOBS says otherwise."""
    if os.environ.get('MAX_JOBS', '').isdigit():
        return max(1, int(os.environ['MAX_JOBS']))
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    return max(1, min(cores(), int(memory // MEMORY_PER_COMPILER)))


def compiler() -> str | None:
    """The C++ compiler that torch's build tools will call."""
    return next(filter(shutil.which, [os.environ.get('CXX') or 'c++', 'g++', 'clang++']), None)


def check_python() -> None:
    """Refuse a Python that the packages do not run on or that cannot make an environment."""
    first, last = PYTHONS
    version = '.'.join(map(str, sys.version_info[:3]))
    if not first <= sys.version_info[:2] <= last:
        raise SetupError(
            f'{sys.executable} is Python {version}; mmtrtvit needs 3.10, 3.11 or 3.12.\n'
            'Install one of them and name it: make setup PYTHON=python3.11'
        )
    if not (importlib.util.find_spec('venv') and importlib.util.find_spec('ensurepip')):
        raise SetupError(
            f'{sys.executable} cannot make virtual environments: it lacks its modules venv and ensurepip.\n'
            f'Debian, Ubuntu: apt-get install python{sys.version_info[0]}.{sys.version_info[1]}-venv'
        )


def check_compiler() -> None:
    """Refuse a machine that cannot compile mmcv."""
    if compiler() is None:
        raise SetupError(
            'There is no C++ compiler (c++, g++ or clang++), which mmcv needs.\n'
            'Debian, Ubuntu: apt-get install g++    Fedora: dnf install gcc-c++'
        )
    header = Path(sysconfig.get_path('include')) / 'Python.h'
    if not header.is_file():
        raise SetupError(
            f'The headers of {sys.executable} are not installed ({header} is missing), which mmcv needs.\n'
            f'Debian, Ubuntu: apt-get install python{sys.version_info[0]}.{sys.version_info[1]}-dev    '
            'Fedora: dnf install python3-devel'
        )


def check_disk(venv: Path) -> None:
    """Refuse a disk on which the environment does not fit; say so when a CUDA build of torch would not."""
    free = shutil.disk_usage(venv.parent).free / 2**30
    if free < DISK_NEEDED:
        raise SetupError(
            f'{free:.1f} GiB are free on the disk of {venv.parent}; the environment needs {DISK_NEEDED} GiB '
            f'({DISK_FOR_CUDA} GiB with a CUDA build of torch).'
        )
    if free < DISK_FOR_CUDA:
        print(f'Note: {free:.1f} GiB are free: enough for a CPU build of torch, not for a CUDA build.')
    temporary = shutil.disk_usage(tempfile.gettempdir()).free / 2**30
    if temporary < 1:
        raise SetupError(
            f'{temporary:.1f} GiB are free in {tempfile.gettempdir()}; compiling mmcv there needs 1 GiB.\n'
            'Set TMPDIR to a folder on a larger disk.'
        )


def works(command: tuple[str, ...]) -> bool:
    """Whether a command is there and ends with status 0; what it prints is thrown away."""
    try:
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def cpu_only(python: str) -> bool:
    """Whether mmcv has to be compiled for the CPU although torch sees a GPU, as there is no CUDA compiler."""
    nvcc = shutil.which('nvcc') or os.environ.get('CUDA_HOME') or os.path.exists('/usr/local/cuda/bin/nvcc')
    return not nvcc and works((python, '-c', 'import sys, torch; sys.exit(not torch.cuda.is_available())'))


# --- the steps ----------------------------------------------------------------------------------------------


def steps(venv: Path, stack: str) -> list[Step]:
    """The set-up as a table."""
    python = str(venv / 'bin' / 'python')
    pip = (python, '-m', 'pip', '--disable-pip-version-check', '--no-input')
    install = (*pip, 'install', '--progress-bar', 'off')
    stack_file, core_minutes = STACKS[stack]

    def from_files(*names: str) -> tuple[str, ...]:
        return tuple(argument for name in names for argument in ('-r', str(REQUIREMENTS / name)))

    def files(*names: str) -> tuple[Path, ...]:
        return tuple(REQUIREMENTS / name for name in names)

    mmcv = re.search(r'^\S*mmcv==\S+', (REQUIREMENTS / stack_file).read_text(), re.MULTILINE).group()
    build_mmcv = (*install, '-v', '--no-build-isolation', mmcv)
    jobs = compilers()
    build = [('MMCV_WITH_OPS', '1'), ('MAX_JOBS', str(jobs)), ('CXX', compiler() or 'c++')]
    # torch stays as it is in every later step: its requirement is among theirs.
    rest = ('torch.txt', 'build.txt', stack_file, 'runtime.txt', 'deploy.txt', 'test.txt')
    minutes = max(1, math.ceil(core_minutes / jobs))
    return [
        Step(
            name='venv',
            what=f'making {venv.name} with Python {sys.version_info[0]}.{sys.version_info[1]} (seconds)',
            commands=((sys.executable, '-m', 'venv', str(venv)),),
        ),
        Step(
            name='torch',
            what='installing torch (about 1 minute; several for the CUDA build, which is large)',
            commands=((*install, *from_files('torch.txt')),),
            inputs=files('torch.txt'),
        ),
        Step(
            name='build-tools',
            what='installing setuptools and ninja (seconds)',
            commands=((*install, *from_files('build.txt')),),
            inputs=files('build.txt'),
        ),
        Step(
            name='mmcv',
            what=f'compiling {mmcv} and its operators for torch (about {minutes} min, {jobs} files at once; '
            '1 min when pip has kept the result of an earlier time)',
            commands=(build_mmcv,),
            environment=tuple(build),
            check=(python, '-c', TRY_MMCV_OPS),
            # pip keeps compiled wheels by version: it may bring one that was compiled against another torch.
            remedy=(*build_mmcv, '--no-deps', '--no-cache-dir', '--force-reinstall'),
        ),
        Step(
            name='openmmlab',
            what='installing the rest of OpenMMLab, ONNX Runtime and the test tools (about 2 minutes)',
            commands=((*install, *from_files(*rest)),),
            inputs=files(*rest),
        ),
        Step(
            name='mmdeploy',
            what='installing mmdeploy without its outdated dependencies (seconds)',
            commands=((*install, '--no-deps', *from_files('mmdeploy.txt')),),
            inputs=files('mmdeploy.txt'),
        ),
        Step(
            name='mmtrtvit',
            what='installing this checkout, editable (seconds)',
            commands=((*install, '--no-deps', '--no-build-isolation', '-e', str(ROOT)),),
            inputs=(ROOT / 'setup.py', ROOT / 'pyproject.toml'),
        ),
        Step(
            name='check',
            what='checking every part (seconds)',
            commands=((python, str(ROOT / 'tools' / 'check_env.py')),),
        ),
    ]


def digest(step: Step, before: str) -> str:
    """Changes when the step, what it reads, or any step before it changes."""
    facts = [before, step.name, sys.version, [file.read_text() for file in step.inputs]]
    # Not `what` and `environment`: the number of compilers at once changes nothing in the result.
    facts += [step.commands, step.check]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


# --- running them -------------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """``75`` as ``'1 min 15 s'``."""
    minutes, rest = divmod(int(seconds), 60)
    return f'{minutes} min {rest:02d} s' if minutes else f'{rest} s'


def tail(log: Path, size: int = 65536) -> str:
    """The end of a log."""
    with open(log, 'rb') as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - size))
        return file.read().decode(errors='replace')


def progress(log: Path) -> str:
    """How far the log says the work is: ninja's counter, else the last thing that pip said it was doing."""
    text = tail(log)
    counters = re.findall(r'^\s*\[(\d+)/(\d+)\] ', text, re.MULTILINE)
    if counters:
        return f'file {counters[-1][0]} of {counters[-1][1]}'
    doing = re.findall(r'^(?:Collecting|Processing) [^\s(,]+|^Installing collected packages', text, re.MULTILINE)
    # A local file is enough by its name.
    return re.sub(r'\S*/', '', doing[-1]) if doing else ''


class Ticker:
    """Signs of life: one line that is rewritten on a terminal, a new line now and then elsewhere."""

    def __init__(self, log: Path) -> None:
        self.log, self.start, self.shown = log, time.monotonic(), 0.0

    def tick(self) -> None:
        elapsed = time.monotonic() - self.start
        if sys.stdout.isatty():
            print(f'\r\033[K      {duration(elapsed)}  {progress(self.log)[:80]}', end='', flush=True)
        elif elapsed - self.shown >= HEARTBEAT:
            self.shown = elapsed
            print(f'      {duration(elapsed)}  {progress(self.log)}', flush=True)

    def end(self) -> str:
        if sys.stdout.isatty():
            print('\r\033[K', end='')
        return duration(time.monotonic() - self.start)


def run(command: tuple[str, ...], environment: dict[str, str], log: Path, ticker: Ticker) -> int:
    """Run a command with its output in the log; returns its exit status. Ctrl-C ends it and its children."""
    with open(log, 'a') as output:
        print(f'$ {shlex.join(command)}', file=output, flush=True)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            cwd=ROOT,
            start_new_session=True,
        )
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(timeout=1)
                ticker.tick()
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                process.wait()


def failure(step: Step, log: Path, status: int) -> SetupError:
    """The end of the log and what to do about it."""
    text = tail(log)
    advice = [words for pattern, words in ADVICE if re.search(pattern, text)]
    advice = advice or [f'Read the whole log: {log}']
    lines = [f'    {line[:200]}' for line in text.splitlines() if line.strip()][-25:]
    return SetupError(
        '\n'.join(
            [
                f'Step {step.name} failed (exit status {status}). The end of {log}:',
                *lines,
                *(f'What to do: {words}' for words in advice),
                'Then run the same command again: it continues with this step.',
            ]
        )
    )


def perform(step: Step, title: str, log: Path) -> None:
    """Do one step, with its check, and with the remedy where the check fails."""
    print(title, flush=True)
    log.unlink(missing_ok=True)
    environment = dict(step.environment)
    ticker = Ticker(log)
    for command in step.commands:
        status = run(command, environment, log, ticker)
        if status:
            ticker.end()
            raise failure(step, log, status)
    if step.check and not works(step.check):
        print('      What pip had kept does not work with this torch: compiling it again.', flush=True)
        for command in (step.remedy, step.check):
            status = run(command, environment, log, ticker)
            if status:
                ticker.end()
                raise failure(step, log, status)
    print(f'      done in {ticker.end()}', flush=True)


def prepare_folder(venv: Path, stack: str) -> None:
    """Make the environment's folder fit for its first step: nothing in it, or an environment that works.

    Raises:
        SetupError: It holds something else, or an environment with the other stack.
    """
    if not venv.is_dir() or not any(venv.iterdir()):
        return
    if not (venv / 'pyvenv.cfg').is_file() and not (venv / '.setup').is_dir():
        raise SetupError(f'{venv} is no virtual environment. Name another folder: make setup VENV=...')
    holds = venv / '.setup' / 'stack'
    if holds.is_file() and holds.read_text() != stack:
        raise SetupError(
            f'{venv} holds the OpenMMLab stack {holds.read_text()}, which excludes {stack}.\n'
            f'Name another folder (make setup STACK={stack} VENV=.venv-{stack}), or remove this one.'
        )
    same_python = f'import sys; sys.exit(sys.version_info[:3] != {sys.version_info[:3]})'
    if not works((str(venv / 'bin' / 'python'), '-c', same_python)):
        # An environment of another Python, or one whose Python is gone, is of no use to this one.
        shutil.rmtree(venv)


def pending(table: list[Step], stack: str, state: Path) -> list[tuple[Step, Path, Path, str]]:
    """The steps to do, in order: the first that is not done as the table says it should be, and all after it.

    Returns:
        Each with its log, stamp and the text that the stamp gets when the step is done.
    """
    found = []
    before = stack
    for index, step in enumerate(table, start=1):
        before = digest(step, before)
        stamp = state / f'{step.name}.done'
        if found or not stamp.is_file() or stamp.read_text() != before:
            found.append((step, state / f'{index}-{step.name}.log', stamp, before))
    return found


def set_up(venv: Path, stack: str) -> None:
    """Do every step that has not been done, or whose inputs have changed since.

    Raises:
        SetupError: A step failed, or the machine lacks something.
    """
    check_python()
    venv.parent.mkdir(parents=True, exist_ok=True)
    prepare_folder(venv, stack)
    state = venv / '.setup'
    table = steps(venv, stack)
    todo = pending(table, stack, state)
    names = [step.name for step, *_ in todo]
    if 'torch' in names:
        check_disk(venv)
    if 'mmcv' in names:
        check_compiler()
    state.mkdir(parents=True, exist_ok=True)
    (state / 'complete').unlink(missing_ok=True)
    (state / 'stack').write_text(stack)
    if todo:
        print(f'Setting up {venv} ({stack} OpenMMLab stack). Logs: {state}', flush=True)
    for step, log, stamp, text in todo:
        title = f'[{table.index(step) + 1}/{len(table)}] {step.name}: {step.what}'
        if step.name == 'mmcv' and cpu_only(str(venv / 'bin' / 'python')):
            print('Note: torch sees a GPU, but there is no nvcc: mmcv is compiled for the CPU only.')
            step = replace(step, environment=(*step.environment, ('CUDA_VISIBLE_DEVICES', '')))
        stamp.unlink(missing_ok=True)
        perform(step, title, log)
        stamp.write_text(text)
    if todo:
        # The table of the last step, without the command that printed it.
        print(tail(todo[-1][1]).partition('\n')[2])
    # What make compares with the requirements' dates.
    (state / 'complete').touch()


def main() -> int:
    """Set up; exit status 1 with one message when it cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--venv', type=Path, default=ROOT / '.venv', help='folder to make (default: .venv)')
    parser.add_argument('--stack', choices=STACKS, default='onedl', help='which OpenMMLab (default: onedl)')
    options = parser.parse_args()
    # Being ended from outside has to end pip and the compilers as well, as Ctrl-C does.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    try:
        set_up(options.venv.absolute(), options.stack)
    except SetupError as error:
        print(f'\nError: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nStopped. The same command continues with the step that was under way.', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
