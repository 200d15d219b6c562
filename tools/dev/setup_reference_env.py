"""Make the environment with the independent implementations that tests compare with (`make reference` calls this).

It is run by the Python of the environment that `make setup` makes. The new one sees all packages of that one and has
timm and torchvision beside them, which therefore can neither help nor break anything outside the tests marked
`reference`.
"""

from __future__ import annotations

import argparse
import signal
import sys
import sysconfig
from pathlib import Path

from setup_env import REQUIREMENTS, ROOT, SetupError, Step, pending, perform, prepare_folder

HOOK = Path(__file__).with_name('torchvision_schemas.py')

# Run by the new environment's Python: what it sees (first argument), what it imports at start (second argument).
LINK = """
import shutil, sys, sysconfig
from pathlib import Path
here, hook = Path(sysconfig.get_path('purelib')), Path(sys.argv[2])
shutil.copy(hook, here)
(here / 'reference.pth').write_text(f'import site, {hook.stem}; site.addsitedir({sys.argv[1]!r})\\n')
"""

# The references are there, and torch is the one of the other environment.
CHECK = (
    'import sys, timm, torch, torchvision; '
    'print("timm", timm.__version__, "torchvision", torchvision.__version__, "torch", torch.__version__); '
    'sys.exit(not torch.__file__.startswith(sys.argv[1]))'
)


def steps(venv: Path, packages: Path) -> list[Step]:
    """The set-up as a table.

    Args:
        venv: Folder of the environment to make.
        packages: The site-packages that it sees beside its own.
    """
    python = str(venv / 'bin' / 'python')
    # The other environment's pip works on the new one, which gets neither a pip nor setuptools of its own: an older or
    # newer setuptools there would hide the one that OpenMMLab needs.
    pip = (sys.executable, '-m', 'pip', '--python', python, '--disable-pip-version-check', '--no-input')
    install = (*pip, 'install', '--progress-bar', 'off')
    # pip sees the other environment's torch and leaves it: its requirement is among these.
    files = (REQUIREMENTS / 'torch.txt', REQUIREMENTS / 'reference.txt')
    return [
        Step(
            name='venv',
            what=f'making {venv.name}, which sees the packages of {packages} (seconds)',
            commands=(
                (sys.executable, '-m', 'venv', '--without-pip', str(venv)),
                (python, '-c', LINK, str(packages), str(HOOK)),
            ),
            inputs=(HOOK,),
        ),
        Step(
            name='packages',
            what='installing the reference implementations (seconds)',
            commands=((*install, *(argument for file in files for argument in ('-r', str(file)))),),
            inputs=files,
        ),
        Step(
            name='check',
            what='importing them (seconds)',
            commands=((python, '-c', CHECK, str(packages)),),
        ),
    ]


def set_up(venv: Path, packages: Path) -> None:
    """Do every step that has not been done, or whose inputs have changed since.

    Raises:
        SetupError: A step failed, or the machine lacks something.
    """
    prepare_folder(venv, 'reference')
    state = venv / '.setup'
    table = steps(venv, packages)
    todo = pending(table, 'reference', state)
    state.mkdir(parents=True, exist_ok=True)
    (state / 'complete').unlink(missing_ok=True)
    (state / 'stack').write_text('reference')
    for step, log, stamp, text in todo:
        stamp.unlink(missing_ok=True)
        perform(step, f'[{table.index(step) + 1}/{len(table)}] {step.name}: {step.what}', log)
        stamp.write_text(text)
    # What make compares with the requirements' dates.
    (state / 'complete').touch()


def main() -> int:
    """Set up; exit status 1 with one message when it cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = ROOT / '.venv-reference'
    parser.add_argument('--venv', type=Path, default=default, help=f'folder to make (default: {default.name})')
    options = parser.parse_args()
    # Being ended from outside has to end pip as well, as Ctrl-C does.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    try:
        if sys.prefix == sys.base_prefix:
            raise SetupError(f'{sys.executable} is of no virtual environment. Run: make reference')
        set_up(options.venv.absolute(), Path(sysconfig.get_path('purelib')))
    except SetupError as error:
        print(f'\nError: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\nStopped. The same command continues with the step that was under way.', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
