"""Calling a function once another package has been imported, without importing that package."""

import importlib.abc
import sys
import warnings
from collections.abc import Callable


class _AfterImport(importlib.abc.MetaPathFinder):
    """Leaves finding a package to the finders behind it, and calls a function when the package has been executed."""

    def __init__(self, package: str, function: Callable[[], None]) -> None:
        self.package, self.function = package, function

    def find_spec(self, name, path=None, target=None):
        if name != self.package:
            return None
        others = sys.meta_path[sys.meta_path.index(self) + 1 :]
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((found for found in specs if found is not None), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                sys.meta_path.remove(self)
                try:
                    self.function()
                except ImportError as error:  # the package itself is there, perhaps for another program
                    warnings.warn(str(error), stacklevel=2)

            spec.loader.exec_module = exec_module
        return spec


def when_imported(package: str, function: Callable[[], None]) -> None:
    """Call a function now if a package has been imported, and otherwise as soon as it is.

    Args:
        package: Its import name, or that of a module.
        function: Called once. An ImportError that it raises is a warning where the package is imported later, so that
            this import does not fail.
    """
    if sys.modules.get(package) is not None:
        function()
    else:
        sys.meta_path.insert(0, _AfterImport(package, function))
