"""Latencies are measured in turn, by a clock that the tests wind themselves."""

import io
from types import SimpleNamespace

import numpy as np
import pytest

from mmtrtvit import latency
from mmtrtvit.benchmark import Latency, machine, measure, ratio


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
    monkeypatch.setattr(latency, 'time', SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def row(values, name='x'):
    return Latency(name, 'network', list(values), {})


def test_runs_alternate_after_the_warm_up(clock):
    subjects = {'a': clock.subject('a', 0.01), 'b': clock.subject('b', 0.02)}
    rows = measure(subjects, scope='network', warmup_runs=2, warmup_seconds=0, min_runs=5, min_seconds=0)
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


def test_least_time_is_that_of_the_fastest(clock):
    subjects = {'slow': clock.subject('slow', 1.0), 'fast': clock.subject('fast', 0.1)}
    rows = measure(subjects, scope='s', warmup_runs=0, warmup_seconds=0, min_runs=2, min_seconds=0.95)
    assert [len(r.values) for r in rows] == [10, 10]


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


def test_the_machine_is_named():
    found = machine()
    assert found['processor'] and found['cores'] >= 1 and found['torch_threads'] >= 1 and found['system']


@pytest.mark.parametrize(
    'told, name, features',
    [
        (
            'model name\t: Some Xeon\nflags\t\t: fpu avx2 avx512f avx512_vnni\n',
            'Some Xeon',
            ['avx2', 'avx512f', 'avx512_vnni'],
        ),
        ('processor\t: 0\nFeatures\t: fp asimddp i8mm\n', None, ['asimddp', 'i8mm']),
        ('', None, []),
    ],
    ids=['x86', 'ARM', 'elsewhere'],
)
def test_the_processor_and_its_instructions(monkeypatch, told, name, features):
    def opened(*_):
        if not told:
            raise FileNotFoundError
        return io.StringIO(told)

    monkeypatch.setattr(latency, 'open', opened, raising=False)
    found = latency.processor()
    assert found['features'] == features and found['name'] and (name is None or found['name'] == name)
