"""tools/deploy.py: its exit status is the verdict, and input that cannot be used ends in one message."""

from types import SimpleNamespace

import pytest

from mmtrtvit.deploy import conversion

DYNAMIC = 'configs/deploy/instance-seg_onnxruntime_dynamic.py'


class Pretended(SimpleNamespace):
    def __str__(self):
        return f'{self.verdict}: it drops'


def pretend_to_deploy(monkeypatch, verdict='PASS'):
    """What ``deploy`` is called with, filled when it is."""
    given = {}

    def pretend(**options):
        given.update(options)
        return {}, Pretended(verdict=verdict)

    monkeypatch.setattr(conversion, 'deploy', pretend)
    return given


@pytest.mark.parametrize('verdict, status', [('PASS', 0), ('FAIL', 1), ('UNDECIDED', 3)])
def test_the_exit_status_is_the_verdict(load_tool, monkeypatch, capsys, verdict, status):
    given = pretend_to_deploy(monkeypatch, verdict)
    args = ['c.py', 'x.pth', '--deploy-cfg', 'd.py', '--work-dir', 'w', '--images', '7', '--cfg-options', 'a.b=1']
    monkeypatch.setattr('sys.argv', ['tools/deploy.py', *args])
    assert load_tool('deploy').main() == status
    assert f'w: {verdict}: it drops' in capsys.readouterr().out
    assert given == dict(
        model_cfg='c.py',
        checkpoint='x.pth',
        deploy_cfg='d.py',
        work_dir='w',
        backend=None,
        precision='fp32',
        flavour=None,
        shapes=None,
        targets=[],
        timing_cache=None,
        workspace_mib=None,
        image=None,
        images=7,
        nodes_to_exclude=[],
        search=False,
        timed=True,
        calibration='minmax',
        allow_mismatch=False,
        cfg_options={'a.b': 1},
    )


def test_options_become_shapes_and_settings_of_the_engine(load_tool, monkeypatch):
    given = pretend_to_deploy(monkeypatch)
    args = 'c.py x.pth --work-dir w --backend tensorrt-rtx --precision int8 --flavour portable --no-latency --search'
    args += ' --dynamic 320x320 800x1344 1344x1344 --batch 1 2 4 --nodes-to-exclude /neck --targets sm86 sm120'
    args += ' --timing-cache c.bin --workspace-mib 512'
    monkeypatch.setattr('sys.argv', ['tools/deploy.py', *args.split()])
    assert load_tool('deploy').main() == 0
    assert given['shapes'].profile == ((1, 3, 320, 320), (2, 3, 800, 1344), (4, 3, 1344, 1344))
    assert (given['targets'], given['timing_cache'], given['workspace_mib']) == (['sm86', 'sm120'], 'c.bin', 512)
    assert (given['backend'], given['precision'], given['flavour']) == ('tensorrt-rtx', 'int8', 'portable')
    assert (given['nodes_to_exclude'], given['search'], given['timed']) == (['/neck'], True, False)


@pytest.mark.parametrize(
    'option, said',
    [
        ('--backend openvino', 'backend'),
        ('--flavour native', 'flavour'),
        ('--shape 64x64', 'shapes'),
        ('--dynamic 64x64 64x64 96x96 --batch 2', 'shapes'),
    ],
)
def test_a_deploy_config_says_it_all(tool, toy, root, option, said):
    args = [toy.config, 'x.pth', '--work-dir', 'w', '--deploy-cfg', root / DYNAMIC, *option.split()]
    message = tool('deploy', *args).message
    assert said in message and 'the deploy config says that itself' in message


@pytest.mark.parametrize(
    'options, said',
    [
        ('--shape 64', 'is not an input size'),
        ('--shape 64x64 --dynamic 32x32 64x64 96x96', 'both given'),
        ('--batch 4', 'without an input size'),
        ('--backend tensorrt', 'without an input size'),
        ('--backend onnxruntime --precision bf16', 'has no such precision'),
        ('--targets sm86', 'has no option --targets'),
    ],
)
def test_options_that_do_not_go_together(tool, toy, toy_checkpoint, tmp_path, options, said):
    outcome = tool('deploy', toy.config, toy_checkpoint, '--work-dir', tmp_path / 'out', *options.split())
    assert said in outcome.message and not (tmp_path / 'out').exists()


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


@pytest.mark.slow
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
    assert 'The image notes.jpg cannot be read' in outcome.message and 'give another image' in outcome.message
    assert not (tmp_path / 'out').exists()


def test_no_such_image(refused, tmp_path):
    assert 'There is no image' in refused('--image', tmp_path / 'none.jpg')


def test_deploy_configs_that_cannot_be_used(refused, root, tmp_path):
    message = refused(deploy_cfg=root / 'configs' / 'deploy' / 'instance-seg_onnxruntime.py')
    assert 'There is no deploy config' in message and 'instance-seg_onnxruntime_dynamic.py' in message
    message = refused(deploy_cfg=root / 'configs' / 'maskrcnn_trtvit_a_toy.py')
    assert 'is not a deploy config' in message
    path = tmp_path / 'other.py'
    text = f'_base_ = {str(root / DYNAMIC)!r}\n'
    text += 'backend_config = dict(type={0!r})\n'
    path.write_text(text.format('ncnn'))
    message = refused(deploy_cfg=path)
    assert "'ncnn'" in message and 'does not convert to it' in message and 'onnxruntime' in message
    path.write_text(text.format('tensorflow'))
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


def test_a_network_that_cannot_be_exported_is_refused_before_its_checkpoint_is_read(tool, tmp_path):
    pytest.importorskip('mmdet')
    path = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'
    message = tool('deploy', path, 'none.pth', '--work-dir', tmp_path / 'out').message
    assert "model.bbox_head.type='FCOSHead'" in message and 'centerness' in message and 'Fix: ' in message
    assert not (tmp_path / 'out').exists()


def test_a_work_dir_that_cannot_be_written(refused, tmp_path):
    (tmp_path / 'file').write_text('in the way')
    assert 'cannot be written' in refused(work_dir=tmp_path / 'file')
