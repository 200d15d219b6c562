"""Files and folders that appear whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary name beside ``path``; rename it to ``path`` when the block succeeds.

    The temporary name keeps the suffix of ``path`` (writers that choose a format by suffix work) and
    is removed when the block raises, so ``path`` is never half-written.

    Args:
        path: The file to write. Its folder is made when missing.

    Yields:
        The temporary path to write to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f'.{path.stem}.', suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; give this one the mode that a plain open() would have given.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_dir(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; it takes the place of ``path`` when the block succeeds.

    Args:
        path: The folder to write. An existing one is replaced as a whole, and only after the block is done.

    Yields:
        The temporary folder to fill.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f'.{path.name}.', dir=path.parent))
    try:
        temporary.chmod(0o755)
        yield temporary
        if path.exists():
            retired = Path(tempfile.mkdtemp(prefix=f'.{path.name}.old.', dir=path.parent))
            path.replace(retired / path.name)
            temporary.replace(path)
            shutil.rmtree(retired)
        else:
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def atomic_files(folder: str | os.PathLike, last: str, obsolete: Iterable[str] = ()) -> Iterator[Path]:
    """Yield a temporary folder; its files move into ``folder`` when the block succeeds.

    For a folder that may hold other things as well. Files of the same name are replaced.

    Args:
        folder: Destination of the files. It is made when missing.
        last: The file whose presence says that the others are complete: the old one is removed before any
            file moves, the new one moves after all others.
        obsolete: Names of files of earlier versions. Those without a successor are removed before any file moves.

    Yields:
        The temporary folder to fill.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix='.unfinished.', dir=folder))
    try:
        yield temporary
        (folder / last).unlink(missing_ok=True)
        for name in {*obsolete} - {path.name for path in temporary.iterdir()}:
            if not (folder / name).is_dir():
                (folder / name).unlink(missing_ok=True)
        for path in sorted(temporary.iterdir(), key=lambda path: path.name == last):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
