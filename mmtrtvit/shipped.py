"""The configs that come with the package: in a checkout beside it, in an installed wheel inside of it."""

import difflib
from pathlib import Path

from .errors import ConfigError

PACKAGE = Path(__file__).resolve().parent


def shipped_root() -> Path:
    """The folder that holds ``configs/``: that of the checkout, or ``.mim`` of the wheel."""
    wheel = PACKAGE / '.mim'
    return wheel if (wheel / 'configs').is_dir() else PACKAGE.parent


def base_config(name: str) -> str:
    """Path of a shipped config, to inherit from it in any folder and on any machine.

    mmengine's ``'package::config.py'`` knows the packages of OpenMMLab only. It evaluates ``_base_`` before the rest of
    a config and allows no import in it, so write::

        _base_ = __import__('mmtrtvit').base_config('retinanet_trtvit_a_coco.py')

    Args:
        name: Name of the file, or its path below ``configs/``.

    Raises:
        ConfigError: If there is none of that name.
    """
    folder = shipped_root() / 'configs'
    path = folder / name
    if not path.is_file():
        near = difflib.get_close_matches(Path(name).name, [file.name for file in folder.glob('*.py')], n=3)
        raise ConfigError(
            f'mmtrtvit has no config {name}.',
            expected=f'perhaps {", ".join(near)}' if near else 'a name such as retinanet_trtvit_a_coco.py',
            fix='correct the name',
        )
    return str(path)
