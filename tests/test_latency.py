"""Latencies are measured in turn, by a clock that the tests wind themselves."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from mmtrtvit import latency
from mmtrtvit.latency import Latency, Milliseconds, measure, ratio


class Clock:
    """Time that passes only while something is run."""

    def __init__(self):
        self.now, self.diary = 100.0, []

    def subject(self, name, *durations):
        """Something that takes each of ``durations`` (seconds) in turn."""
        runs = iter(range(10**9))

        def run():
            self.diary.append(name)
            self.now += durations[next(runs) % len(durations)]

        return run


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(latency, 'come_to_rest', lambda: None)
    monkeypatch.setattr(latency, 'SHORT_MS', 0.0)
    monkeypatch.setattr(latency, 'time', SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def row(values, name='x'):
    return Latency(name, 'network', list(values), {})


def test_runs_alternate_after_the_warm_up(clock):
    subjects = {'a': clock.subject('a', 0.01), 'b': clock.subject('b', 0.02)}
    rows = measure(
        subjects, scope='network', warmup_runs=2, warmup_seconds=0, min_runs=5, min_seconds=0, until_steady=False
    )
    assert ''.join(clock.diary) == 'aabb' + 'ab' * 5
    assert [r.name for r in rows] == ['a', 'b'] and {r.scope for r in rows} == {'network'}
    assert rows[0].values == pytest.approx([10.0] * 5) and rows[1].values == pytest.approx([20.0] * 5)


def test_warm_up_is_not_counted(clock):
    slow_at_first = clock.subject('a', *[1.0] * 4, *[0.01] * 100)
    (found,) = measure(
        {'a': slow_at_first}, scope='network', warmup_runs=4, warmup_seconds=0, min_runs=9, min_seconds=0
    )
    assert found.values == pytest.approx([10.0] * 9)


def test_warm_up_lasts_for_its_time(clock):
    rows = measure(
        {'a': clock.subject('a', 0.1)}, scope='s', warmup_runs=1, warmup_seconds=0.95, min_runs=3, min_seconds=0
    )
    assert len(clock.diary) == 10 + 3 and len(rows[0].values) == 3


def test_each_runs_for_its_least_time_and_steps_out(clock):
    subjects = {'slow': clock.subject('slow', 1.0), 'fast': clock.subject('fast', 0.1)}
    rows = measure(subjects, scope='s', warmup_runs=0, warmup_seconds=0, min_runs=3, min_seconds=0.95)
    assert [len(r.values) for r in rows] == [3, 10]


def test_only_steady_windows_count(clock):
    """Seven slow and restless runs, then the machine is quiet: the figure is that of the last three windows."""
    restless = clock.subject('a', *[0.1, 0.3, 0.2] * 3, *[0.05] * 100)
    finished = []
    (found,) = measure(
        {'a': restless}, scope='s', warmup_runs=0, warmup_seconds=0, min_runs=9, min_seconds=0, done=finished.append
    )
    assert len(found.values) == 18 and found.start == 9 and found.steady and finished == [found]
    assert found.median == found.quantile(0.99) == pytest.approx(50.0) and found.spread == pytest.approx(0)


@pytest.mark.parametrize(('seconds', 'runs'), [(0.15, 30), (0.3, 21), (5.0, 12)])
def test_slow_runs_need_fewer(clock, seconds, runs):
    """A window has 10 runs. One of slow runs ends after 2 seconds, but not before 4 runs."""
    (found,) = measure({'a': clock.subject('a', seconds)}, scope='s', warmup_seconds=0, min_runs=30)
    assert found.steady and len(found.values) == runs


def test_few_runs_are_few_however_slow_they_are(clock):
    (found,) = measure({'a': clock.subject('a', 5.0)}, scope='s', warmup_seconds=0, min_runs=6)
    assert len(found.values) == 6


def test_windows_have_to_agree(clock):
    """Each window is steady, but the machine becomes slower from one to the next until it stays as it is."""
    drift = clock.subject('a', *[0.1] * 3, *[0.12] * 3, *[0.14] * 300)
    (found,) = measure({'a': drift}, scope='s', warmup_runs=0, warmup_seconds=0, min_runs=9, min_seconds=0)
    assert found.start == 6 and len(found.values) == 15 and found.median == pytest.approx(140.0)


def test_runs_that_never_become_steady_are_flagged(clock):
    (found,) = measure(
        {'a': clock.subject('a', 0.1, 0.3)}, scope='s', warmup_seconds=0, min_runs=9, min_seconds=0, max_seconds=5
    )
    assert not found.settled and not found.steady and found.counted == found.values and len(found.values) >= 20


def test_a_subject_that_fails_does_not_end_the_others(clock):
    def broken():
        raise ValueError('out of memory')

    options = dict(scope='s', warmup_runs=1, warmup_seconds=0, min_runs=3, min_seconds=0)
    finished = []
    rows = measure({'a': broken, 'b': clock.subject('b', 0.1)}, done=finished.append, **options)
    assert rows[0].failure == 'ValueError: out of memory' and not rows[0].values
    assert [entry.name for entry in finished] == ['a', 'b'] and rows[1].steady
    with pytest.raises(ValueError, match='out of memory'):
        measure({'a': broken}, **options)


def test_an_interrupt_keeps_what_was_measured(clock):
    runs = iter(range(100))

    def interrupted():
        clock.now += 0.1
        if next(runs) == 7:
            raise KeyboardInterrupt

    finished = []
    with pytest.raises(KeyboardInterrupt):
        measure({'a': interrupted}, scope='s', warmup_runs=1, warmup_seconds=0, min_runs=30, done=finished.append)
    (found,) = finished
    assert found.values == pytest.approx([100.0] * 6) and not found.steady


def test_a_subject_may_time_itself(clock):
    def timed():
        clock.now += 1
        return Milliseconds(2.5)

    (found,) = measure({'a': timed}, scope='s', warmup_seconds=0, min_runs=3, min_seconds=0)
    assert found.values == [2.5] * 3


def test_it_ends_in_time_but_never_before_three_rounds(clock):
    options = dict(scope='s', warmup_runs=0, warmup_seconds=0, min_runs=1000, min_seconds=0)
    assert len(measure({'a': clock.subject('a', 1.0)}, max_seconds=9.5, **options)[0].values) == 10
    assert len(measure({'a': clock.subject('a', 50.0)}, max_seconds=1, **options)[0].values) == 3


@pytest.mark.parametrize('count', [1, 2, 5, 20, 101])
def test_quantiles_are_numpys(count):
    values = np.random.default_rng(count).gamma(2.0, size=count)
    found = row(values)
    for share in (0.0, 0.1, 0.25, 0.5, 0.9, 0.99, 1.0):
        assert found.quantile(share) == pytest.approx(np.quantile(values, share))
    assert found.median == pytest.approx(np.median(values))
    assert found.spread == pytest.approx((np.quantile(values, 0.75) - np.quantile(values, 0.25)) / np.median(values))


def test_unsteady_rows_are_flagged():
    assert row([10.0] * 20).steady
    assert row(np.linspace(9.6, 10.4, 101)).steady  # quartiles 9.8 and 10.2: 4 %
    assert not row(np.linspace(9.4, 10.6, 101)).steady  # 9.7 and 10.3: 6 %
    assert row([10.0] * 99 + [1000.0]).steady  # one outlier is no unrest


def test_a_row_says_everything(clock):
    (found,) = measure(
        {'a': clock.subject('a', 0.01, 0.02)},
        scope='backbone',
        settings={'batch': 1},
        warmup_seconds=0,
        min_runs=20,
        min_seconds=0,
        until_steady=False,
    )
    said = found.to_dict()
    assert said['values'] == found.values and said['runs'] == 20 and said['batch'] == 1
    assert (said['name'], said['scope'], said['unit'], said['kind']) == ('a', 'backbone', 'ms', 'measured')
    assert said['mean'] == pytest.approx(15.0) and said['median'] == pytest.approx(15.0)
    assert (said['p90'], said['p99']) == (found.quantile(0.9), found.quantile(0.99))
    assert said['steady'] is False and said['spread'] == pytest.approx(found.spread)


def test_ratio_is_taken_round_by_round():
    """A machine that slows down to a third in the middle changes nothing: both meet it."""
    drift = np.array([1.0, 1.0, 3.0, 3.0, 3.0])
    rows = [row(20 * drift, 'a'), row(8 * drift, 'b')]
    assert ratio(rows, of='a', to='b') == pytest.approx(2.5)
    assert ratio(rows, of='b', to='a') == pytest.approx(0.4)


def test_ratio_takes_the_rounds_that_count_for_both():
    a, b = row([99.0] * 3 + [20.0] * 6, 'a'), row([1.0] * 3 + [10.0] * 3, 'b')
    a.start = b.start = 3
    assert ratio([a, b], of='a', to='b') == pytest.approx(2.0)
    a.start = 6  # nothing in common with b: all rounds that both took part in
    assert ratio([a, b], of='a', to='b') == pytest.approx(50.5)


def test_short_runs_are_repeated_after_the_rest(clock, monkeypatch):
    monkeypatch.setattr(latency, 'SHORT_MS', 200.0)
    subjects = dict(a=clock.subject('a', 0.1, 0.01), b=clock.subject('b', 0.3))
    options = dict(warmup_runs=0, warmup_seconds=0.0, min_runs=4, min_seconds=0.0, until_steady=False)
    a, b = measure(subjects, scope='backbone', **options)
    assert a.values == pytest.approx([10.0] * 4) and b.values == pytest.approx([300.0] * 4)


def test_a_run_begins_when_the_threads_of_others_are_asleep():
    """A thread that spins for 0.1 s after a run, as those of some backends do, has ended when the next one begins."""
    ends, seen = [0.0], []

    def spin():
        while time.perf_counter() < ends[0]:
            pass

    def spinning():
        ends[0] = time.perf_counter() + 0.1
        threading.Thread(target=spin, daemon=True).start()

    def other():
        seen.append(time.perf_counter() >= ends[0])

    measure(
        dict(spinning=spinning, other=other),
        scope='backbone',
        warmup_runs=0,
        warmup_seconds=0.0,
        min_runs=3,
        min_seconds=0.0,
        until_steady=False,
    )
    assert len(seen) >= 3 and sum(seen) >= len(seen) - 1
