"""Errors of predictions as the page of the validation has them, and the networks that it rebuilds from papers."""

import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools/dev'))
    yield
    for name in [name for name in sys.modules if name.split('.')[0] == 'validation']:
        del sys.modules[name]


def test_errors_by_hand():
    from validation.study import errors

    found = errors([2, 3, 12], [1, 4, 12], [1, 1, 2])
    assert found == dict(networks=3, spearman=1.0, median_error=0.25, p90_error=0.85)
    assert errors([1, 2, 2], [3, 2, 1], [1, 1, 1])['spearman'] == pytest.approx(-(0.75**0.5), abs=1e-3)


@pytest.mark.parametrize(('name', 'params', 'macs'), [('CSWinT', 22.3, 4.3), ('UniFormerS', 21.0, 3.6)])
def test_networks_of_papers_have_their_published_size(name, params, macs):
    """CSWin-T: 23 M and 4.3 G. UniFormer-S: 22 M with its classifier, and 3.6 G."""
    from validation import papers

    with torch.device('meta'), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = getattr(papers, name)().eval()
        network(torch.empty(1, 3, 224, 224))
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(params, abs=0.06)
    assert counter.get_total_flops() / 2e9 == pytest.approx(macs, abs=0.05)


def test_every_published_latency_has_its_source_and_use():
    import yaml
    from validation.study import targets

    told = yaml.safe_load((ROOT / 'docs/results/latency_published.yaml').read_text())
    assert {row['source'] for row in told['t4']} | {'timm'} == set(told['sources'])
    for target in targets(ROOT / 'docs/results'):
        uses = [case.use for case in target.cases]
        networks = {case.network for case in target.cases if case.use == 'calibration'}
        assert uses.count('calibration') == len(networks) == 5, target.name
        others = [case for case in target.cases if case.use not in ('calibration', 'same-network')]
        assert not networks & {case.network for case in others} and len(others) >= 20
