"""Errors that are the caller's to mend, and how a command line reports them.

A :class:`UserError` says three things: what was given, what was expected, and what to do. The
commands under ``tools/`` are wrapped in :func:`command_line`, which prints such an error as one
message on standard error and ends with exit status 2, unless the environment variable MMTRTVIT_DEBUG asks
for the traceback. Any other exception is a defect and keeps its traceback.
"""

import functools
import os
import sys
from collections.abc import Callable


class UserError(Exception):
    """Input that cannot be used, with the way to mend it.

    Registries re-raise what a constructor raises as ``type(error)(text)``, so one string must be
    enough to build it.

    Args:
        message: What was given and what is wrong with it, or the whole text.
        expected: What would have been right.
        fix: What to do about it, as an instruction or a command.
    """

    def __init__(self, message: str, *, expected: str = '', fix: str = '') -> None:
        lines = [message]
        if expected:
            lines.append(f'Expected: {expected}')
        if fix:
            lines.append(f'To mend it: {fix}')
        super().__init__('\n'.join(lines))


class ConfigError(UserError, ValueError):
    """A setting (``arch``, ``out_indices``, a config file) that has no meaning."""


class DataError(UserError, ValueError):
    """A data set, annotation file or image that is missing or cannot be read."""


class CheckpointError(UserError, RuntimeError):
    """A checkpoint that cannot be read or belongs to another network."""


class DeployError(UserError, RuntimeError):
    """A conversion that cannot be done, or an artefact that cannot be used."""


def command_line(main: Callable[..., int | None]) -> Callable[..., int]:
    """Make ``main`` of a tool end with one message and exit status 2 on a :class:`UserError`.

    Returns:
        A function for ``sys.exit``: 0 or what ``main`` returned, 2 after a :class:`UserError`, 130
        after Ctrl-C.
    """

    @functools.wraps(main)
    def run(*args, **kwargs) -> int:
        try:
            return main(*args, **kwargs) or 0
        except UserError as error:
            if os.environ.get('MMTRTVIT_DEBUG'):
                raise
            print(f'\nError: {error}', file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print('\nStopped by the user.', file=sys.stderr)
            return 130

    return run
