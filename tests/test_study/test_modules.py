"""A network block by block: which blocks there are, and their time, multiply-accumulates and traffic."""

import time

import pytest
import torch
import torch.nn as nn

from mmtrtvit.errors import CheckpointError, ConfigError, DataError, DeployError
from mmtrtvit.measurement import read_measurements, schema
from mmtrtvit.study.modules import OUTSIDE, Watch, blocks_of, module_table, shares, study_modules, verdict


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4))

    def forward(self, x, *, again=None):
        return {'x': [self.mlp(x)]}


class Stage(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.blocks = nn.ModuleList([block, Block()])
        self.norm = nn.LayerNorm(4)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.data_preprocessor = nn.Identity()
        shared = Block()
        self.backbone = nn.Module()
        self.backbone.stem = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.backbone.stages = nn.ModuleList([Stage(shared), nn.Sequential(Block())])
        self.head = nn.Module()
        self.head.conv = nn.Linear(4, 4)
        self.again = nn.ModuleList([shared])


def test_blocks_are_the_elements_of_lists_and_parts_without_any():
    network = Network()
    found = blocks_of(network)
    assert list(found) == [
        'backbone.stem.0',
        'backbone.stem.1',
        'backbone.stages.0.blocks.0',
        'backbone.stages.0.blocks.1',
        'backbone.stages.0.norm',
        'backbone.stages.1.0',
        'head',
    ]
    assert all(network.get_submodule(name) is module for name, module in found.items())


def test_a_watch_adds_up_time_and_traffic():
    block = Block()
    watch = Watch({'block': block}, 'cpu')
    image = torch.rand(3, 4)
    with torch.no_grad():
        block(image)
        block(image, again=torch.rand(5))
    weights = 4 * sum(parameter.numel() for parameter in block.parameters())
    assert watch.traffic == {'block': 2 * (weights + 3 * 4 * 4 + 3 * 4 * 4) + 5 * 4}
    assert watch.seconds['block'] > 0
    watch.reset()
    assert watch.seconds == watch.traffic == {}


def test_a_slow_block_is_seen():
    fast, slow = nn.Identity(), nn.Identity()
    slow.forward = lambda x: time.sleep(0.02)
    watch = Watch(dict(fast=fast, slow=slow), 'cpu')
    fast(1), slow(1)
    assert watch.seconds['slow'] > 0.015 > watch.seconds['fast']


ROW = dict(
    parts_ms={'stem': 1.0, 'body': 6.0, 'tail': 2.9, 'idle': 0.05, OUTSIDE: 0.05},
    limit=dict(macs_per_second=1e12),
    extra=dict(
        modules={
            'stem': dict(type='Conv', params=100, macs=10**8, bytes=10**6),
            'body': dict(type='Block', params=1000, macs=3 * 10**9, bytes=10**6),
            'tail': dict(type='Linear', params=1000, macs=29 * 10**6, bytes=10**6),
            'idle': dict(type='Conv', params=1, macs=1, bytes=10**3),
        }
    ),
)


def test_the_slowest_and_the_least_efficient_are_named():
    assert [block['name'] for block in shares(ROW)] == ['body', 'tail', 'stem', 'idle']
    body = shares(ROW)[0]
    assert (body['share'], body['intensity'], body['rate'], body['reached']) == pytest.approx((0.6, 3000, 5e11, 0.5))
    slowest, inefficient = verdict(ROW)
    assert slowest == 'Slowest: body (6.0 ms, 60%), tail (2.9 ms, 29%), stem (1.0 ms, 10%)'
    assert inefficient.endswith(': tail (1% of the limit), stem (10% of the limit), body (50% of the limit)')
    assert verdict(dict(ROW, limit=None))[1].endswith('body (5e+11 MACs a second)')
    assert module_table(ROW).splitlines()[-1].startswith(f'| {OUTSIDE} |  | 0.05 | 0.5% |')


@pytest.mark.parametrize('trained', [False, True])
def test_a_detector_block_by_block(small, tmp_path, quick, capsys, trained):
    network = small('detection')
    checkpoint = str(network.checkpoint) if trained else None
    row = study_modules(str(network.file), checkpoint, size='61x83', out=tmp_path, **quick)
    assert (row['status'], row['scope'], row['image']) == ('OK', 'end-to-end', [61, 83])
    assert read_measurements(tmp_path / 'rows.jsonl')[-1] == row
    modules = row['extra']['modules']
    assert {'backbone.stages.3.0', 'backbone.stem.0', 'neck.lateral_convs.0', 'bbox_head.retina_cls'} <= set(modules)
    assert modules['backbone.stages.3.1']['type'] == 'MixBlockC' and modules['backbone.stages.3.1']['macs'] > 0
    assert list(row['parts_ms']) == [*modules, OUTSIDE]
    assert sum(about['macs'] for about in modules.values()) == row['macs']
    assert sum(row['parts_ms'].values()) == pytest.approx(row['p50_ms'], rel=0.5)
    out = capsys.readouterr().out
    assert 'Slowest: ' in out and 'Least efficient' in out and '| backbone.stages.3.0 | MixBlockC |' in out
    pytest.importorskip('jsonschema').Draft202012Validator(schema()).validate(row)


def test_another_image_size_changes_the_costs(small, tmp_path, quick):
    config = str(small('detection').file)
    costs = [study_modules(config, size=size, out=tmp_path, **quick)['macs'] for size in ('64x64', '64x128')]
    assert costs[0] != costs[1]


def test_wrong_input_is_refused(small, tmp_path, quick):
    network = small('detection')
    config = str(network.file)
    (tmp_path / 'none.py').write_text("model = dict(type='A')\n")
    with pytest.raises(ConfigError, match='(?s)no model.backbone.*Fix: '):
        study_modules(str(tmp_path / 'none.py'), out=tmp_path, **quick)
    with pytest.raises(CheckpointError, match='(?s)Fix: '):
        study_modules(config, str(tmp_path / 'none.pth'), out=tmp_path, **quick)
    with pytest.raises(DataError, match='(?s)Fix: '):
        study_modules(config, image=str(tmp_path / 'none.jpg'), out=tmp_path, **quick)
    with pytest.raises(ConfigError, match='(?s)is not a size.*Fix: '):
        study_modules(config, size='0x3', out=tmp_path, **quick)
    assert not (tmp_path / 'rows.jsonl').exists()


def test_a_network_that_does_not_run_is_an_error(small, tmp_path, quick, monkeypatch):
    monkeypatch.setattr('mmtrtvit.study.modules.Reference.test', lambda *_: 1 / 0)
    with pytest.raises(DeployError, match='(?s)does not run: ZeroDivisionError.*Fix: '):
        study_modules(str(small('detection').file), size='32', out=tmp_path, **quick)
