"""tools/test.py: a checkpoint or an artefact is evaluated, and input that cannot be used ends in one message."""

import shutil

import pytest


@pytest.mark.parametrize(
    'args',
    [
        [],
        ['x.pth', '--backend-dir', 'd'],
        ['--backend-dir', 'd', '--tta'],
        ['--backend-dir', 'd', '--per-class'],
        ['x.pth', '--tile', '512'],
    ],
)
def test_either_a_checkpoint_or_an_artefact(tool, args):
    outcome = tool('test', 'c.py', *args)
    assert outcome.status == 2 and 'usage:' in outcome.err and 'Traceback' not in outcome.err


def test_a_checkpoint_is_evaluated(tool, toy, toy_checkpoint, tmp_path):
    options = ['--work-dir', tmp_path / 'work', '--out', tmp_path / 'found.pkl', '--per-class']
    outcome = tool('test', toy.config, toy_checkpoint, *options)
    assert outcome.status == 0, outcome.err
    assert 'coco/triangle_precision' in outcome.out
    assert 'coco/bbox_mAP' in outcome.out and (tmp_path / 'found.pkl').is_file()


@pytest.fixture
def refused(tool, toy, tmp_path):
    """The message with which an evaluation of the small detector ends; no predictions may be left behind."""

    def run(*args):
        options = ['--work-dir', tmp_path / 'work', '--out', tmp_path / 'found.pkl', '--show-dir', tmp_path / 'shown']
        message = tool('test', toy.config, *args, *options).message
        assert not (tmp_path / 'found.pkl').exists() and not (tmp_path / 'shown').exists()
        return message

    return run


def test_a_checkpoint_of_another_network(refused, tool, toy, toy_checkpoint, tmp_path):
    other = ['--cfg-options', 'model.backbone.arch.depths=(1,1,1,2)', 'model.roi_head.bbox_head.fc_out_channels=48']
    message = refused(toy_checkpoint, *other)
    for text in (
        'does not belong to this network',
        'unexpected: backbone.stages.2.1',
        'other shape: roi_head.bbox_head',
    ):
        assert text in message
    assert 'missing' in message and '--allow-mismatch' in message
    outcome = tool('test', toy.config, toy_checkpoint, '--allow-mismatch', '--work-dir', tmp_path / 'allowed', *other)
    assert outcome.status == 0 and 'coco/bbox_mAP' in outcome.out


def test_checkpoints_that_cannot_be_read(refused, toy_checkpoint, tmp_path):
    assert 'There is no checkpoint' in refused(tmp_path / 'none.pth')
    path = tmp_path / 'cut.pth'
    for content in (toy_checkpoint.read_bytes()[:-3000], toy_checkpoint.read_bytes()[:100], b'', b'a text'):
        path.write_bytes(content)
        assert f'cut.pth ({len(content)} bytes) cannot be read as a checkpoint' in refused(path)


def test_nothing_of_it_fits(refused, tmp_path):
    import torch

    torch.save({'state_dict': {'conv1.weight': torch.zeros(1)}}, tmp_path / 'other.pth')
    assert '0 of ' in refused(tmp_path / 'other.pth', '--allow-mismatch')


def test_an_image_that_cannot_be_read_is_named(refused, toy, toy_checkpoint, tmp_path):
    data = shutil.copytree(toy.data, tmp_path / 'coco')
    broken = sorted((data / 'val2017').iterdir())[0]
    broken.write_bytes(b'no JPEG')
    message = refused(toy_checkpoint, '--cfg-options', f'test_dataloader.dataset.data_root={data}')
    assert f'The image {broken} cannot be read' in message


def test_artefacts_that_cannot_be_used(refused, tmp_path):
    assert 'there is no manifest.json' in refused('--backend-dir', tmp_path)
    assert 'The tile is 0' in refused('--backend-dir', tmp_path, '--tile', '0')
    (tmp_path / 'manifest.json').write_text('{')
    assert 'is not a manifest' in refused('--backend-dir', tmp_path)


def test_a_truncated_artefact(refused, tmp_path):
    from mmtrtvit.runtime.manifest import write_manifest

    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'end2end.onnx').write_bytes(b'\x08\x08' + bytes(1000))
    write_manifest(tmp_path / 'a', {})
    (tmp_path / 'a' / 'end2end.onnx').write_bytes(b'\x08\x08' + bytes(500))
    assert 'end2end.onnx is not the file that was exported' in refused('--backend-dir', tmp_path / 'a')
