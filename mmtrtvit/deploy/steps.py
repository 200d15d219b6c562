"""The steps of a long command, shown as they run."""

import contextlib
import logging
import time
import warnings
from collections.abc import Callable, Iterator

from mmengine.logging import MMLogger

from ..errors import DeployError, UserError


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the tracer's and the registries' warnings, hundreds of lines of no use to a user, off the screen."""
    loggers = [logging.getLogger(name) for name in ('mmdeploy', 'mmengine')]
    loggers += [MMLogger.get_current_instance()]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class Steps:
    """The steps of a conversion, shown as they run; an error says in which of them it happened.

    Args:
        total: How many steps there are.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.number = 0

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Show a step, and how long it took when it is done.

        Yields:
            A function that takes what there is to say about its result.

        Raises:
            UserError: Of the step's own kind where it raised one, :class:`~mmtrtvit.errors.DeployError` for any
                other error.
        """
        self.number += 1
        place = f'Step {self.number} of {self.total} ({name})'
        said: list[str] = []
        start = time.perf_counter()
        print(f'[{self.number}/{self.total}] {name} ...', flush=True)
        try:
            yield said.append
        except UserError as error:  # whose text says what was expected and what to do
            raise type(error)(f'{place}: {error}') from error
        except Exception as error:
            raise DeployError(
                f'{place} failed: {type(error).__name__}: {error}',
                fix='nothing was left half-written; run with MMTRTVIT_DEBUG=1 to see where it happened',
            ) from error
        details = f': {", ".join(said)}' if said else ''
        print(f'      done in {time.perf_counter() - start:.1f} s{details}', flush=True)
