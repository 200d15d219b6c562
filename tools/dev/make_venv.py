"""Make an empty virtual environment, on a machine on which `make setup` can fill it.

``make_venv.py FOLDER CONTENTS``: CONTENTS names what it will hold (an OpenMMLab stack); the Makefile finds the file
``FOLDER/.setup/CONTENTS``. Only the standard library is used, by whatever Python ``PYTHON`` names.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import NoReturn

PYTHONS = ((3, 10), (3, 12))
# Free space (GiB): without the first nothing can work, below the second the CUDA build of torch does not fit.
DISK_NEEDED, DISK_FOR_CUDA = 5, 12
DEBIAN = f'python{sys.version_info[0]}.{sys.version_info[1]}'


def refuse(message: str, fix: str) -> NoReturn:
    """End with one message."""
    sys.exit(f'Error: {message}\nFix: {fix}')


def check_python() -> None:
    """Refuse a Python that the packages do not run on or that cannot make an environment."""
    first, last = PYTHONS
    if not first <= sys.version_info[:2] <= last:
        refuse(
            f'{sys.executable} is Python {sys.version.split()[0]}; mmtrtvit needs 3.10, 3.11 or 3.12.',
            'install one of them and name it: make setup PYTHON=python3.11',
        )
    if not (importlib.util.find_spec('venv') and importlib.util.find_spec('ensurepip')):
        refuse(
            f'{sys.executable} cannot make virtual environments: it lacks its modules venv and ensurepip.',
            f'Debian, Ubuntu: apt-get install {DEBIAN}-venv',
        )


def check_folder(folder: Path, contents: str) -> None:
    """Refuse a folder that holds something else."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / 'pyvenv.cfg').is_file():
        refuse(f'{folder} is not a virtual environment.', 'name another folder: make setup VENV=...')
    for other in {'onedl', 'upstream'} - {contents}:
        if (folder / '.setup' / other).is_file():
            refuse(
                f'{folder} holds the OpenMMLab stack {other}, which excludes {contents}.',
                f'name another folder (make setup STACK={contents} VENV=.venv-{contents}), or remove this one',
            )


def check_compiler() -> None:
    """Refuse a machine that cannot compile mmcv."""
    compiler = os.environ.get('CXX') or 'c++'
    if shutil.which(compiler) is None:
        refuse(
            f'There is no C++ compiler ({compiler}), which mmcv needs.',
            'Debian, Ubuntu: apt-get install g++    Fedora: dnf install gcc-c++    elsewhere: set CXX',
        )
    header = Path(sysconfig.get_path('include')) / 'Python.h'
    if not header.is_file():
        refuse(
            f'The headers of {sys.executable} are not installed ({header} is missing), which mmcv needs.',
            f'Debian, Ubuntu: apt-get install {DEBIAN}-dev    Fedora: dnf install python3-devel',
        )


def check_disk(folder: Path) -> None:
    """Refuse a disk on which the environment does not fit; say so when a CUDA build of torch would not."""
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(existing).free / 2**30
    if free < DISK_NEEDED:
        refuse(
            f'{free:.1f} GiB are free on the disk of {existing}; the environment needs {DISK_NEEDED} GiB '
            f'({DISK_FOR_CUDA} GiB with a CUDA build of torch).',
            'free some, or name a folder on another disk: make setup VENV=...',
        )
    if free < DISK_FOR_CUDA:
        print(f'Note: {free:.1f} GiB are free: enough for a CPU build of torch, not for a CUDA build.')
    temporary = shutil.disk_usage(tempfile.gettempdir()).free / 2**30
    if temporary < 1:
        refuse(
            f'{temporary:.1f} GiB are free in {tempfile.gettempdir()}; compiling mmcv there needs 1 GiB.',
            'set TMPDIR to a folder on a larger disk',
        )


def main() -> None:
    """Check the machine and make the environment."""
    folder, contents = Path(sys.argv[1]).absolute(), sys.argv[2]
    check_python()
    check_folder(folder, contents)
    check_compiler()
    check_disk(folder)
    subprocess.run((sys.executable, '-m', 'venv', '--clear', str(folder)), check=True)
    (folder / '.setup').mkdir()
    (folder / '.setup' / contents).touch()


if __name__ == '__main__':
    main()
