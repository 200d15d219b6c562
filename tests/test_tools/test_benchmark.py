"""tools/benchmark.py: each command hands its own options over, and without a command the backbones are measured."""

import importlib
import sys

import pytest

FUNCTIONS = {
    'backbones': ('mmtrtvit.benchmark.backbones', 'benchmark_backbones'),
    'comparison': ('mmtrtvit.benchmark.backbones', 'benchmark_comparison'),
    'deployment': ('mmtrtvit.benchmark.proofs', 'benchmark_deployment'),
    'precisions': ('mmtrtvit.benchmark.proofs', 'benchmark_precisions'),
    'prediction': ('mmtrtvit.benchmark.prediction', 'benchmark_prediction'),
    'runs': ('mmtrtvit.benchmark.runs', 'benchmark_runs'),
    'training': ('mmtrtvit.benchmark.training', 'benchmark_training'),
}
CALLS = {
    '': ('backbones', dict(archs=None, size=224, batch=1, out='work_dirs/bench', threads=None)),
    '--archs a c --batch 2': ('backbones', dict(archs=['a', 'c'], batch=2)),
    'backbones --size 64': ('backbones', dict(size=64, batch=1)),
    'comparison --families nextvit': ('comparison', dict(families=['nextvit'], out='work_dirs/comparison', batch=1)),
    'training --archs a': ('training', dict(archs=['a'], size=320, batch=2, iterations=3)),
    'deployment --archs a': ('deployment', dict(archs=['a'], size=None, images=4, timed=True)),
    'precisions a.py b.pth': ('precisions', dict(config='a.py', checkpoint='b.pth', precisions=None, images=80)),
    'prediction a b --batch 4': ('prediction', dict(folder='a', source='b', batch=4, images=80, formats=[])),
    'runs a b': ('runs', dict(work_dirs=['a', 'b'], out='work_dirs/runs')),
    'deployment --no-latency': ('deployment', dict(archs=None, timed=False, out='work_dirs/deployment')),
}


@pytest.fixture
def run(load_tool, monkeypatch):
    """Run the command with functions in place of the measurements; who was called, and with which options."""

    def call(words):
        called = []
        for name, (module, function) in FUNCTIONS.items():
            real = importlib.import_module(module)
            monkeypatch.setattr(real, function, lambda name=name, **options: called.append((name, options)))
        monkeypatch.setattr(sys, 'argv', ['tools/benchmark.py', *words.split()])
        load_tool('benchmark').main()
        return called

    return call


@pytest.mark.parametrize('words', CALLS)
def test_options_arrive(run, words):
    name, some = CALLS[words]
    [(called, options)] = run(words)
    assert called == name
    assert {key: options[key] for key in some} == some
    assert ('root' in options) == (name in ('training', 'deployment'))
    assert 'what' not in options


def test_the_proofs_get_no_option_of_the_backbones(run):
    [(_, options)] = run('deployment')
    assert 'batch' not in options


@pytest.mark.parametrize('words', ['deployment --batch 2', '--batch 2 deployment', 'deploymnt', 'backbones --images 2'])
def test_what_a_command_does_not_take_is_refused(run, capsys, words):
    with pytest.raises(SystemExit) as end:
        run(words)
    assert end.value.code == 2
    assert 'unrecognized arguments' in capsys.readouterr().err


def test_help_names_every_command(run, capsys):
    with pytest.raises(SystemExit) as end:
        run('--help')
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert all(name in out for name in FUNCTIONS)
