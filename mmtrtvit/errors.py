"""Errors that the caller can fix, and how a command line reports them.

A :class:`UserError` says what was given, what was expected, and how to fix it. The
commands under ``tools/`` are wrapped in :func:`command_line`, which prints such an error as one
message on standard error and ends with exit status 2, unless the environment variable MMTRTVIT_DEBUG asks
for the traceback. So do the errors of libraries that :mod:`~mmtrtvit.known_errors` lists. Any other exception is a
defect and keeps its traceback.
"""

import contextlib
import functools
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from . import environment
from .known_errors import KNOWN_ERRORS


class UserError(Exception):
    """Input that cannot be used, and the way to fix it.

    Registries re-raise what a constructor raises as ``type(error)(text)``, so one string must be
    enough to build it.

    Args:
        message: The input and its fault, or the whole text.
        expected: A description of valid input.
        fix: An instruction or a command.
    """

    def __init__(self, message: str, *, expected: str = '', fix: str = '') -> None:
        lines = [message]
        if expected:
            lines.append(f'Expected: {expected}')
        if fix:
            lines.append(f'Fix: {fix}')
        super().__init__('\n'.join(lines))


class ConfigError(UserError, ValueError):
    """A setting (``arch``, ``out_indices``, a config file) that cannot be used."""


class DataError(UserError, ValueError):
    """A data set, annotation file or image that is missing or cannot be read."""


class CheckpointError(UserError, RuntimeError):
    """A checkpoint that cannot be read or belongs to another network."""


class TrainingError(UserError, RuntimeError):
    """A training that cannot go on."""


class DeployError(UserError, RuntimeError):
    """A conversion that cannot be done, or an artefact that cannot be used."""


def command_line(main: Callable[..., int | None]) -> Callable[..., int]:
    """Make ``main`` of a tool end with one message and exit status 2 on a :class:`UserError` or a known library error.

    Returns:
        A function for ``sys.exit``: 0 or what ``main`` returned, 2 after such an error, 130 after Ctrl-C.
    """

    @functools.wraps(main)
    def run(*args: Any, **kwargs: Any) -> int:
        try:
            with library_errors_explained():
                return main(*args, **kwargs) or 0
        except UserError as error:
            if os.environ.get('MMTRTVIT_DEBUG'):
                raise
            print(f'\nError: {error}', file=sys.stderr)
            return 2
        except ImportError:
            environment.require()  # names what is missing, and how to install it
            raise
        except KeyboardInterrupt:
            print('\nStopped by the user.', file=sys.stderr)
            return 130

    return run


# --- errors that libraries raise deep down for the user's input ------------------------------------------------------


def explain(error: BaseException, load: str = 'the batches of this run') -> UserError | None:
    """The :class:`UserError` for a known error of a library; ``None`` for any other one.

    An error of a data loader's worker is found by its text, which PyTorch copies with the whole traceback.

    Args:
        error: The error.
        load: The batches of the run, such as ``'batches of 2 images of 1333 x 800'``.
    """
    if isinstance(error, environment.EnvironmentProblem):
        return None  # it says all that is needed
    text = f'{type(error).__name__}: {error}'
    for pattern, kind, message, fix in KNOWN_ERRORS:
        found = list(re.finditer(pattern, text))
        if found:
            # the last one: a traceback in the text shows the source line that made the message before it
            fields = {'load': load, **{name: value or '' for name, value in found[-1].groupdict().items()}}
            return globals()[kind](message.format(**fields), fix=fix.format(**fields))
    return None


def place_of(error: BaseException) -> str:
    """The line of code that raised an error, for messages: assertions often have no text of their own."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    file = re.sub(r'.*/(site-packages|python3\.\d+)/', '', frame.filename.replace(os.sep, '/'))
    return f'{file}, line {frame.lineno}' + ('' if str(error) else f': {frame.line}')


@contextlib.contextmanager
def library_errors_explained(
    load: str = 'the batches of this run', stage: Callable[[], str] = lambda: ''
) -> Iterator[None]:
    """Raise a known error of a library as a :class:`UserError` that says how to fix it; see :func:`explain`.

    Args:
        load: As in :func:`explain`.
        stage: Names what is being done that depends on the config above all, such as building a network: any other
            error is then a :class:`ConfigError` that names the line of code. Where it returns nothing, such an error is
            a defect and passes unchanged.
    """
    try:
        yield
    except UserError as error:
        # a data loader puts the traceback of its worker before the text
        told = re.search(rf'^Caught .*\n(?:\w+\.)*{type(error).__name__}: (.*)', str(error), re.DOTALL)
        if told is None:
            raise
        raise type(error)(told[1].strip()) from error
    except Exception as error:
        known = explain(error, load)
        if known is None and stage():
            text = f': {error}' if str(error) else ''
            known = ConfigError(
                f'{stage()} failed: {type(error).__name__}{text}\n({place_of(error)})',
                fix='correct the setting of the config that this is about; if it is right, report the traceback, which '
                'MMTRTVIT_DEBUG=1 shows',
            )
        if known is None:
            raise
        raise known from error
