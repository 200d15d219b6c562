"""tools/benchmark.py: each command hands its own options over, and the function takes them."""

import importlib
import inspect
import sys

import pytest

FUNCTIONS = {
    'suite': ('mmtrtvit.benchmark.suite', 'benchmark_suite'),
    'backbone': ('mmtrtvit.benchmark.speed', 'benchmark_backbone'),
    'network': ('mmtrtvit.benchmark.speed', 'benchmark_network'),
    'engine': ('mmtrtvit.benchmark.speed', 'benchmark_engine'),
    'end-to-end': ('mmtrtvit.benchmark.speed', 'benchmark_end_to_end'),
    'onnx': ('mmtrtvit.benchmark.speed', 'benchmark_onnx'),
    'growth': ('mmtrtvit.benchmark.growth', 'benchmark_growth'),
    'deployment': ('mmtrtvit.benchmark.proofs', 'benchmark_deployment'),
    'precisions': ('mmtrtvit.benchmark.proofs', 'benchmark_precisions'),
    'prediction': ('mmtrtvit.benchmark.prediction', 'benchmark_prediction'),
    'runs': ('mmtrtvit.benchmark.runs', 'benchmark_runs'),
    'training': ('mmtrtvit.benchmark.training', 'benchmark_training'),
}
CALLS = {
    'suite --threads 2': ('suite', dict(threads=2, out='work_dirs/benchmark', folders=[], timm=[], max_seconds=1000)),
    'backbone --archs a --shapes 64 800x1344 --batches 1 8': (
        'backbone',
        dict(
            archs=['a'], shapes=['64', '800x1344'], batches=[1, 8], precisions=['fp32'], modes=['eager'], busy_ok=False
        ),
    ),
    'network a.py --precisions fp32 bf16': ('network', dict(configs=['a.py'], precisions=['fp32', 'bf16'])),
    'engine a b --graph': ('engine', dict(folders=['a', 'b'], graph=True, image=None, shapes=[], size='800x1333')),
    'end-to-end a --image b.jpg --busy-ok': ('end-to-end', dict(folders=['a'], image='b.jpg', busy_ok=True)),
    'onnx a.onnx': ('onnx', dict(files=['a.onnx'], backends=['onnxruntime', 'openvino'])),
    'growth --family nextvit': ('growth', dict(family='nextvit', backends=['openvino'], min_runs=30)),
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
            signature = inspect.signature(getattr(real, function))

            def stand_in(name=name, signature=signature, **options):
                signature.bind(**options)
                called.append((name, options))

            monkeypatch.setattr(real, function, stand_in)
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


@pytest.mark.parametrize(
    'words',
    ['deployment --batch 2', '--batch 2 deployment', 'deploymnt', '', 'backbone --images 2', 'onnx a --modes x'],
)
def test_what_a_command_does_not_take_is_refused(run, capsys, words):
    with pytest.raises(SystemExit) as end:
        run(words)
    assert end.value.code == 2
    assert 'error:' in capsys.readouterr().err


def test_help_names_every_command(run, capsys):
    with pytest.raises(SystemExit) as end:
        run('--help')
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert all(name in out for name in FUNCTIONS)
