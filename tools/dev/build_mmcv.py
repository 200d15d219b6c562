"""Compile mmcv from its source distribution in a few minutes, where its own build takes half an hour.

Nearly all of the time of its own build goes into reading the headers of torch, once for each of 57 dispatch files.
They are joined into one file here; the build itself is that of pip and mmcv. Run it by the Python of the environment
that gets mmcv, after torch and the build tools: ``python tools/dev/build_mmcv.py onedl-mmcv==2.3.6``.

Only the standard library is used: this runs before anything else is installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PIP = (sys.executable, '-m', 'pip', '--disable-pip-version-check', '--no-input')
# pybind.cpp declares functions again that the dispatch files define.
APART = 'pybind.cpp'


def fetch(requirement: str, folder: Path) -> Path:
    """Download and unpack a source distribution.

    Args:
        requirement: A pinned release, as ``onedl-mmcv==2.3.6``.
        folder: Folder to work in.

    Returns:
        The folder that holds its ``setup.py``.
    """
    options = ('--no-deps', '--no-binary=:all:', '--no-build-isolation', '--progress-bar=off')
    subprocess.run((*PIP, 'download', *options, '--dest', str(folder), requirement), check=True)
    (archive,) = folder.glob('*.tar.gz')
    with tarfile.open(archive) as file:
        file.extractall(folder, filter='data')
    (setup,) = folder.glob('*/setup.py')
    return setup.parent


def join_dispatch_files(source: Path) -> int:
    """Let one generated file include the dispatch files of mmcv's operators.

    Args:
        source: Unpacked source distribution of mmcv; changed in place.

    Returns:
        How many files were joined.

    Raises:
        FileNotFoundError: The sources are not laid out as they are known to be.
    """
    folder = source / 'mmcv' / 'ops' / 'csrc' / 'pytorch'
    files = sorted(path for path in folder.glob('*.cpp') if path.name != APART)
    if len(files) < 2 or not (folder / APART).is_file():
        raise FileNotFoundError(f'{folder} has {len(files)} dispatch files and no {APART}: not the layout of mmcv 2.')
    for path in files:
        # Another suffix keeps them away from the pattern *.cpp by which setup.py collects its sources.
        path.rename(path.with_suffix('.inc'))
    joined = ''.join(f'#include "{path.stem}.inc"\n' for path in files)
    (folder / 'all_dispatch.cpp').write_text(joined)
    return len(files)


def main() -> int:
    """Build and install the release that the command line names."""
    (requirement,) = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix='mmcv-') as folder:
        source = fetch(requirement, Path(folder))
        print(f'{join_dispatch_files(source)} dispatch files joined into one', flush=True)
        # Debugging symbols double the compiler's work; torch's own flags come first, so these win.
        flags = f'{os.environ.get("CXXFLAGS", "")} -g0'.strip()
        environment = {**os.environ, 'MMCV_WITH_OPS': '1', 'CFLAGS': flags, 'CXXFLAGS': flags}
        command = (*PIP, 'install', '--verbose', '--progress-bar=off', '--no-build-isolation', str(source))
        return subprocess.run(command, env=environment).returncode


if __name__ == '__main__':
    sys.exit(main())
