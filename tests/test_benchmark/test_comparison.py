"""All families side by side: the run on small networks."""

import json

import pytest

from mmtrtvit.benchmark import backbone_complexity, backbones
from mmtrtvit.benchmark.backbones import benchmark_comparison, measure_backbones
from mmtrtvit.errors import ConfigError, DeployError
from mmtrtvit.models import NextViT, TRTViT

SMALL = {
    'trtvit': (
        TRTViT,
        dict(widths=(64, 64, 64, 128), depths=(1, 1, 1, 2), block_types=('C', 'C', 'C', 'M'), provenance='own choice'),
    ),
    'nextvit': (
        NextViT,
        dict(
            widths=(32, 32, 64, 64),
            ntb_widths=(128, 128, 128, 128),
            depths=(1, 2, 1, 1),
            block_types=('C', 'CT', 'C', 'C'),
            provenance='own choice',
        ),
    ),
}


@pytest.fixture(scope='module')
def outcome(tmp_path_factory):
    out = tmp_path_factory.mktemp('comparison')
    with pytest.MonkeyPatch.context() as patch:
        for model, settings in SMALL.values():
            patch.setitem(model.arch_settings, 'small', settings)
        result = benchmark_comparison(
            list(SMALL),
            ['small'],
            out,
            size=64,
            batch=2,
            threads=1,
            warmup_runs=1,
            warmup_seconds=0.0,
            min_runs=3,
            min_seconds=0.0,
        )
    backbone_complexity.cache_clear()
    return result, out


def test_every_family_runs_in_both_runtimes(outcome):
    result, out = outcome
    assert json.loads((out / 'comparison.json').read_text()) == result
    expected = [(family, 'small', runtime) for family in SMALL for runtime in ('ONNX Runtime', 'OpenVINO')]
    assert [(row['family'], row['arch'], row['runtime']) for row in result['latency']] == expected
    assert [(row['family'], row['arch'], row['runtime']) for row in result['difference']] == expected
    for row in result['latency']:
        assert (row['kind'], row['scope'], row['shape'], row['runs']) == ('measured', 'backbone', '2x3x64x64', 3)
        assert row['machine']['torch_threads'] == 1
        assert {'torch', 'onnxruntime', 'openvino', 'mmtrtvit'} <= row['versions'].keys()
    for row in result['difference']:
        assert 0 < row['relative'] < 1e-4
    macs = [row['macs'] for row in result['complexity']]
    assert len(set(macs)) == 2 and all(value > 0 for value in macs)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(families=['resnet']), '--families resnet is unknown.*trtvit'),
        (dict(archs=['xxl']), '--archs xxl: none.*l1'),
        (dict(families=['nextvit'], archs=['d']), '--archs d: none.*b, l, s'),
        (dict(size=0), '--size 0'),
        (dict(threads=0), '--threads 0'),
    ],
)
def test_bad_input(settings, message, tmp_path):
    with pytest.raises(ConfigError, match=f'(?s){message}'):
        benchmark_comparison(out=tmp_path / 'out', **settings)
    assert not (tmp_path / 'out').exists()


def test_a_missing_runtime_is_one_message(monkeypatch):
    def absent(name, *args, **kwargs):
        raise DeployError(f'{name} is not installed.')

    monkeypatch.setattr(backbones, 'open_session', absent)
    monkeypatch.setattr(backbones, 'BACKENDS', {'OpenVINO': 'json'})
    monkeypatch.setattr(backbones, '_MODULES', ())
    monkeypatch.setattr(json, '__version__', '1', raising=False)
    monkeypatch.setitem(TRTViT.arch_settings, 'small', SMALL['trtvit'][1])
    with pytest.raises(DeployError, match='json is not installed'):
        measure_backbones([('trtvit', 'small')], ['OpenVINO'], size=64)
