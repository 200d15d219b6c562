"""Work ahead of the caller: in order, bounded, and with its errors."""

import functools
import threading
import time

import pytest

from mmtrtvit.prediction.ahead import run_ahead


def late(number):
    time.sleep(0.002 * (number % 3))
    return number


def test_results_are_in_order():
    tasks = (functools.partial(late, number) for number in range(50))
    assert list(run_ahead(tasks, 4, 8)) == list(range(50))
    assert list(run_ahead(iter([]), 1, 1)) == []


def test_no_more_work_than_allowed_waits():
    started = []

    def tasks():
        for number in range(100):
            started.append(number)
            yield functools.partial(late, number)

    results = run_ahead(tasks(), 2, 4)
    assert next(results) == 0
    time.sleep(0.1)
    assert len(started) <= 1 + 4 + 2
    results.close()
    assert len(started) < 10


def test_an_error_of_a_task_and_of_the_iterator_arrives():
    def fails():
        raise ValueError('task')

    def tasks():
        yield lambda: 1
        raise ValueError('iterator')

    with pytest.raises(ValueError, match='task'):
        list(run_ahead(iter([fails]), 1, 1))
    results = run_ahead(tasks(), 1, 1)
    assert next(results) == 1
    with pytest.raises(ValueError, match='iterator'):
        next(results)


def test_closing_ends_the_threads_and_closes_the_iterator():
    closed = threading.Event()

    def tasks():
        try:
            while True:
                yield lambda: 0
        finally:
            closed.set()

    before = threading.active_count()
    results = run_ahead(tasks(), 3, 2)
    next(results)
    results.close()
    assert closed.is_set() and threading.active_count() == before
