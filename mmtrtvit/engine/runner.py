"""mmengine's runner, with what it writes at the start in the log file only."""

import contextlib
import io
import logging
import sys
from collections.abc import Callable
from typing import Any

from mmengine.runner import Runner


def build_runner(make: Callable[..., Runner], *args: Any, **kwargs: Any) -> Runner:
    """Call ``make(*args, **kwargs)``; its hundreds of lines of environment and config go to the log file only.

    The runner's logger keeps the standard output that it finds when it is made, and is given the real one afterwards.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        runner = make(*args, **kwargs)
    for handler in runner.logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.stream = sys.stdout  # setStream would flush the old stream, which may be closed
    runner.logger.info(f'Config and log: {runner.work_dir}')
    return runner
