"""The machine behind figures, and whether it is quiet enough to measure on."""

import io

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
