"""Blocks and networks: what they are, and the rows that measuring them leaves."""

import pytest
import torch

from mmtrtvit.errors import ConfigError
from mmtrtvit.measurement import read_measurements, schema
from mmtrtvit.models.backbones.trt_vit import BottleNeck, MixBlockA, MixBlockB, MixBlockC, Transformer
from mmtrtvit.study import blocks, networks
from mmtrtvit.study.blocks import BLOCKS, STAGES, block_source, study_blocks
from mmtrtvit.study.networks import DEPTHS, NETWORKS, REFINED, STUDIES, WIDTHS, Network, names_of, study_networks

CLASSES = dict(BottleNeck=BottleNeck, Transformer=Transformer, MixBlockA=MixBlockA, MixBlockB=MixBlockB)
CLASSES.update(MixBlockC=MixBlockC)
TINY = ((64, 8), (64, 4), (64, 2), (128, 1))


@pytest.mark.parametrize('stage', range(4))
@pytest.mark.parametrize('name', BLOCKS)
def test_a_block_keeps_channels_and_resolution(monkeypatch, name, stage):
    monkeypatch.setattr(blocks, 'STAGES', TINY)
    source, (channels, side) = block_source(name, stage), TINY[stage]
    block = source.make().eval()
    assert type(block) is CLASSES[name]
    image = torch.rand(2, channels, side, side)
    deployed = source.build()
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in deployed.modules())
    with torch.no_grad():
        assert block(image).shape == deployed(image).shape == image.shape


def test_costs_of_blocks_are_those_of_their_formulas():
    channels, side = STAGES[0]
    mid, pixels = channels // 4, side * side
    weights = 2 * channels * mid + 9 * mid * mid
    found = block_source('BottleNeck', 0).count((1, channels, side, side))
    assert found == dict(params=weights + 2 * (mid + mid + channels), macs=weights * pixels)
    found = block_source('Transformer', 3).count((1, 2048, 7, 7))
    assert found['macs'] == 10 * 2048**2 * 49 + 2 * 49**2 * 2048


def test_blocks_leave_rows(monkeypatch, tmp_path, quick):
    monkeypatch.setattr(blocks, 'STAGES', TINY)
    real = blocks.BlockSource.build

    def build(source):
        if source.letter == 'T' and source.stage == 1:
            raise RuntimeError('no room')
        return real(source)

    monkeypatch.setattr(blocks.BlockSource, 'build', build)
    rows = study_blocks(['BottleNeck', 'Transformer'], tmp_path, batches=[2], backends=['onnxruntime'], **quick)
    assert read_measurements(tmp_path / 'rows.jsonl') == rows and len({row['run'] for row in rows}) == 1
    found = {row['name']: row for row in rows if row['scope'] == 'block'}
    assert len(found) == 8
    failed = found.pop('Transformer, stage 2')
    assert failed['status'] == 'FAILED' and 'no room' in failed['reason']
    for row in found.values():
        about = row['extra']['study']
        channels, side = TINY[about['stage'] - 1]
        assert row['status'] == 'OK' and row['shape'] == [2, channels, side, side]
        assert row['name'] == f'{about["block"]}, stage {about["stage"]}' and row['limit']['share'] > 0
        assert row['params'] and row['macs']
    validator = pytest.importorskip('jsonschema').Draft202012Validator(schema())
    for row in rows:
        validator.validate(row)


def test_networks_leave_rows(monkeypatch, tmp_path, quick):
    monkeypatch.setattr(networks, 'WIDTHS', (64, 64, 64, 64))
    monkeypatch.setitem(networks.STUDIES, 'small', ('a', 'b'))
    for name, types in dict(a='CCCC', b='CCCM').items():
        monkeypatch.setitem(networks.NETWORKS, name, Network(types, (1, 1, 1, 1)))
    rows = study_networks(['small'], tmp_path, shapes=['32'], backends=['pytorch'], **quick)
    # a row is left as soon as its network is steady
    a, b = sorted((row for row in rows if row['scope'] == 'backbone'), key=lambda row: row['name'])
    assert (a['name'], b['name'], b['status']) == ('a', 'b', 'OK') and a['params'] != b['params']
    assert b['extra']['study'] == dict(types='C-C-C-M', depths=[1, 1, 1, 1], shrink_ratio=0.5)


def test_networks_differ_in_one_thing_at_a_time():
    assert {name for names in STUDIES.values() for name in names} == set(NETWORKS)
    assert sum(DEPTHS) == sum(REFINED)
    assert names_of(['placement', 'shrink']).count('MixNetC') == 1
    for name in STUDIES['placement']:
        types = NETWORKS[name].types
        assert types == types.replace('M', 'C')[: 4 - types.count('M')] + 'M' * types.count('M')
    with torch.device('meta'):
        small, large = (NETWORKS[f'MixNetC, R = 0.{r}'].backbone() for r in (25, 75))
        assert [b.stages[3][0].global_channels for b in (small, large)] == [WIDTHS[3] // 4, 3 * WIDTHS[3] // 4]
        for network in NETWORKS.values():  # a quarter of the width is what they are trained with
            whole, part = network.backbone(), network.backbone(0.25)
            assert part.out_channels == tuple(width // 4 for width in whole.out_channels)


@pytest.mark.parametrize(
    ('call', 'option'),
    [
        (lambda out: study_blocks(['BottleNek'], out), '--blocks BottleNek'),
        (lambda out: study_networks(['nets'], out), '--studies nets'),
        (lambda out: study_blocks(out=out, batches=[0]), '--batches 0'),
        (lambda out: study_networks(out=out, backends=['openvin']), '--backends openvin'),
        (lambda out: study_networks(out=out, shapes=['0']), '--shapes or --size 0'),
    ],
)
def test_what_is_not_known_is_refused_before_anything_runs(tmp_path, quick, call, option):
    with pytest.raises(ConfigError, match=f'(?s){option}.*Fix: '):
        call(tmp_path)
    assert not list(tmp_path.iterdir())
