"""The Python package of a backend, or one message."""

import importlib
from types import ModuleType

from ...environment import PARTS
from ...errors import DeployError


def import_backend(module: str) -> ModuleType:
    """Import the package of a backend.

    Args:
        module: Its import name, which :data:`mmtrtvit.environment.PARTS` knows.

    Raises:
        DeployError: If it is not installed, or broken.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:  # a broken native library raises what it likes
        part = next(part for part in PARTS if part.module == module)
        missing = isinstance(error, ModuleNotFoundError) and error.name == module
        state = 'is not installed' if missing else f'cannot be imported ({type(error).__name__}: {error})'
        raise DeployError(
            f'The package {module}, needed for {part.purpose}, {state}.', fix=f'pip install "{part.requirement}"'
        ) from error
