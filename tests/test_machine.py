"""The machine behind figures, and whether it is quiet enough to measure on."""

import io
from types import SimpleNamespace

import pytest

from mmtrtvit import machine as host
from mmtrtvit import processor as cpu
from mmtrtvit.errors import ConfigError

QUIET = dict(load_average=3.0, others=[dict(name='sshd', share=0.03)], frequency_mhz=None, gpu=None)


def test_the_machine_is_named():
    found = host.machine()
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

    monkeypatch.setattr(cpu, 'open', opened, raising=False)
    found = cpu.processor()
    assert found['features'] == features and found['name'] and (name is None or found['name'] == name)


def test_the_conditions_are_told():
    seen = host.conditions(seconds=0.01)
    assert set(seen) == set(QUIET) and (seen['others'] is None or isinstance(seen['others'], list))


def test_processes_that_come_and_go_are_seen(monkeypatch):
    """``make`` uses no time of its own: its children do, those that have ended and those that have just begun."""

    def process(pid, name, *times):
        return SimpleNamespace(
            pid=pid, create_time=lambda: pid, name=lambda: name, cpu_times=lambda: (*times, 77.0)
        )  # the last one is the time of waiting

    looks = iter(
        [
            [process(1, 'python', 5, 5, 0, 0), process(5, 'make', 1, 0, 2, 0), process(6, 'sshd', 3, 1, 0, 0)],
            [
                process(1, 'python', 6, 5, 0, 0),
                process(5, 'make', 1, 0, 2.25, 0.25),
                process(6, 'sshd', 3, 1, 0, 0),
                process(9, 'cc1plus', 0.2, 0.1, 0, 0),
            ],
        ]
    )
    own = SimpleNamespace(pid=1, parents=list, children=lambda recursive: [])
    fake = SimpleNamespace(Error=OSError, Process=lambda: own, process_iter=lambda: next(looks))
    clock = SimpleNamespace(sleep=lambda _: None, perf_counter=iter([10.0, 11.0]).__next__)
    monkeypatch.setattr(host, 'time', clock)
    assert host._other_processes(fake, 1.0) == [dict(name='make', share=0.5), dict(name='cc1plus', share=0.3)]


@pytest.mark.parametrize(
    'changes, reason',
    [
        ({}, ''),  # the load average is of the last minute, and decides nothing
        (dict(others=None), ''),
        (dict(gpu=dict(processes=1)), ''),
        (dict(others=[dict(name='train', share=0.9)]), 'other processes take 90% of a core (train 90%)'),
        (dict(gpu=dict(processes=3)), '3 processes use the GPU'),
    ],
)
def test_a_busy_machine_is_refused(monkeypatch, changes, reason):
    seen = {**QUIET, **changes}
    monkeypatch.setattr(host, 'conditions', lambda: seen)
    assert host.busy(seen) == reason
    told = host.UNSEEN if seen['others'] is None else reason
    assert host.quiet_conditions(busy_ok=True) == dict(seen, busy=told)
    if reason:
        with pytest.raises(ConfigError, match='--busy-ok') as raised:
            host.quiet_conditions()
        assert reason in str(raised.value)
    else:
        assert host.quiet_conditions()['busy'] == told
