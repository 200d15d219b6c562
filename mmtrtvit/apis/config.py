"""Reading a config file the way a command line needs it."""

import difflib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config

from ..errors import ConfigError, UserError


def load_config(path: str | os.PathLike, cfg_options: Mapping | None = None) -> Config:
    """Read a config with its ``_base_`` files, and change it by ``--cfg-options``.

    Args:
        path: The config file.
        cfg_options: Dotted key to value, as mmengine's ``DictAction`` parses it.

    Returns:
        The config.

    Raises:
        ConfigError: If there is no such file, or it cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [file.name for file in path.parent.glob('*.py')], n=3)
        raise ConfigError(
            f'There is no config file {path}.',
            expected=f'perhaps {", ".join(str(path.parent / name) for name in near)}'
            if near
            else 'a file such as configs/maskrcnn_trtvit_b_coco.py',
            fix='correct the path; paths are relative to where the command runs',
        )
    try:
        config = Config.fromfile(path)
        if cfg_options:
            config.merge_from_dict(dict(cfg_options))
    except UserError:
        raise
    except Exception as error:  # a config is a program: anything may be raised in it
        raise ConfigError(
            f'The config {path} cannot be read: {type(error).__name__}: {error}',
            fix='correct the file, the file that it names in `_base_`, or the key given by --cfg-options',
        ) from error
    return config


def make_work_dir(folder: str | os.PathLike) -> Path:
    """Make a folder, unless it is there, and make sure that it can be written to.

    Raises:
        ConfigError: If it cannot.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f'The work dir {folder} cannot be written: {error.strerror}.',
            fix='choose another one with --work-dir, or make room or change its permissions',
        ) from error
    return folder


def set_work_dir(config: Config, path: str | os.PathLike, work_dir: str | None) -> Path:
    """Set ``config.work_dir`` (``work_dirs/<config name>`` by default), and make it.

    Raises:
        ConfigError: If the folder cannot be made or written to.
    """
    config.work_dir = str(work_dir or config.get('work_dir') or Path('work_dirs') / Path(path).stem)
    return make_work_dir(config.work_dir)
