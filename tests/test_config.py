"""Configs are read as a command line needs it."""

import argparse

import pytest

from mmtrtvit.apis import load_config
from mmtrtvit.config import describe_batches, pipeline_of, set_work_dir
from mmtrtvit.errors import ConfigError
from mmtrtvit.options import add_config_options


@pytest.fixture
def configs(root):
    return root / 'configs'


def test_options_change_what_the_file_says(configs):
    config = load_config(configs / 'maskrcnn_trtvit_b_coco.py', {'model.backbone.arch': 'c', 'train_cfg.max_epochs': 3})
    assert (config.model.backbone.arch, config.train_cfg.max_epochs) == ('c', 3)


def test_the_data_root_is_one_variable(configs, monkeypatch):
    monkeypatch.setenv('MMTRTVIT_DATA_ROOT', '/somewhere')
    for name, root in (('coco', '/somewhere/coco/'), ('toy', '/somewhere/toy/coco/')):
        config = load_config(configs / f'maskrcnn_trtvit_a_{name}.py')
        for split in ('train', 'val', 'test'):
            assert config[f'{split}_dataloader'].dataset.data_root == root
        assert (
            config.val_evaluator.ann_file
            == config.test_evaluator.ann_file
            == f'{root}annotations/instances_val2017.json'
        )
    monkeypatch.delenv('MMTRTVIT_DATA_ROOT')
    assert load_config(configs / 'maskrcnn_trtvit_a_coco.py').train_dataloader.dataset.data_root == 'data/coco/'


def test_configs_of_installed_packages(configs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ours = load_config('mmtrtvit::retinanet_trtvit_a_coco.py')
    assert ours.to_dict() == load_config(configs / 'retinanet_trtvit_a_coco.py').to_dict()
    pytest.importorskip('mmdet')
    assert load_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py').model.backbone.depth == 50
    with pytest.raises(
        ConfigError, match=r'(?s)no config file .*retinanet_r50_fpn_1x\.py.*retinanet_r50_fpn_1x_coco\.py'
    ):
        load_config('mmdet::retinanet/retinanet_r50_fpn_1x.py')
    for package in ('mmnothing', 'json', 'a/b', ''):
        with pytest.raises(ConfigError, match=f'no package {package} with configs'):
            load_config(f'{package}::x.py')


def test_near_names_are_offered(configs, tmp_path):
    with pytest.raises(ConfigError, match='no config file .*\n.*maskrcnn_trtvit_b_coco.py'):
        load_config(configs / 'maskrcnn_trtvit_e_coco.py')
    with pytest.raises(ConfigError, match='a file such as configs/maskrcnn_trtvit_b_coco.py'):
        load_config(tmp_path / 'none.py')


@pytest.mark.parametrize(
    'text, options',
    [('x = (', {}), ("_base_ = './none.py'", {}), ('1 / 0', {}), ('train_cfg = 1', {'train_cfg.y.z': 2})],
)
def test_one_that_cannot_be_read(tmp_path, text, options):
    (tmp_path / 'bad.py').write_text(text)
    with pytest.raises(ConfigError, match='bad.py cannot be read: .*\n.*correct the file'):
        load_config(tmp_path / 'bad.py', options)


def test_the_file_and_the_line_at_fault_are_named(tmp_path):
    (tmp_path / 'base.py').write_text('model = dict()\nlr = 1e-3\nrate = lr * unknown\n')
    (tmp_path / 'own.py').write_text("_base_ = 'base.py'\n")
    with pytest.raises(
        ConfigError, match=r"own.py .*'unknown' is not defined \(in .*base.py, line 3: rate = lr \* unk"
    ):
        load_config(tmp_path / 'own.py')
    (tmp_path / 'base.py').write_text('model = dict(\n    type="X",,\n)\n')
    with pytest.raises(ConfigError, match=r'SyntaxError: invalid syntax \(in .*base.py, line 2: type="X",,\)'):
        load_config(tmp_path / 'own.py')
    (tmp_path / 'base.py').write_text("_base_ = 'own.py'\n")
    with pytest.raises(ConfigError, match='leads back to itself'):
        load_config(tmp_path / 'own.py')


@pytest.mark.parametrize(
    ('name', 'told'), [('epoch_1.pth', 'a checkpoint comes after it'), ('notes.txt', 'ends in .py, .json, .yml')]
)
def test_a_file_that_is_no_config(tmp_path, name, told):
    (tmp_path / name).write_bytes(b'PK')
    with pytest.raises(ConfigError, match=rf'(?s){name} is not a config.*{told}'):
        load_config(tmp_path / name)


def test_a_config_without_a_network(tmp_path):
    (tmp_path / 'empty.py').write_text('')
    with pytest.raises(ConfigError, match='empty.py has no `model`'):
        load_config(tmp_path / 'empty.py')


def test_a_config_without_test_data(configs):
    config = load_config(configs / 'retinanet_trtvit_a_coco.py')
    assert pipeline_of(config) == config.test_dataloader.dataset.pipeline
    config.test_dataloader = None
    with pytest.raises(ConfigError, match='no test_dataloader'):
        pipeline_of(config)


def test_an_option_without_a_value(capsys):
    parser = argparse.ArgumentParser()
    add_config_options(parser, 'layer-decay')
    assert parser.parse_args(['--cfg-options', 'a.b=1', 'c=[1,2]']).cfg_options == {'a.b': 1, 'c': [1, 2]}
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(['--cfg-options', 'nonsense'])
    assert caught.value.code == 2 and 'expected KEY=VALUE' in capsys.readouterr().err


def test_imports_that_an_option_adds_are_done(configs):
    with pytest.raises(ConfigError, match='nosuchmodule'):
        load_config(configs / 'maskrcnn_trtvit_a_toy.py', {'custom_imports.imports': 'nosuchmodule'})


def test_batches_are_described(configs):
    config = load_config(configs / 'maskrcnn_trtvit_b_coco.py')
    assert describe_batches(config, 'train') == 'batches of 2 images of 1333 x 800'
    assert describe_batches({}, 'train') == 'batches of one image'


def test_work_dir_is_named_after_the_config_or_as_wanted(configs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = configs / 'maskrcnn_trtvit_a_toy.py'
    config = load_config(path)
    assert str(set_work_dir(config, path, None)) == config.work_dir == 'work_dirs/maskrcnn_trtvit_a_toy'
    config = load_config(path, {'work_dir': 'from_options'})
    assert str(set_work_dir(config, path, None)) == 'from_options'
    assert str(set_work_dir(config, path, str(tmp_path / 'x' / 'y'))) == config.work_dir == str(tmp_path / 'x' / 'y')
    assert (tmp_path / 'x' / 'y').is_dir() and not list((tmp_path / 'x' / 'y').iterdir())


def test_work_dir_that_cannot_be_made(configs, tmp_path):
    (tmp_path / 'file').write_text('in the way')
    for name in ('file', 'file/below'):
        with pytest.raises(ConfigError, match=f'work dir .*{name} cannot be written: .*\n.*--work-dir'):
            set_work_dir(load_config(configs / 'maskrcnn_trtvit_a_toy.py'), tmp_path / 'c.py', str(tmp_path / name))


def test_options_below_an_entry_that_is_none(root):
    """The backbones that start from scratch have ``init_cfg=None``, in whose place a checkpoint can be named."""
    name = 'model.backbone.init_cfg'
    options = {f'{name}.type': 'Pretrained', f'{name}.checkpoint': 'weights.pth'}
    config = load_config(root / 'configs' / 'retinanet_trtvit_a_coco.py', options)
    assert config.model.backbone.init_cfg == dict(type='Pretrained', checkpoint='weights.pth')
    assert config.model.backbone.arch == 'a'


def test_data_sets_of_openmmlab_are_imported_in_silence(fresh, root):
    code = (
        'import sys; from mmtrtvit.config import load_config\n'
        'for name in ("retinanet_trtvit_a_toy", "semfpn_trtvit_a_toy"): load_config(f"configs/{name}.py")\n'
        'print(*("mmdet.datasets" in sys.modules, "mmseg.datasets" in sys.modules))'
    )
    done = fresh(code, cwd=root)
    assert done.stdout == 'True True\n', done.stdout + done.stderr
