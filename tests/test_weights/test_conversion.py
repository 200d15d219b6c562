"""Conversion: every tensor in its place, a report of all of them, and one message for what is no such checkpoint."""

import argparse
import hashlib
import importlib.util
import json
import os
import sys

import pytest
import torch
import torch.nn.functional as F

from mmtrtvit.checkpoint import PROVENANCE_KEY
from mmtrtvit.errors import CheckpointError, ConfigError, UserError
from mmtrtvit.models import EfficientFormer, NextViT
from mmtrtvit.weights.conversion import convert_weights
from mmtrtvit.weights.sources import CONVERTIBLE

# a ResNet fills TRT-ViT-D in part: test_resnet.py
CASES = [(family, source) for family, about in CONVERTIBLE.items() if family != 'trtvit' for source in about.sources]


@pytest.fixture
def saved(tmp_path):
    def save(content, name='theirs.pth'):
        path = tmp_path / name
        torch.save(content, path)
        return path

    return save


@pytest.mark.parametrize(('family', 'source'), CASES)
def test_every_tensor_has_its_place(elsewhere, saved, tmp_path, family, source):
    model, weights = elsewhere(family, source)
    path, out = saved(weights), tmp_path / 'new folder' / 'ours.pth'
    report = convert_weights(path, family, out)
    assert (report.source, report.arch, report.family) == (source, 'small', family)
    assert report.mapped.keys() | report.dropped.keys() == weights.keys() and all(report.dropped.values())
    assert not report.mapped.keys() & report.dropped.keys()

    checkpoint = torch.load(out, weights_only=True)
    given, expected = checkpoint['state_dict'], model.state_dict()
    expected = {name: value for name, value in expected.items() if not name.startswith('output_norms.')}
    assert given.keys() == expected.keys() == set(report.mapped.values())
    for name, value in given.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)
    # The way back, by the report alone.
    back = {old: given[new] for old, new in report.mapped.items()}
    assert all(torch.equal(back[name], weights[name]) for name in back)

    assert json.loads(out.with_suffix('.json').read_text()) == report.to_dict()
    told = checkpoint['meta'][PROVENANCE_KEY]
    assert told['sha256'] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (told['file'], told['family'], told['arch'], told['source']) == ('theirs.pth', family, 'small', source)
    assert told['settings'] == ({'kv_pool': 'tokens'} if family == 'nextvit' else {})
    assert str(tmp_path) not in out.with_suffix('.json').read_text()
    assert sorted(entry.name for entry in out.parent.iterdir()) == ['ours.json', 'ours.pth']


@pytest.mark.parametrize(
    ('family', 'source', 'settings'),
    [
        ('nextvit', 'official', {}),
        ('nextvit', 'timm', dict(out_indices=(1, 2))),
        ('efficientformer', 'mmpretrain', dict(final_norm=True)),
        ('efficientformer', 'official', {}),
    ],
)
def test_a_backbone_loads_what_was_converted(elsewhere, saved, tmp_path, family, source, settings):
    model, weights = elsewhere(family, source)
    out = tmp_path / 'ours.pth'
    convert_weights(saved({'model': weights}), family, out)
    init_cfg = dict(type='Pretrained', checkpoint=str(out))
    backbone = CONVERTIBLE[family].backbone(arch='small', init_cfg=init_cfg, **settings).eval()
    backbone.init_weights()
    x = torch.rand(1, 3, 64, 96)
    model.final_norm = model.final_norm if settings.get('final_norm') else torch.nn.Identity()
    with torch.no_grad():
        expected, given = model(x), backbone(x)
    for index, y in zip(backbone.out_indices, given, strict=True):
        # The norms of dense prediction are new: ones and zeros.
        wanted = (
            F.group_norm(expected[index], 1) if hasattr(backbone, 'output_norms') and not settings else expected[index]
        )
        assert y.isfinite().all() and y.std() > 0
        torch.testing.assert_close(y, wanted)


def test_what_is_missing_is_said(elsewhere, saved, tmp_path):
    _, weights = elsewhere('efficientformer', 'timm')
    headless = {name: value for name, value in weights.items() if not name.startswith(('norm.', 'head'))}
    report = convert_weights(saved(headless), 'efficientformer', tmp_path / 'ours.pth')
    norms = [f'final_norm.{name}' for name in ('weight', 'bias')]
    new = [f'output_norms.{stage}.{name}' for stage in range(4) for name in ('weight', 'bias')]
    assert list(report.missing) == norms + new
    assert all('classifier' in report.missing[name] for name in norms)
    assert all('new in dense prediction' in report.missing[name] for name in new)
    assert '2 missing: the norm before' in str(report) and '8 missing: new in dense' in str(report)


def test_what_stands_beside_the_weights_is_said(elsewhere, saved, tmp_path, capsys):
    _, weights = elsewhere('nextvit', 'official')
    checkpoint = dict(
        model={f'module.{name}': value for name, value in weights.items()},
        optimizer={'state': {0: torch.zeros(3)}},
        epoch=299,
        args=argparse.Namespace(lr=1e-3),
    )
    report = convert_weights(saved(checkpoint), 'nextvit', tmp_path / 'ours.pth', kv_pool='windows')
    assert report.beside == {'optimizer': 'dict', 'epoch': 'int', 'args': 'Namespace'}
    assert report.settings == {'kv_pool': 'windows'}
    printed = capsys.readouterr().out
    assert 'left out: optimizer, epoch, args' in printed and "kv_pool='windows'" in printed
    assert torch.load(tmp_path / 'ours.pth', weights_only=True).keys() == {'meta', 'state_dict'}


class Code:
    def __reduce__(self):
        return os.mkdir, ('ran',)


def edited(**changes):
    return lambda weights: {**weights, **changes}


ALTERED = {
    'unknown key': (edited(**{'stages.0.blocks.0.extra.weight': torch.zeros(1)}), 'unknown names: stages.0.blocks.0'),
    'missing key': (
        lambda weights: {name: value for name, value in weights.items() if name != 'stem.2.conv.weight'},
        "not Next-ViT of size 'small': stem.2.conv.weight is missing",
    ),
    'missing block': (
        lambda weights: {name: value for name, value in weights.items() if 'stages.3.' not in name},
        "not Next-ViT of size 'small': stages.3.0.*and 13 more",
    ),
    'wrong shape': (
        edited(**{'stem.0.conv.weight': torch.zeros(64, 1, 3, 3)}),
        r'stem.0.conv.weight is \[64, 1, 3, 3\], not \[64, 3, 3, 3\]',
    ),
    'not finite': (
        edited(**{'stem.0.conv.weight': torch.full((64, 3, 3, 3), torch.nan)}),
        'not a number: stem.0.conv.weight',
    ),
    'no tensors': (lambda weights: {'state_dict': {}}, 'there are none'),
    'something else': (lambda weights: {'features.conv0.weight': torch.zeros(1)}, 'no implementation of Next-ViT'),
    'ours already': (lambda weights: {'stages.0.0.mhca.1.weight': torch.zeros(1)}, 'of this package already'),
    'converted': (lambda weights: {'meta': {PROVENANCE_KEY: {'family': 'nextvit'}}}, 'converted already'),
    'a list': (lambda weights: list(weights.values()), 'holds a list'),
    'code': (lambda weights: {**weights, 'x': Code()}, r'Reading it would run (posix|nt)\.mkdir'),
}


@pytest.mark.parametrize('case', ALTERED)
def test_what_is_no_such_checkpoint_is_refused(elsewhere, saved, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    change, message = ALTERED[case]
    path = saved(change(elsewhere('nextvit', 'timm')[1]))
    with pytest.raises(CheckpointError, match=f'(?s){message}') as caught:
        convert_weights(path, 'nextvit', tmp_path / 'ours.pth')
    assert 'theirs.pth' in str(caught.value) and 'Fix: ' in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ['theirs.pth']


@pytest.mark.parametrize(('family', 'source'), CASES)
def test_another_family_is_refused_by_name(elsewhere, saved, tmp_path, family, source):
    path = saved(elsewhere(family, source)[1])
    for other in CONVERTIBLE.keys() - {family}:
        with pytest.raises(CheckpointError, match=rf'checkpoint of {CONVERTIBLE[family].title} \({source}\)') as caught:
            convert_weights(path, other, tmp_path / 'ours.pth')
        assert f'--family {family}' in str(caught.value)


def test_damaged_files_are_refused(elsewhere, saved, tmp_path):
    path = saved(elsewhere('nextvit', 'timm')[1])
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], content[:1000], b'', b'not a checkpoint'):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match='cannot be read'):
            convert_weights(path, 'nextvit', tmp_path / 'ours.pth')
    with pytest.raises(CheckpointError, match='no checkpoint at'):
        convert_weights(tmp_path / 'none.pth', 'nextvit', tmp_path / 'ours.pth')
    with pytest.raises(CheckpointError, match='is an address'):
        convert_weights('https://example.org/x.pth', 'nextvit', tmp_path / 'ours.pth')
    assert [entry.name for entry in tmp_path.iterdir()] == ['theirs.pth']


@pytest.mark.parametrize(
    ('settings', 'error', 'message'),
    [
        (dict(family='vit'), ConfigError, '--family vit is unknown'),
        (dict(source='mmpretrain'), ConfigError, '--source mmpretrain does not exist for Next-ViT'),
        (dict(source='official'), CheckpointError, 'names of timm, not of official'),
        (dict(arch='xl'), ConfigError, '--arch xl does not exist'),
        (dict(arch='b'), CheckpointError, "not Next-ViT of size 'b'.*--arch small"),
        (dict(kv_pool='rows'), ConfigError, '--kv-pool rows does not exist'),
        (dict(out='ours.txt'), ConfigError, 'not the name of a checkpoint'),
        (dict(out='theirs.pth'), ConfigError, 'the source itself'),
        (dict(out='theirs.pth/ours.pth'), ConfigError, 'cannot be written'),
        (dict(out='.'), ConfigError, 'a folder'),
    ],
)
def test_arguments_that_cannot_be_used(elsewhere, saved, tmp_path, settings, error, message):
    path = saved(elsewhere('nextvit', 'timm')[1])
    settings = {'family': 'nextvit', **settings, 'out': tmp_path / settings.get('out', 'ours.pth')}
    before = path.read_bytes()
    with pytest.raises(error, match=f'(?s){message}'):
        convert_weights(path, **settings)
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ['theirs.pth']


def test_pooling_is_next_vits_alone(elsewhere, saved, tmp_path):
    path = saved(elsewhere('efficientformer', 'timm')[1])
    with pytest.raises(ConfigError, match='--kv-pool tokens does not exist for EfficientFormer'):
        convert_weights(path, 'efficientformer', tmp_path / 'ours.pth', kv_pool='tokens')


def test_safetensors_without_their_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    path = tmp_path / 'theirs.safetensors'
    path.write_bytes(b'x')
    with pytest.raises(CheckpointError, match='pip install safetensors'):
        convert_weights(path, 'nextvit', tmp_path / 'ours.pth')


def test_a_failed_conversion_leaves_the_last_one(elsewhere, saved, tmp_path):
    _, weights = elsewhere('nextvit', 'timm')
    out = tmp_path / 'ours.pth'
    convert_weights(saved(weights), 'nextvit', out)
    before = out.read_bytes(), out.with_suffix('.json').read_bytes()
    with pytest.raises(UserError):
        convert_weights(saved({**weights, 'x': torch.zeros(1)}), 'nextvit', out)
    assert (out.read_bytes(), out.with_suffix('.json').read_bytes()) == before


def test_the_published_sizes_are_told_apart():
    """By shapes alone: every size fits itself and no other."""
    from mmtrtvit.weights.conversion import _faults, _shapes

    for family, model in (('nextvit', NextViT), ('efficientformer', EfficientFormer)):
        shapes = {arch: _shapes(CONVERTIBLE[family], arch, final_norm=True) for arch in model.arch_settings}
        with torch.device('meta'):
            weights = {arch: {name: torch.empty(shape) for name, shape in of.items()} for arch, of in shapes.items()}
        assert len(shapes) == 3
        for arch, given in weights.items():
            assert [other for other, expected in shapes.items() if not _faults(given, expected)] == [arch]


def test_the_command_line(elsewhere, saved, root, tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location('convert_weights', root / 'tools' / 'convert_weights.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    path, out = saved(elsewhere('nextvit', 'official')[1]), tmp_path / 'ours.pth'
    options = ['--family', 'nextvit', '--source', 'official', '--arch', 'small', '--kv-pool', 'windows']
    monkeypatch.setattr(sys, 'argv', ['tools/convert_weights.py', str(path), '--out', str(out), *options])
    assert tool.main() == 0
    told = torch.load(out, weights_only=True)['meta'][PROVENANCE_KEY]
    assert (told['source'], told['arch'], told['settings']) == ('official', 'small', {'kv_pool': 'windows'})
    printed = capsys.readouterr().out
    assert (
        '[3/3] Writing' in printed and 'nextvit small of official' in printed and 'dropped: the classifier' in printed
    )


def test_the_command_line_refuses(fresh_tool, tmp_path):
    """In a process of its own: one message, exit status 2."""
    torch.save({'layer1.0.conv1.weight': torch.zeros(1)}, tmp_path / 'resnet.pth')
    done = fresh_tool(
        'convert_weights', *['resnet.pth', '--out', 'ours.pth', '--family', 'nextvit', '--source', 'timm']
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count('Error: ') == 1 and 'Traceback' not in done.stderr
    assert 'is a checkpoint of ResNet, not of Next-ViT' in done.stderr and 'resnet.pth' in done.stderr
    assert not (tmp_path / 'ours.pth').exists()
