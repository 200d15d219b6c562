"""Errors that the caller can fix, and how a command line reports them.

A :class:`UserError` says what was given, what was expected, and how to fix it. The
commands under ``tools/`` are wrapped in :func:`command_line`, which prints such an error as one
message on standard error and ends with exit status 2, unless the environment variable MMTRTVIT_DEBUG asks
for the traceback. Any other exception is a defect and keeps its traceback.
"""

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

from . import environment


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


class DeployError(UserError, RuntimeError):
    """A conversion that cannot be done, or an artefact that cannot be used."""


def command_line(main: Callable[..., int | None]) -> Callable[..., int]:
    """Make ``main`` of a tool end with one message and exit status 2 on a :class:`UserError`.

    Returns:
        A function for ``sys.exit``: 0 or what ``main`` returned, 2 after a :class:`UserError`, 130
        after Ctrl-C.
    """

    @functools.wraps(main)
    def run(*args: Any, **kwargs: Any) -> int:
        try:
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

KNOWN_ERRORS: tuple[tuple[str, type[UserError], str, str], ...] = (
    (
        r'failed to load image: (?P<what>[^\n]+)',
        DataError,
        'The image {what} cannot be read.',
        'replace the file, or take it out of the annotation file',
    ),
    (
        r"No such file or directory: '?(?P<what>[^'\n]+)'?",
        DataError,
        'There is no file {what}.',
        'check the data root (environment variable MMTRTVIT_DATA_ROOT) and the paths in the config',
    ),
    (
        r"(?P<what>[^\s'\"]+) is not in the .*registry",
        ConfigError,
        'The type {what} of the config is not registered.',
        "correct its name, or import what registers it: custom_imports = dict(imports=['mmtrtvit'])",
    ),
    (
        r'Target (?P<what>\d+) is out of bounds',
        DataError,
        'A label map has the class {what}, which the network does not have.',
        'set num_classes of the heads and `metainfo` of the data set as the label maps have them; for pixels to ignore '
        'the label is 255, or 0 with reduce_zero_label=True',
    ),
    (
        r'Initialize dataset with `reduce_zero_label` as (?P<what>\w+) but',
        ConfigError,
        'The data set has reduce_zero_label={what}, but LoadAnnotations of its pipeline has the opposite.',
        'set `reduce_zero_label` alike in both',
    ),
    (
        r'new classes (?P<what>.+) is not a subset of classes',
        ConfigError,
        'The data set of the config does not know some of the classes {what}.',
        "use type='BaseSegDataset' for a data set with classes of its own",
    ),
    (
        r'No space left on device|Disk quota exceeded|File too large',
        ConfigError,
        'The disk is full.',
        'make room or choose another --work-dir, then go on with --resume',
    ),
    (
        r"(?:Permission denied|Read-only file system): '?(?P<what>[^'\n]+)'?",
        ConfigError,
        '{what} cannot be written or read: permission denied.',
        'change its permissions or choose another --work-dir, then go on with --resume',
    ),
    (
        r'DeepSpeed is not installed',
        ConfigError,
        'The strategy of the config is DeepSpeedStrategy, but DeepSpeed is not installed.',
        'pip install deepspeed, or train with --variant fsdp, which needs PyTorch only',
    ),
)
"""Pattern of the text, type of the error, message and fix; ``{what}`` is the group of that name."""


@contextlib.contextmanager
def library_errors_explained() -> Iterator[None]:
    """Raise a known error of a library as a :class:`UserError` that says how to fix it.

    An error of a data loader's worker is found by its text, which PyTorch copies with the whole traceback.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        text = str(error)
        for pattern, kind, message, fix in KNOWN_ERRORS:
            found = list(re.finditer(pattern, text))
            if found:
                # the last one: a traceback in the text shows the source line that made the message before it
                raise kind(message.format(**found[-1].groupdict()), fix=fix) from error
        raise
