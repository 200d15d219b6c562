"""Checkpoints: what is loaded, what is refused, and what is said about it."""

import functools
import gzip
import http.server
import io
import logging
import pickle
import re
import tarfile
import threading
import zipfile

import numpy
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

import mmtrtvit.checkpoint
from mmtrtvit.checkpoint import (
    check_checkpoint,
    compare,
    load_backbone,
    load_checkpoint,
    read_checkpoint,
    weights_of,
)
from mmtrtvit.errors import CheckpointError, ConfigError
from mmtrtvit.models import EfficientFormer, NextViT, TRTViT

ARCH = dict(widths=(16, 16, 32, 32), depths=(1, 1, 1, 2), block_types=('C', 'C', 'C', 'M'))


def build(**settings):
    arch = {**ARCH, **{key: settings.pop(key) for key in ARCH if key in settings}}
    return TRTViT(arch=arch, head_dim=16, **settings)


def randomised(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.normal_(generator=generator)
            else:
                value.fill_(7)
    return network


def names_of(network):
    return [name for name in network.state_dict() if not name.endswith('num_batches_tracked')]


def same(network, other, names=None):
    ours, theirs = network.state_dict(), other.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in names or ours)


@pytest.fixture
def saved(tmp_path):
    def save(content, name='weights.pth', **options):
        torch.save(content, tmp_path / name, **options)
        return tmp_path / name

    return save


@pytest.fixture
def told(monkeypatch):
    """What is logged, with its level."""
    messages = []
    monkeypatch.setattr(
        mmtrtvit.checkpoint,
        'print_log',
        lambda text, logger=None, level=logging.INFO: messages.append((level, text)),
    )
    return messages


# --- loading ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'wrap',
    [
        lambda weights: {'state_dict': weights, 'meta': {'epoch': 3}},
        lambda weights: {'model': weights, 'optimizer': {'state': {}, 'param_groups': []}},
        lambda weights: weights,
        lambda weights: {'state_dict': {f'module.{name}': value for name, value in weights.items()}},
    ],
    ids=['state_dict', 'model', 'bare', 'module.'],
)
def test_round_trip_fills_every_tensor_and_reports_it(saved, told, wrap):
    source, target = randomised(build(), 1), randomised(build(), 2)
    path = saved(wrap(source.state_dict()))
    assert not same(source, target)
    report = load_checkpoint(target, path)
    assert same(source, target)
    assert report.complete
    assert list(report.loaded) == names_of(target)
    assert report.missing == report.unexpected == report.reshaped == ()
    assert told == [(logging.INFO, str(report))]
    assert f'{path}: {len(names_of(target))} of {len(names_of(target))} tensors of the model loaded' in told[0][1]


def test_check_changes_nothing(saved):
    source, target, untouched = randomised(build(), 1), randomised(build(), 2), randomised(build(), 2)
    report, weights = check_checkpoint(target, saved(source.state_dict()))
    assert report.complete and set(weights) == set(source.state_dict())
    assert same(target, untouched)


def test_batch_counters_may_be_absent(saved):
    source, target = randomised(build(), 1), randomised(build(), 2)
    weights = {name: source.state_dict()[name] for name in names_of(source)}
    assert load_checkpoint(target, saved(weights)).complete
    assert same(source, target, names_of(source))


def test_compare_names_what_differs():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    weights = {
        '0.weight': torch.zeros(3, 2),
        '1.weight': torch.zeros(5, 3),
        '1.bias': torch.zeros(4),
        'x': torch.zeros(1),
    }
    report = compare(model, weights, 'here')
    assert report.loaded == ('0.weight', '1.bias')
    assert report.missing == ('0.bias',)
    assert report.unexpected == ('x',)
    assert report.reshaped == (('1.weight', (5, 3), (4, 3)),)
    assert not report.complete
    lines = str(report).split('\n')
    assert lines[0].startswith('here: 2 of 4 tensors of the model loaded, 1 missing, 1 of another shape; 1 in the')
    assert lines[1:] == ['  missing: 0.bias', '  other shape: 1.weight [5, 3] -> [4, 3]', '  unexpected: x']


# --- another architecture -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('theirs', 'said'),
    [
        (dict(widths=(16, 16, 32, 64)), 'other shape: stages.3.0.proj.1.conv.weight [32, 32, 1, 1] -> [16, 32, 1, 1]'),
        (dict(depths=(1, 1, 1, 1)), 'missing: stages.3.1.'),
        (dict(depths=(1, 1, 1, 3)), 'unexpected: stages.3.2.'),
        (dict(depths=(1, 2, 1, 2)), 'unexpected: stages.1.1.conv1.conv.weight'),
        (dict(block_types=('C', 'C', 'T', 'M')), 'missing: stages.2.0.conv1.conv.weight'),
        (dict(out_indices=(0, 1, 2)), 'missing: stages.3.0.'),
    ],
    ids=['wider', 'shallower', 'deeper at the end', 'deeper in the middle', 'other blocks', 'fewer stages'],
)
@pytest.mark.parametrize('load', [load_checkpoint, load_backbone])
def test_another_architecture_is_refused(saved, told, theirs, said, load):
    target, untouched = randomised(build(), 2), randomised(build(), 2)
    path = saved({'state_dict': randomised(build(**theirs), 1).state_dict()})
    with pytest.raises(CheckpointError) as caught:
        load(target, path)
    for part in ('does not belong', str(path), said, 'Expected:', 'Fix:', '--allow-mismatch', 'allow_mismatch'):
        assert part in str(caught.value)
    assert same(target, untouched)
    assert told[0][0] == logging.WARNING


@pytest.mark.parametrize('value', [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(saved, value):
    weights = build().state_dict()
    name = next(name for name, tensor in weights.items() if tensor.is_floating_point())
    weights[name].view(-1)[0] = value
    target = randomised(build(), 2)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(CheckpointError, match=rf'1 of \d+ tensors hold values .*: {re.escape(name)}\.'):
        load_checkpoint(target, saved({'state_dict': weights}), allow_mismatch=True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


@pytest.mark.parametrize('load', [load_checkpoint, load_backbone])
def test_what_fits_is_loaded_when_told_so(saved, told, load):
    source, target, untouched = randomised(build(widths=(16, 16, 32, 64)), 1), randomised(build(), 2), build()
    untouched.load_state_dict(target.state_dict())
    report = load(target, saved(source.state_dict()), allow_mismatch=True)
    fits = [name for name in names_of(target) if source.state_dict()[name].shape == target.state_dict()[name].shape]
    assert list(report.loaded) == fits
    assert same(target, source, fits)
    rest = [name for name in names_of(target) if name not in fits]
    assert rest and same(target, untouched, rest)
    assert told == [(logging.WARNING, str(report))]


def test_a_checkpoint_of_which_nothing_fits_is_refused_all_the_same(saved):
    with pytest.raises(CheckpointError, match=f'0 of {len(names_of(build()))} tensors'):
        load_checkpoint(build(), saved({'state_dict': {'x': torch.zeros(1)}}), allow_mismatch=True)


def test_a_long_report_is_cut_and_says_so(saved):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(build(), saved({'x': torch.zeros(1)}))
    total = len(names_of(build()))
    assert str(caught.value).count('missing: ') == 7
    assert f'missing: ... and {total - 6} more' in str(caught.value)


def test_a_network_with_parts_to_spare_is_refused(saved):
    """A whole network has to match, or it is another one: Mask R-CNN's weights in a Faster R-CNN."""
    network = nn.ModuleDict(dict(backbone=build(), head=nn.Linear(4, 2)))
    with pytest.raises(CheckpointError, match='unexpected: head.weight'):
        load_checkpoint(nn.ModuleDict(dict(backbone=build())), saved(network.state_dict()))


# --- a backbone out of a larger network ---------------------------------------------------------------------


@pytest.fixture
def detector():
    return nn.ModuleDict(dict(backbone=randomised(build(final_norm=True), 1), bbox_head=nn.Linear(4, 2)))


def test_the_backbone_of_a_network_is_found(saved, detector):
    target = randomised(build(final_norm=True), 2)
    report = load_backbone(target, saved({'state_dict': detector.state_dict()}))
    assert report.complete and same(target, detector.backbone)


@pytest.mark.parametrize('indices', [(0,), (0, 1, 2), (0, 1, 2, 3)])
def test_parts_that_the_backbone_has_not_are_left_out_and_reported(saved, detector, indices):
    target = randomised(build(out_indices=indices), 2)
    report = load_backbone(target, saved({'state_dict': detector.state_dict()}))
    assert report.complete and same(target, detector.backbone, target.state_dict())
    assert 'final_norm.weight' in report.unexpected
    assert ('stages.3.0.proj.1.conv.weight' in report.unexpected) == (3 not in indices)


def test_prefix(saved, detector):
    path = saved({'state_dict': {f'student.{name}': value for name, value in detector.state_dict().items()}})
    target = randomised(build(final_norm=True), 2)
    load_backbone(target, path, prefix='student.backbone.')
    assert same(target, detector.backbone)
    with pytest.raises(CheckpointError, match=r"starts with 'teacher\.'.*\n.*student\.backbone\.stem"):
        load_backbone(target, path, prefix='teacher.')


def test_init_cfg_loads_in_init_weights(saved, detector):
    path = saved({'state_dict': detector.state_dict()})
    backbone = build(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    assert not same(backbone, detector.backbone, names_of(backbone))
    backbone.init_weights()
    assert same(backbone, detector.backbone, names_of(backbone))


def test_init_cfg_in_a_list_and_with_a_prefix(saved, detector):
    path = saved({f'net.{name}': value for name, value in detector.backbone.state_dict().items()})
    pretrained = dict(type='Pretrained', checkpoint=str(path), prefix='net.')
    backbone = build(init_cfg=[dict(type='Kaiming', layer='Conv2d'), pretrained])
    backbone.init_weights()
    assert same(backbone, detector.backbone, names_of(backbone))


def test_init_cfg_refuses_another_architecture(saved, told):
    path = saved({'state_dict': randomised(build(widths=(16, 16, 32, 64)), 1).state_dict()})
    pretrained = dict(type='Pretrained', checkpoint=str(path))
    with pytest.raises(CheckpointError, match='does not belong'):
        build(init_cfg=pretrained).init_weights()
    backbone = build(init_cfg=dict(pretrained, allow_mismatch=True))
    backbone.init_weights()
    assert told[-1][0] == logging.WARNING
    # What was not in the checkpoint has been initialised.
    assert backbone.stages[3][0].transformer.norm1.weight.eq(1).all()


@pytest.mark.parametrize(
    'settings, said',
    [
        (dict(checkpoint='x.pth', allow_missmatch=True), r"with unknown 'allow_missmatch'\."),
        (dict(checkpoint='x.pth', strict=False, revise_keys=[]), r"with unknown 'strict', 'revise_keys'\."),
        (dict(prefix='net.'), r"without 'checkpoint'\."),
    ],
)
@pytest.mark.parametrize('form', [dict, lambda **config: [dict(type='Kaiming', layer='Conv2d'), config]])
def test_init_cfg_refuses_what_it_does_not_know(settings, said, form):
    with pytest.raises(ConfigError, match=said) as caught:
        build(init_cfg=form(type='Pretrained', **settings))
    assert 'checkpoint, prefix, allow_mismatch' in str(caught.value)


def test_weights_are_loaded_once(saved, detector):
    """A second init_weights(), as wrappers of a network call it, must not undo what training did since."""
    backbone = build(init_cfg=dict(type='Pretrained', checkpoint=str(saved(detector.backbone.state_dict()))))
    backbone.init_weights()
    randomised(backbone, 5)
    backbone.init_weights()
    assert same(backbone, randomised(build(), 5))


# --- parts that classifiers do not have, and files that are not there ---------------------------------------

EFFICIENT = dict(widths=(16, 16, 16, 32), depths=(1, 1, 1, 2), attention_blocks=(0, 0, 0, 1))
MAPS = [
    (EfficientFormer, EFFICIENT, {}, r'output_norms\.\d\.(weight|bias)'),
    (
        NextViT,
        dict(widths=(32,) * 4, ntb_widths=(128,) * 4, depths=(1,) * 4, block_types='CCCT'),
        {'with_extra_norm': True},
        r'stages\.[0-2]\.0\.stage_norm\.\w+',
    ),
]


@pytest.mark.parametrize('kind, arch, settings, pattern', MAPS)
def test_a_classifier_lacks_the_norms_of_dense_prediction_and_nothing_else(saved, kind, arch, settings, pattern):
    classifier = randomised(kind(arch=arch, final_norm=True), 1)
    backbone = randomised(kind(arch=arch, **settings), 2)
    path = saved(classifier.state_dict())
    report = load_backbone(backbone, path)
    assert report.complete and report.new and all(re.fullmatch(pattern, name) for name in report.new)
    assert 'new' in str(report)
    assert same(backbone, classifier, report.loaded)
    with pytest.raises(CheckpointError, match='does not belong'):
        load_checkpoint(backbone, path)

    state = classifier.state_dict()
    del state['stages.3.0.mlp.fc1.weight' if kind is NextViT else 'stages.3.0.mlp.0.conv.weight']
    with pytest.raises(CheckpointError, match='does not belong'):
        load_backbone(backbone, saved(state))


def test_new_parts_are_there_as_a_whole_or_not_at_all(saved):
    state = randomised(EfficientFormer(arch=EFFICIENT), 1).state_dict()
    assert load_backbone(EfficientFormer(arch=EFFICIENT), saved(state)).new == ()
    del state['output_norms.2.weight']
    with pytest.raises(CheckpointError, match=r'missing: output_norms\.2\.weight'):
        load_backbone(EfficientFormer(arch=EFFICIENT), saved(state))


@pytest.mark.parametrize('frozen', [True, False])
def test_without_pretrained_weights_one_is_told_what_to_do(tmp_path, frozen):
    path = tmp_path / 'absent.pth'
    settings = dict(frozen_stages=1, norm_eval=True) if frozen else {}
    backbone = build(init_cfg=dict(type='Pretrained', checkpoint=str(path)), **settings)
    with pytest.raises(CheckpointError) as caught:
        backbone.init_weights()
    said = str(caught.value)
    assert f'no pretrained weights at {path}' in said and 'tools/convert_weights.py' in said
    options = ' model.backbone.frozen_stages=-1 model.backbone.norm_eval=False' if frozen else ''
    assert said.endswith(f'train from scratch: --cfg-options model.backbone.init_cfg=None{options}')


def test_a_failed_download_of_pretrained_weights_says_how_to_do_without(served):
    backbone = build(init_cfg=dict(type='Pretrained', checkpoint=f'{served}/absent.pth'))
    with pytest.raises(CheckpointError, match=r'(?s)could not be fetched.*by hand.*model\.backbone\.init_cfg=None'):
        backbone.init_weights()


# --- files that are no checkpoints --------------------------------------------------------------------------


def refused(path):
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    said = str(caught.value)
    assert str(path) in said and 'Fix:' in said
    assert not said.split('\n')[0].endswith(': '), 'no reason is given'
    return said


def test_missing_file(tmp_path):
    assert 'There is no checkpoint' in refused(tmp_path / 'nothing.pth')
    assert 'There is no checkpoint' in refused(tmp_path)


@pytest.mark.parametrize('zipped', [True, False], ids=['zip format', 'old format'])
def test_truncated_at_any_place(tmp_path, zipped):
    buffer = io.BytesIO()
    torch.save({'state_dict': build().state_dict()}, buffer, _use_new_zipfile_serialization=zipped)
    content = buffer.getvalue()
    path = tmp_path / 'cut.pth'
    cuts = [*range(0, 300, 7), *range(300, len(content), len(content) // 40), len(content) - 100, len(content) - 1]
    for cut in cuts:
        path.write_bytes(content[:cut])
        said = refused(path)
        assert f'({cut} bytes) cannot be read as a checkpoint' in said
        assert not zipped or cut < 4 or 'it is cut off' in said


def packed(*names):
    """A zip archive with files of these names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as file:
        for name in names:
            file.writestr(name, 'hello')
    return buffer.getvalue()


def tarred():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as file:
        file.addfile(tarfile.TarInfo('epoch_1.pth'))
    return buffer.getvalue()


OTHER_FILES = {
    'nothing': (b'', 'it is empty'),
    'zeros': (bytes(5000), 'filled with zeros'),
    'a page': (b'\n<!DOCTYPE html>\n<html><head><title>Drive -\n Warning</title>', "an HTML page ('Drive - Warning')"),
    'a page that begins with a comment': (b'<!-- saved --><HTML lang="en"><body>no title', 'an HTML page:'),
    'JSON': (b'{"message": "Not Found"}', 'JSON ({"message": "Not Found"})'),
    'LFS': (b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2\nsize 12345\n', 'a Git LFS pointer'),
    'zip': (packed('epoch_1.pth', 'readme.txt'), 'a zip archive of 2 files (epoch_1.pth, readme.txt)'),
    'TorchScript': (packed('net/code/net.py', 'net/constants.pkl', 'net/data.pkl'), 'a TorchScript program'),
    'gzip': (gzip.compress(b'weights'), 'a gzip archive'),
    'tar': (tarred(), 'a tar archive'),
    'HDF5': (b'\x89HDF\r\n\x1a\n' + bytes(99), 'an HDF5 file'),
    'safetensors': (b'\x20\0\0\0\0\0\0\0{"weight": {}}', 'a safetensors file'),
    'PNG': (b'\x89PNG\r\n\x1a\n' + bytes(100), 'a PNG image'),
    'a config': ("_base_ = 'm\u00fc.py'\nmodel = dict()".encode(), 'text that begins with "_base_ = \'m\u00fc.py\'"'),
    'end of a pickle': (b'.', 'text'),
    'an empty pickle': (b'\x80\x02.', ''),
    'bytes': (bytes(range(256)) * 4, ''),
}


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
@pytest.mark.parametrize(('content', 'kind'), OTHER_FILES.values(), ids=OTHER_FILES)
def test_other_files_are_named(tmp_path, content, kind):
    path = tmp_path / 'other.pth'
    path.write_bytes(content)
    said = refused(path)
    assert 'cannot be read as a checkpoint' in said and kind in said
    assert 'weights_only' not in said, 'nobody is told to load a file the unsafe way'


def test_an_onnx_graph_is_no_checkpoint(tmp_path):
    (tmp_path / 'end2end.onnx').write_bytes(b'\x08\x08\x12\x07pytorch')
    assert 'an ONNX graph' in refused(tmp_path / 'end2end.onnx')


def test_checkpoints_nearby_are_offered(tmp_path):
    for name in ('epoch_11.pth', 'epoch_12.pth'):
        (tmp_path / name).touch()
    assert f'perhaps {tmp_path / "epoch_12.pth"}' in refused(tmp_path / 'epoch_122.pth')
    assert str(tmp_path / 'epoch_11.pth') in refused(tmp_path)


@pytest.mark.parametrize('content', [torch.zeros(3), [1, 2], 'text', 5, None], ids=repr)
def test_saved_by_torch_but_no_checkpoint(saved, content):
    said = refused(saved(content))
    assert f'holds a {type(content).__name__}, not a checkpoint' in said


@pytest.mark.parametrize('content', [{}, {0: torch.zeros(1)}, {'state_dict': [1]}, {'state_dict': {'a': 1}}], ids=repr)
def test_without_weights(saved, content):
    assert weights_of(content) == {}
    with pytest.raises(CheckpointError, match='0 of'):
        load_checkpoint(nn.Linear(2, 2), saved(content))


class Touch:
    """A pickle that makes a file when it is loaded the careless way."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@pytest.fixture
def malicious(tmp_path, saved):
    touched = tmp_path / 'executed'
    path = saved({'state_dict': {'weight': torch.zeros(2, 2)}, 'meta': Touch(touched)}, 'malicious.pth')
    return path, touched


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
def test_code_in_a_checkpoint_is_not_executed(malicious, tmp_path):
    path, touched = malicious
    plain = tmp_path / 'plain.pkl'
    plain.write_bytes(pickle.dumps({'state_dict': Touch(touched)}))
    for file in (path, plain):
        assert 'cannot be read as a checkpoint' in refused(file)
        assert not touched.exists()


# --- fetched files ------------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path, monkeypatch):
    """The address of a folder's files, as http."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    monkeypatch.setenv('no_proxy', '*')

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.02))
        thread.start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()
        thread.join()


def test_a_checkpoint_is_fetched(served, saved):
    source, target = randomised(build(), 1), randomised(build(), 2)
    saved({'state_dict': source.state_dict()}, 'net.pth')
    load_checkpoint(target, f'{served}/net.pth')
    assert same(source, target)


def test_code_in_a_fetched_checkpoint_is_not_executed(served, malicious):
    _, touched = malicious
    assert 'could not be fetched' in refused(f'{served}/malicious.pth')
    assert not touched.exists()


def test_a_page_in_place_of_a_checkpoint_does_not_stay_in_the_cache(served, saved, tmp_path):
    (tmp_path / 'net.pth').write_text('<!doctype html><title>Sign in</title>')
    assert "an HTML page ('Sign in')" in refused(f'{served}/net.pth')
    source = build()
    saved({'state_dict': source.state_dict()}, 'net.pth')
    load_checkpoint(randomised(build(), 2), f'{served}/net.pth')


def test_an_address_without_a_file(served):
    assert '404' in refused(f'{served}/nothing.pth')
    assert 'could not be fetched' in refused('nonsense://nothing.pth')


# --- what mmengine writes -----------------------------------------------------------------------------------


class Model(BaseModel):
    """The smallest model that mmengine's runner trains."""

    def __init__(self):
        super().__init__()
        self.backbone = build(out_indices=(0,))

    def forward(self, inputs, mode='tensor'):
        loss = self.backbone(torch.stack(inputs))[0].square().mean()
        return dict(loss=loss, share=loss.detach() / 2)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp('trained')
    runner = Runner(
        Model(),
        work_dir=str(tmp_path / 'run'),
        train_dataloader=dict(
            batch_size=2,
            dataset=[torch.randn(3, 32, 32) for _ in range(4)],
            sampler=dict(type=DefaultSampler, shuffle=False),
            collate_fn=lambda batch: dict(inputs=batch),
        ),
        train_cfg=dict(by_epoch=False, max_iters=2),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        param_scheduler=dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=2),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', interval=2, by_epoch=False),
        ),
    )
    runner.train()
    return runner.model, tmp_path / 'run' / 'iter_2.pth'


def needs_the_allowance(path):
    """Whether torch refuses the file as long as nothing beside tensors is allowed."""
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        torch.load(path, weights_only=True)
    except pickle.UnpicklingError:
        return True
    finally:
        torch.serialization.add_safe_globals(allowed)
    return False


def test_what_mmengine_saves_is_read_without_executing_anything(trained):
    model, path = trained
    assert needs_the_allowance(path)
    checkpoint = read_checkpoint(path)
    assert set(checkpoint) >= {'state_dict', 'optimizer', 'message_hub', 'param_schedulers', 'meta'}
    losses, _ = checkpoint['message_hub']['log_scalars']['train/loss'].data
    assert len(losses) == 2 and losses[0] != losses[1]
    assert checkpoint['message_hub']['log_scalars']['train/loss'].statistics('max') == max(losses)
    target = randomised(build(out_indices=(0,)), 2)
    assert load_backbone(target, path).complete
    assert same(target, model.backbone)


def renamed(path, old, new):
    """A checkpoint in which the pickle calls something by another name."""
    copy = path.with_name('renamed.pth')
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, 'w') as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith('/data.pkl'):
                assert old in content
                content = content.replace(old, new)
            target.writestr(name, content)
    return copy


def test_what_mmengine_saved_beside_another_numpy_is_read(trained):
    _, path = trained
    names = [b'cnumpy._core.multiarray\n', b'cnumpy.core.multiarray\n']
    if int(numpy.__version__.split('.')[0]) < 2:
        names.reverse()
    expected, given = read_checkpoint(path), read_checkpoint(renamed(path, *names))
    ours, theirs = (read['message_hub']['log_scalars']['train/loss'].data[0] for read in (given, expected))
    assert list(ours) == list(theirs)


class Reach:
    """A pickle that takes an attribute of something."""

    def __init__(self, owner, name):
        self.call = getattr, (owner, name)

    def __reduce__(self):
        return self.call


def test_getattr_in_a_checkpoint_reaches_the_statistics_of_a_log_and_nothing_else(saved):
    assert read_checkpoint(saved({'x': Reach(HistoryBuffer, 'mean')})) == {'x': HistoryBuffer.mean}
    for owner, name in [(HistoryBuffer, '__init__'), (HistoryBuffer, 'update'), (numpy.ndarray, 'max')]:
        assert 'cannot be read as a checkpoint' in refused(saved({'x': Reach(owner, name)}))
