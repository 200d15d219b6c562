"""tools/deploy.py: its exit status is the verdict, and input that cannot be used ends in one message."""

from types import SimpleNamespace

import pytest

DYNAMIC = 'configs/deploy/instance-seg_onnxruntime_dynamic.py'


@pytest.mark.parametrize('passed, status', [(True, 0), (False, 1)])
def test_the_exit_status_is_the_verdict(load_tool, monkeypatch, capsys, passed, status):
    import mmtrtvit.deploy

    given = {}

    def pretend(**options):
        given.update(options)
        return {}, SimpleNamespace(passed=passed)

    monkeypatch.setattr(mmtrtvit.deploy, 'deploy', pretend)
    args = ['c.py', 'x.pth', '--deploy-cfg', 'd.py', '--work-dir', 'w', '--images', '7', '--cfg-options', 'a.b=1']
    monkeypatch.setattr('sys.argv', ['tools/deploy.py', *args])
    assert load_tool('deploy').main() == status
    assert ('PASS' if passed else 'FAIL') in capsys.readouterr().out
    assert given == dict(
        model_cfg='c.py',
        checkpoint='x.pth',
        deploy_cfg='d.py',
        work_dir='w',
        image=None,
        images=7,
        allow_mismatch=False,
        cfg_options={'a.b': 1},
    )


@pytest.fixture
def refused(tool, toy, toy_checkpoint, root, tmp_path):
    """The message with which an export of the small detector ends; no folder may be left behind."""

    def run(
        *args, model=toy.config, checkpoint=toy_checkpoint, deploy_cfg=root / DYNAMIC, work_dir=tmp_path / 'artefact'
    ):
        there = work_dir.exists()
        message = tool('deploy', model, checkpoint, '--deploy-cfg', deploy_cfg, '--work-dir', work_dir, *args).message
        assert work_dir.exists() == there
        return message

    return run


def test_an_image_that_is_a_text_in_a_process_of_its_own(command, toy, toy_checkpoint, root, tmp_path):
    (tmp_path / 'notes.jpg').write_text('no image')
    outcome = command(
        'deploy',
        toy.config,
        toy_checkpoint,
        '--deploy-cfg',
        root / DYNAMIC,
        '--work-dir',
        'out',
        '--image',
        'notes.jpg',
    )
    assert 'The image notes.jpg cannot be read' in outcome.message and '--image' in outcome.message
    assert not (tmp_path / 'out').exists()


def test_no_such_image(refused, tmp_path):
    assert 'There is no image' in refused('--image', tmp_path / 'none.jpg')


def test_deploy_configs_that_cannot_be_used(refused, root, tmp_path):
    message = refused(deploy_cfg=root / 'configs' / 'deploy' / 'instance-seg_onnxruntime.py')
    assert 'There is no deploy config' in message and 'instance-seg_onnxruntime_dynamic.py' in message
    message = refused(deploy_cfg=root / 'configs' / 'maskrcnn_trtvit_a_toy.py')
    assert 'is not a deploy config' in message
    path = tmp_path / 'other.py'
    path.write_text(f"_base_ = {str(root / DYNAMIC)!r}\nbackend_config = dict(type='tensorrt')\n")
    message = refused(deploy_cfg=path)
    assert "'tensorrt'" in message and 'does not convert to it yet' in message and 'onnxruntime' in message
    path.write_text(path.read_text().replace('tensorrt', 'tensorflow'))
    assert "'tensorflow' is unknown" in refused(deploy_cfg=path)


def test_checkpoints_that_cannot_be_used(refused, toy_checkpoint, tmp_path):
    assert 'There is no checkpoint' in refused(checkpoint=tmp_path / 'none.pth')
    (tmp_path / 'cut.pth').write_bytes(toy_checkpoint.read_bytes()[:2000])
    assert 'cannot be read as a checkpoint' in refused(checkpoint=tmp_path / 'cut.pth')
    message = refused('--cfg-options', 'model.backbone.arch.depths=(2,1,2,2)')
    assert 'missing: backbone.stages.0.1' in message and '--allow-mismatch' in message


def test_model_configs_that_cannot_be_used(refused, toy):
    assert 'There is no config file' in refused(model=toy.config.with_name('none.py'))
    assert 'arch' in refused('--cfg-options', 'model.backbone.arch=z')


def test_a_work_dir_that_cannot_be_written(refused, tmp_path):
    (tmp_path / 'file').write_text('in the way')
    assert 'cannot be written' in refused(work_dir=tmp_path / 'file')
