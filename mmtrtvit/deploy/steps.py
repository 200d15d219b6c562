"""Progress display for the steps of a long command."""

import contextlib
import io
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator

from mmengine.logging import MMLogger

from ..environment import EnvironmentProblem
from ..errors import DeployError, UserError, explain


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide what the tracer, the registries and pycocotools print, hundreds of lines that do not help users.

    The environment variable MMTRTVIT_DEBUG shows all of it.
    """
    if os.environ.get('MMTRTVIT_DEBUG'):
        yield
        return
    loggers = [logging.getLogger(name) for name in ('mmdeploy', 'mmengine')]
    loggers += [MMLogger.get_current_instance()]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class Steps:
    """Shows the steps of a conversion as they run. An error names the step that raised it.

    Args:
        total: Number of steps.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.number = 0

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Show a step while it runs, and its duration at the end.

        Yields:
            A function that adds a remark on the result of the step.

        Raises:
            UserError, EnvironmentProblem: With the name of the step in front. The class stays the same. A known error
                of a library is explained, and any other error becomes a :class:`~mmtrtvit.errors.DeployError`.
        """
        self.number += 1
        place = f'Step {self.number} of {self.total} ({name})'
        said: list[str] = []
        start = time.perf_counter()
        print(f'[{self.number}/{self.total}] {name} ...', flush=True)
        try:
            yield said.append
        except (UserError, EnvironmentProblem) as error:  # their texts already have the fix
            raise type(error)(f'{place}: {error}') from error
        except Exception as error:
            known = explain(error)
            if known is not None:
                raise type(known)(f'{place}: {known}') from error
            raise DeployError(
                f'{place} failed: {type(error).__name__}: {error}',
                fix='nothing was left half-written; run with MMTRTVIT_DEBUG=1 to see where it happened',
            ) from error
        details = f': {", ".join(said)}' if said else ''
        print(f'      done in {time.perf_counter() - start:.1f} s{details}', flush=True)
