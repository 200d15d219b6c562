"""Configs are read as a command line needs it."""

import pytest

from mmtrtvit.apis import load_config
from mmtrtvit.config import set_work_dir
from mmtrtvit.errors import ConfigError


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


def test_near_names_are_offered(configs, tmp_path):
    with pytest.raises(ConfigError, match='no config file .*\n.*maskrcnn_trtvit_b_coco.py'):
        load_config(configs / 'maskrcnn_trtvit_e_coco.py')
    with pytest.raises(ConfigError, match='a file such as configs/maskrcnn_trtvit_b_coco.py'):
        load_config(tmp_path / 'none.py')


@pytest.mark.parametrize(
    'text, options', [('x = (', {}), ("_base_ = './none.py'", {}), ('1 / 0', {}), ('x = 1', {'x.y.z': 2})]
)
def test_one_that_cannot_be_read(tmp_path, text, options):
    (tmp_path / 'bad.py').write_text(text)
    with pytest.raises(ConfigError, match='bad.py cannot be read: .*\n.*correct the file'):
        load_config(tmp_path / 'bad.py', options)


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
