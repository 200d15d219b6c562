"""The benchmark of the backbones, on a tiny one: rows, export, pictures, and messages for bad input."""

import json

import onnx
import pytest
import torch

from mmtrtvit.benchmark import backbones
from mmtrtvit.benchmark.backbones import benchmark_backbones, export_backbone
from mmtrtvit.errors import ConfigError, DeployError
from mmtrtvit.models import TRTViT

TINY = dict(
    widths=(64, 64, 64, 128), depths=(1, 1, 1, 2), block_types=('C', 'C', 'C', 'M'), provenance='own choice: for a test'
)


@pytest.fixture(scope='module')
def outcome(tmp_path_factory):
    out = tmp_path_factory.mktemp('bench')
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TRTViT.arch_settings, 'tiny', TINY)
        patch.setitem(TRTViT.arch_settings, 'other', dict(TINY, depths=(1, 1, 2, 1)))
        limits = dict(warmup_runs=1, warmup_seconds=0.0, min_runs=3, min_seconds=0.0)
        return benchmark_backbones(['tiny', 'other', 'tiny'], size=33, batch=2, out=out, threads=1, **limits), out


def test_rows_say_what_they_were_measured_on(outcome):
    result, out = outcome
    assert json.loads((out / 'backbones.json').read_text()) == result
    assert [(row['arch'], row['runtime']) for row in result['latency']] == [
        (arch, runtime) for arch in ('tiny', 'other') for runtime in ('PyTorch', 'ONNX Runtime')
    ]
    for row in result['latency']:
        assert (row['kind'], row['scope'], row['unit'], row['shape']) == ('measured', 'backbone', 'ms', '2x3x33x33')
        assert (row['precision'], row['batch']) == ('fp32', 2) and row['runs'] <= len(row['values'])
        assert row['machine']['torch_threads'] == 1 and row['machine']['processor']
        assert row['versions']['torch'] == torch.__version__ and 'onnxruntime' in row['versions']


def test_both_runtimes_give_the_same(outcome):
    for row in outcome[0]['difference']:
        assert 0 < row['mean'] <= row['max']
        assert row['relative'] < 1e-5


def test_complexity_rows(outcome):
    tiny, other = outcome[0]['complexity']
    assert tiny['params'] != other['params']
    assert tiny['macs'] == sum(part['macs'] for part in tiny['parts'].values()) > 0
    assert 'native_layer_norm' in tiny['skipped']


def test_threads_are_as_before(outcome):
    before = torch.get_num_threads()
    with backbones._threads(before + 1) as used:
        assert used == before + 1
    assert torch.get_num_threads() == before


@pytest.fixture
def tiny():
    return TRTViT(arch=TINY).eval()


def test_exported_graph(tiny, tmp_path):
    tiny.switch_to_deploy()
    operators = export_backbone(tiny, torch.rand(1, 3, 64, 64), tmp_path / 'tiny.onnx')
    assert operators['LayerNormalization'] == 2 * TINY['depths'][-1]
    graph = onnx.load(tmp_path / 'tiny.onnx')
    onnx.checker.check_model(graph)
    assert [output.name for output in graph.graph.output] == ['stride4', 'stride8', 'stride16', 'stride32']
    assert {node.domain for node in graph.graph.node} == {''}


def test_training_form_is_refused(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(backbones, 'OPSET', 16)
    with pytest.raises(DeployError, match='0 LayerNormalization'):
        export_backbone(tiny, torch.rand(1, 3, 64, 64), tmp_path / 'tiny.onnx')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(size=0), '--size 0'),
        (dict(batch=-1), '--batch -1'),
        (dict(threads=0), '--threads 0'),
        (dict(archs=['e']), '--archs e: none.*some of a, b'),
    ],
)
def test_bad_input(settings, message, tmp_path):
    with pytest.raises(ConfigError, match=f'(?s){message}'):
        benchmark_backbones(out=tmp_path / 'bench', **settings)
    assert not (tmp_path / 'bench').exists()
