"""Work that runs in threads before its result is asked for."""

import concurrent.futures
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

T = TypeVar('T')

_END = object()


def done(result: T) -> Callable[[], T]:
    """A task that has its result already."""
    return lambda: result


def run_ahead(tasks: Iterator[Callable[[], T]], workers: int, ahead: int) -> Generator[T, None, None]:
    """Results of tasks, in order. They are computed in threads while the caller is busy with earlier ones.

    The tasks themselves are taken from their iterator in a thread of its own. What the iterator or a task raises is
    raised here. Closing this generator waits for the tasks in progress, and closes the iterator.

    Args:
        tasks: Functions without arguments.
        workers: Tasks that run at the same time.
        ahead: Tasks that may be finished, or in progress, before the caller asks: the limit of the memory.

    Yields:
        The result of each task.
    """
    results: queue.Queue[Any] = queue.Queue(max(ahead, 1))
    stopped = threading.Event()

    def put(entry: Any) -> bool:
        while not stopped.is_set():
            try:
                results.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def feed() -> None:
        last: Any = _END
        try:
            with concurrent.futures.ThreadPoolExecutor(workers) as pool:
                for task in tasks:
                    if not put(pool.submit(task)):
                        break
        except BaseException as error:
            last = error
        finally:
            close = getattr(tasks, 'close', None)
            if close:
                close()
            put(last)

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    try:
        while (entry := results.get()) is not _END:
            if isinstance(entry, BaseException):
                raise entry
            yield entry.result()
    finally:
        stopped.set()
        feeder.join()
