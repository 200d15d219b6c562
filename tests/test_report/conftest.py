"""Made-up rows of three networks, one of which fails in one backend."""

import pytest

from mmtrtvit.latency import Latency
from mmtrtvit.measurement import append_row, measurement_row

MACHINE = dict(processor='A Processor', cores=2, torch_threads=2, gpu=None, system='Linux')


@pytest.fixture(scope='module')
def make_row():
    def make(name, values, *, backend='openvino', shape=(1, 3, 224, 224), failure='', settled=True, **facts):
        timed = Latency(name, facts.pop('scope', 'backbone'), list(values), {}, settled=settled, failure=failure)
        common = dict(run='1', mode='plain', precision='fp32', device='cpu', device_name='A Processor', threads=2)
        common |= dict(machine=MACHINE, conditions=dict(busy=''), versions=dict(mmtrtvit='0.1'), origin='ours')
        return measurement_row(timed, **{**common, **dict(backend=backend, shape=shape and list(shape)), **facts})

    return make


@pytest.fixture(scope='module')
def rows(make_row):
    """Two sizes and a peer of timm in two backends, batches, an end-to-end row, a matrix product."""
    limit = dict(of='a product', macs_per_second=1e12, share=0.5)
    networks = {
        'Next-ViT-S': dict(family='nextvit', arch='s', params=30_000_000, macs=5_790_000_000),
        'Next-ViT-L': dict(family='nextvit', arch='l', params=56_000_000, macs=10_750_000_000),
        'swin (timm)': dict(
            origin='timm', source='swin_tiny_patch4_window7_224', params=28_000_000, macs=4_500_000_000
        ),
    }
    times = {'Next-ViT-S': 10.0, 'Next-ViT-L': 20.0, 'swin (timm)': 40.0}
    found = []
    for name, facts in networks.items():
        found.append(make_row(name, [times[name]] * 4, peak_memory_bytes=100 << 20, limit=limit, **facts))
        failure = 'RuntimeError: no <kernel> & no hope' if 'timm' in name else ''
        values = [] if failure else [3 * times[name]] * 4
        found.append(make_row(name, values, backend='onnxruntime', failure=failure, **facts))
    facts = networks['Next-ViT-S']
    for batch in (2, 4):
        more = dict(facts, macs=batch * facts['macs'], peak_memory_bytes=(100 * batch) << 20)
        found.append(make_row('Next-ViT-S', [10.0 * batch**0.5] * 4, shape=(batch, 3, 224, 224), run='2', **more))
    restless = [10.0, 30.0, 20.0, 40.0]
    found.append(make_row('Next-ViT-S', restless, shape=(1, 3, 448, 448), settled=False, run='3', **facts))
    parts = dict(preprocessing=10.0, network=80.0, postprocessing=10.0)
    found.append(
        make_row(
            'Next-ViT-S', [100.0] * 4, scope='end-to-end', method='maskrcnn', image=[480, 640], parts_ms=parts, **facts
        )
    )
    found.append(make_row('matrix product', [1.0] * 4, scope='gemm', shape=None, origin=None))
    return found


@pytest.fixture
def rows_file(rows, tmp_path):
    path = tmp_path / 'rows.jsonl'
    for row in rows:
        append_row(row, path)
    return path
