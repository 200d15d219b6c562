"""tools/train.py: its options reach the training, and input that cannot be used ends in one message."""

import json
import shutil

import pytest


@pytest.mark.parametrize(
    'args, expected',
    [
        ([], {}),
        (['--resume'], {'resume': 'auto'}),
        (['--resume', 'auto'], {'resume': 'auto'}),
        (['--resume', 'x.pth'], {'resume': 'x.pth'}),
        (['--amp', '--auto-scale-lr', '--allow-mismatch'], dict(amp=True, auto_scale_lr=True, allow_mismatch=True)),
        (['--work-dir', 'w', '--launcher', 'slurm'], {'work_dir': 'w', 'launcher': 'slurm'}),
        (['--cfg-options', 'a.b=1', 'c=[1,2]'], {'cfg_options': {'a.b': 1, 'c': [1, 2]}}),
        (['--variant', 'fsdp', 'layer-decay'], {'variants': ['fsdp', 'layer-decay']}),
        (['--local-rank', '3'], {}),
    ],
)
def test_options_reach_the_training(load_tool, monkeypatch, args, expected):
    module, given = load_tool('train'), {}
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setattr(module, 'train', lambda **options: given.update(options))
    monkeypatch.setattr('sys.argv', ['tools/train.py', 'c.py', *args])
    assert module.main() == 0
    defaults = dict(
        config='c.py',
        work_dir=None,
        resume=None,
        amp=False,
        auto_scale_lr=False,
        allow_mismatch=False,
        variants=[],
        cfg_options=None,
        launcher='none',
    )
    assert given == {**defaults, **expected}


@pytest.fixture
def refused(tool, toy, tmp_path):
    """The message with which training of the small detector ends; nothing but logs may be left behind."""

    def run(*options, work_dir=tmp_path / 'work', config=toy.config, args=()):
        outcome = tool(
            'train', config, '--work-dir', work_dir, *args, *(['--cfg-options', *options] if options else [])
        )
        assert not list(work_dir.glob('**/*.pth')) and not list(work_dir.glob('**/.*'))
        return outcome.message

    return run


@pytest.mark.slow
def test_unknown_arch_in_a_process_of_its_own(command, toy, tmp_path):
    outcome = command('train', toy.config, '--cfg-options', 'model.backbone.arch=e', 'custom_hooks=[]')
    assert "'e'" in outcome.message and "'a', 'b', 'c', 'd'" in outcome.message.replace(
        'a, b, c, d', "'a', 'b', 'c', 'd'"
    )


@pytest.mark.parametrize('option', ['model.backbone.arch.widths=7', 'model.backbone.arch.block_types=CCCX'])
def test_wrong_arch_dict(refused, option):
    key = option.split('=')[0].split('.')[-1]
    assert key in refused(option)


def test_no_such_config(refused, toy):
    message = refused(config=toy.config.with_name('tini.py'))
    assert 'There is no config file' in message and 'tiny.py' in message


def test_no_such_data_root(refused):
    message = refused('train_dataloader.dataset.data_root=/no/such/root')
    assert '/no/such/root does not exist' in message and 'MMTRTVIT_DATA_ROOT' in message


@pytest.mark.parametrize(
    'content, said',
    [
        (b'\xff\xd8\xff\xe0', 'not readable as JSON'),
        (b'[]', 'is not COCO'),
        (b'{"shapes": [], "version": "5.0"}', 'is not COCO: it lacks images, annotations, categories'),
        (b'{"images": [], "annotations": [], "categories": [{"id": 1, "name": "car"}]}', 'No class of the config'),
    ],
)
def test_annotations_that_are_not_coco(refused, tmp_path, content, said):
    path = tmp_path / 'annotations.json'
    path.write_bytes(content)
    assert said in refused(f'train_dataloader.dataset.ann_file={path}')


def test_checkpoints_that_cannot_be_used(refused, toy_run, toy_checkpoint, tmp_path):
    assert 'There is no checkpoint' in refused('load_from=none.pth')
    (tmp_path / 'cut.pth').write_bytes((toy_run / 'epoch_1.pth').read_bytes()[:-2000])
    assert 'cut.pth' in refused(f'load_from={tmp_path / "cut.pth"}')
    assert 'no training state' in refused(args=['--resume', toy_checkpoint])
    message = refused(f'load_from={toy_checkpoint}', 'model.backbone.arch.depths=(1,1,1,2)')
    assert 'unexpected: backbone.stages.2.1' in message and '--allow-mismatch' in message


def test_unregistered_type(refused):
    assert 'NoSuchDetector' in refused('model.type=NoSuchDetector')


def test_work_dir_that_is_a_file(refused, tmp_path):
    (tmp_path / 'file').write_text('')
    assert 'cannot be written' in refused(work_dir=tmp_path / 'file')


@pytest.mark.parametrize('workers', [0, 1])
def test_an_image_that_cannot_be_read_is_named(refused, toy, tmp_path, workers):
    data = shutil.copytree(toy.data, tmp_path / 'coco')
    names = [
        image['file_name']
        for image in json.loads((data / 'annotations' / 'instances_train2017.json').read_text())['images']
    ]
    for name in names:
        (data / 'train2017' / name).write_bytes(b'\xff\xd8\xff\xe0 cut off')
    message = refused(f'train_dataloader.dataset.data_root={data}', f'train_dataloader.num_workers={workers}')
    assert 'cannot be read' in message and str(data / 'train2017') in message and any(name in message for name in names)
