"""Compile and install mmcv with its operators: minutes, where its own build takes half an hour.

Nearly all of the time of its own build goes into reading the headers of torch, once for each of 57 dispatch files.
They are joined into one file here; the build itself is that of pip and mmcv. Should that fail, mmcv is built as it is.

Run it with the Python of the environment that gets mmcv, after torch and the build tools are installed:
``python tools/dev/build_mmcv.py onedl-mmcv==2.3.6``. ``MAX_JOBS`` sets the number of compilers at once.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PIP = (sys.executable, '-m', 'pip', '--disable-pip-version-check', '--no-input')
INSTALL = (*PIP, 'install', '--verbose', '--progress-bar=off', '--no-build-isolation', '--no-cache-dir')
# pybind.cpp declares functions again that the dispatch files define.
APART = 'pybind.cpp'
MEMORY_PER_COMPILER = 2  # GiB

# Operators that load may still not work: run two.
TRY_OPERATORS = """
import torch
from mmcv.ops import nms, roi_align
boxes = torch.tensor([[0., 0., 9., 9.], [1., 1., 9., 9.]])
assert len(nms(boxes, torch.tensor([.9, .8]), .5)[1]) == 1
regions = torch.tensor([[0., 0., 0., 4., 4.]])
assert torch.allclose(roi_align(torch.full((1, 1, 8, 8), 3.), regions, (2, 2)), torch.tensor(3.))
"""

# Known messages of a failed build, and how to fix each.
ADVICE = (
    (r'No space left on device', 'free some disk space, or point TMPDIR at a larger disk'),
    (r'Killed signal|\bKilled\b|\bMemoryError\b', 'the memory ran out: use fewer compilers at once, MAX_JOBS=1'),
    (
        r'CUDA_HOME environment variable is not set|detected CUDA version|unsupported GNU version',
        'install the CUDA toolkit of torch.version.cuda, or compile for the CPU only: CUDA_VISIBLE_DEVICES=',
    ),
)


class BuildError(Exception):
    """A build failed; the message has the end of its output, and advice."""


def run(command: tuple[str, ...], **environment: str) -> None:
    """Run a command and print the counter of its compilers. Whatever interrupts it ends them too.

    Raises:
        BuildError: If it failed.
    """
    lines = []
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
        start_new_session=True,
    )
    try:
        for line in process.stdout:
            lines.append(line.rstrip()[:300])
            if counter := re.match(r'\s*\[\d+/\d+\]', line):
                print(counter.group(), end='', flush=True)
        print(flush=True)
        process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
    if process.returncode:
        text = '\n'.join(lines[-40:])
        fixes = [f'Fix: {fix}' for pattern, fix in ADVICE if re.search(pattern, '\n'.join(lines))]
        raise BuildError('\n'.join([text, f'{" ".join(command[1:4])} ... ended with {process.returncode}', *fixes]))


def fetch(requirement: str, folder: Path) -> Path:
    """Download and unpack a source distribution.

    Args:
        requirement: A pinned release, as ``onedl-mmcv==2.3.6``.
        folder: Folder to work in.

    Returns:
        The folder that holds its ``setup.py``.
    """
    options = ('--no-deps', '--no-binary=:all:', '--no-build-isolation', '--progress-bar=off')
    run((*PIP, 'download', *options, '--dest', str(folder), requirement))
    (archive,) = folder.glob('*.tar.gz')
    with tarfile.open(archive) as file:
        # Python before 3.10.12 has no filters.
        file.extraction_filter = getattr(tarfile, 'data_filter', lambda member, path: member)
        file.extractall(folder)
    (setup,) = folder.glob('*/setup.py')
    return setup.parent


def join_dispatch_files(source: Path) -> int:
    """Let one generated file include the dispatch files of mmcv's operators.

    Args:
        source: Unpacked source distribution of mmcv; changed in place.

    Returns:
        How many files were joined.

    Raises:
        BuildError: The sources are not laid out as in mmcv 2.1 to 2.3.
    """
    folder = source / 'mmcv' / 'ops' / 'csrc' / 'pytorch'
    files = sorted(path for path in folder.glob('*.cpp') if path.name != APART)
    if len(files) < 2 or not (folder / APART).is_file():
        raise BuildError(f'{folder} has {len(files)} dispatch files beside {APART}: not the layout of mmcv 2.')
    for path in files:
        # Another suffix keeps them away from the pattern *.cpp by which setup.py collects its sources.
        path.rename(path.with_suffix('.inc'))
    joined = ''.join(f'#include "{path.stem}.inc"\n' for path in files)
    (folder / 'all_dispatch.cpp').write_text(joined)
    return len(files)


def settings() -> dict[str, str]:
    """Environment variables of the build."""
    import torch
    from torch.utils.cpp_extension import CUDA_HOME

    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    jobs = max(1, min(len(os.sched_getaffinity(0)), int(memory // MEMORY_PER_COMPILER)))
    # Debugging symbols double the compiler's work. Python's own flags come first, so these win.
    flags = f'{os.environ.get("CXXFLAGS", "")} -g0'.strip()
    found = {'MMCV_WITH_OPS': '1', 'MAX_JOBS': os.environ.get('MAX_JOBS') or str(jobs)}
    found |= {'CFLAGS': flags, 'CXXFLAGS': flags}
    if torch.cuda.is_available() and CUDA_HOME is None:
        print('Note: torch sees a GPU, but there is no nvcc: mmcv is compiled for the CPU only.', flush=True)
        found['CUDA_VISIBLE_DEVICES'] = ''
    return found


def build_joined(requirement: str) -> None:
    """Build from sources whose dispatch files are joined."""
    with tempfile.TemporaryDirectory(prefix='mmcv-') as folder:
        source = fetch(requirement, Path(folder))
        print(f'{requirement}: {join_dispatch_files(source)} dispatch files joined into one', flush=True)
        run((*INSTALL, str(source)), **settings())


def build_plain(requirement: str) -> None:
    """Build as mmcv does by itself. What a failed build left behind is removed first."""
    print(f'{requirement}: built as it is, which takes up to half an hour on 2 cores', flush=True)
    run((*PIP, 'uninstall', '--yes', requirement.partition('==')[0]))
    run((*INSTALL, requirement), **settings())


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('requirement', help='the release of mmcv, as onedl-mmcv==2.3.6')
    return parser.parse_args()


def main() -> int:
    """Build and install the release that the command line names, and run its operators."""
    requirement = parse_args().requirement
    # Being ended by make has to end the compilers too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for build in (build_joined, build_plain):
        try:
            build(requirement)
            run((sys.executable, '-c', TRY_OPERATORS))
            return 0
        except (BuildError, OSError, ValueError, tarfile.TarError) as error:
            print(f'{error}\n{requirement}: {build.__name__} failed', file=sys.stderr, flush=True)
    return 1


if __name__ == '__main__':
    sys.exit(main())
