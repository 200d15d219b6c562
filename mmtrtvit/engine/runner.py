"""mmengine's runner, whose first messages go to the log file only."""

import contextlib
import io
import logging
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.runner import Runner

THREADS = 'PyTorch uses {} threads'
"""The part of the log's first line that :func:`threads_of` reads."""

NOISE = re.compile(r'.*(paramwise_options|"\w+" will be deprecated|is the alias of|metrics will not be computed)')
"""Messages that are left out of the console: a line for each parameter, and what mmengine and mmdet say about their own
code."""


def _matters(record: logging.LogRecord) -> bool:
    return not NOISE.match(record.getMessage())


def build_runner(make: Callable[..., Runner], *args: Any, loops: Sequence[str] = (), **kwargs: Any) -> Runner:
    """Call ``make(*args, **kwargs)``; its hundreds of lines of environment and config go to the log file only.

    The runner's logger keeps the standard output that it finds when it is made, and is given the real one afterwards.

    Args:
        make: Makes the runner.
        args: Its arguments.
        loops: Any of ``train``, ``val``, ``test``: loops to build already, so that what data sets and optimisers print
            stays out of the console as well.
        kwargs: Its arguments.
    """
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings('ignore', NOISE.pattern)
        runner = make(*args, **kwargs)
        if isinstance(runner, Runner):
            for name in loops:
                if getattr(runner, f'_{name}_loop') is not None:
                    getattr(runner, f'{name}_loop')
            if 'train' in loops:
                runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    for handler in runner.logger.handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.stream = sys.stdout  # setStream would flush the old stream, which may be closed
            handler.addFilter(_matters)
    runner.logger.info(f'Config and log: {runner.work_dir}; {THREADS.format(torch.get_num_threads())}')
    return runner


def threads_of(log: str) -> int | None:
    """Number of CPU threads that a run had, by the text of its log; ``None`` if the log does not say it."""
    found = re.search(THREADS.format(r'(\d+)'), log)
    return int(found[1]) if found else None
