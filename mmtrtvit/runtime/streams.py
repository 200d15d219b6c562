"""Work on several items at the same time, with results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar('T')
R = TypeVar('R')


def run_streams(work: Callable[[T], R], items: Iterable[T], streams: int) -> Iterator[R]:
    """Results of a function for items, in order.

    Args:
        work: The function. Any number of threads may call it.
        items: They are taken in the caller's thread. One is taken ahead, so that no stream waits for it.
        streams: Calls that go on at the same time. A single one goes on in the caller's thread.

    Yields:
        The result of each item. What ``items`` or ``work`` raises is raised here, after the results before it.
    """
    if streams == 1:
        yield from map(work, items)
        return
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(streams) as pool:
        try:
            for future in _submitted(pool, work, items):
                pending.append(future)
                if len(pending) > streams:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _submitted(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T]) -> Iterator[Future[R]]:
    try:
        for item in items:
            yield pool.submit(work, item)
    except Exception as error:
        failed: Future[R] = Future()
        failed.set_exception(error)
        yield failed
