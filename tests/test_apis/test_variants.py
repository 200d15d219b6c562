"""Variants change a config after it is read and before --cfg-options do."""

import pytest
import torch.nn as nn
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmtrtvit.apis import load_config, train
from mmtrtvit.apis.training import check_strategy, use_atomic_checkpoints
from mmtrtvit.config import find_variant
from mmtrtvit.errors import ConfigError

NAMES = ['checkpointing', 'deepspeed', 'frozen-stages', 'fsdp', 'layer-decay', 'resnet-init']


@pytest.fixture
def config_path(root):
    return root / 'configs' / 'maskrcnn_trtvit_b_coco.py'


def test_all_variants_are_known_and_say_what_they_cost(root, config_path):
    folder = root / 'configs' / '_base_' / 'variants'
    assert {path.stem for path in folder.glob('*.py')} >= set(NAMES)
    for name in NAMES:
        text = find_variant(name, config_path).read_text()
        assert text.startswith('# ') and 'Buys: ' in text and 'Costs: ' in text


def test_several_variants_and_then_options(config_path):
    config = load_config(
        config_path,
        {'optim_wrapper.paramwise_cfg.layer_decay': 0.7},
        ['layer-decay', 'frozen-stages', 'checkpointing'],
    )
    backbone = config.model.backbone
    assert (backbone.frozen_stages, backbone.norm_eval, backbone.with_cp) == (1, True, True)
    own = load_config(config_path).optim_wrapper.paramwise_cfg
    assert config.optim_wrapper.paramwise_cfg == dict(own, layer_decay=0.7) and own.norm_decay_mult == 0.0
    assert config.optim_wrapper.optimizer.lr == load_config(config_path).optim_wrapper.optimizer.lr


def test_none_in_the_config_makes_room(toy):
    assert load_config(toy.config).optim_wrapper.paramwise_cfg is None
    assert load_config(toy.config, variants=['layer-decay']).optim_wrapper.paramwise_cfg == dict(layer_decay=0.9)


def test_a_file_and_a_folder_of_ones_own(config_path, tmp_path):
    own = tmp_path / '_base_' / 'variants' / 'checkpointing.py'
    own.parent.mkdir(parents=True)
    own.write_text('train_cfg = dict(max_epochs=7)\n')
    (tmp_path / 'config.py').write_text(f'_base_ = {str(config_path)!r}\n')
    for config in (
        load_config(config_path, variants=[str(own)]),
        load_config(tmp_path / 'config.py', variants=['checkpointing']),
    ):
        assert config.train_cfg.max_epochs == 7 and 'with_cp' not in config.model.backbone
    assert load_config(tmp_path / 'config.py', variants=['frozen-stages']).model.backbone.norm_eval


def test_unknown_ones_are_refused(config_path, tmp_path):
    for name in ('layer_decay', str(tmp_path / 'none.py')):
        with pytest.raises(ConfigError, match=f'no variant .*\n.*{".*".join(NAMES)}'):
            load_config(config_path, variants=[name])
    (tmp_path / 'bad.py').write_text('model = dict(')
    with pytest.raises(ConfigError, match='cannot be read'):
        load_config(config_path, variants=[str(tmp_path / 'bad.py')])


@pytest.mark.parametrize('variant', ['fsdp', 'deepspeed'])
def test_sharding_needs_processes_and_its_own_clipping(config_path, variant, tmp_path):
    with pytest.raises(ConfigError, match=f'several processes, and this is one(.|\n)*dist_train.sh .*{variant}'):
        train(config_path, work_dir=str(tmp_path / 'work'), variants=[variant])
    assert not (tmp_path / 'work').exists()
    clipping = {'optim_wrapper.clip_grad': dict(max_norm=1.0), 'launcher': 'pytorch'}
    with pytest.raises(ConfigError, match=r'clip_grad cannot be used with .*\n.*clip_grad=None'):
        check_strategy(load_config(config_path, clipping, [variant]))
    config = load_config(config_path, {**clipping, 'optim_wrapper.clip_grad': None}, [variant])
    check_strategy(config)
    # DeepSpeedOptimWrapper does not know the name
    assert 'clip_grad' not in config.optim_wrapper


def test_configs_with_the_hook_of_mmengine_get_the_atomic_one(config_path):
    config = load_config(config_path, {'default_hooks.checkpoint.type': 'CheckpointHook', 'work_dir': 'w'})
    use_atomic_checkpoints(config)
    assert config.default_hooks.checkpoint.type == 'mmtrtvit.AtomicCheckpointHook'
    for other in ({'type': 'OwnHook'}, {'out_dir': 's3://bucket'}):
        options = {f'default_hooks.checkpoint.{key}': value for key, value in other.items()}
        config = load_config(
            config_path, {'default_hooks.checkpoint.type': 'CheckpointHook', 'work_dir': 'w', **options}
        )
        use_atomic_checkpoints(config)
        assert config.default_hooks.checkpoint.type == other.get('type', 'CheckpointHook')


class Watcher(Hook):
    """Notes which parameters get a gradient in each iteration."""

    def before_train(self, runner):
        Watcher.model, Watcher.wrapper = runner.model, runner.optim_wrapper
        Watcher.iterations = []
        for name, parameter in runner.model.named_parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(lambda _, name=name: Watcher.iterations[-1].add(name))

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        Watcher.iterations.append(set())


@pytest.mark.parametrize('variants', [[], ['frozen-stages', 'layer-decay', 'checkpointing']])
def test_every_parameter_that_is_trained_gets_a_gradient(toy, tmp_path, variants):
    """So DistributedDataParallel need not look for unused ones (find_unused_parameters=False)."""
    HOOKS.register_module(name='Watcher', module=Watcher, force=True)
    try:
        options = {
            'train_cfg.max_epochs': 1,
            'custom_hooks': [dict(type='Watcher')],
            **dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator')),
        }
        train(toy.config, work_dir=str(tmp_path), cfg_options=options, variants=variants)
    finally:
        HOOKS.module_dict.pop('Watcher')
    trained = {name for name, parameter in Watcher.model.named_parameters() if parameter.requires_grad}
    assert len(trained) > 50 and Watcher.iterations == [trained] * 4
    frozen = {name for name, _ in Watcher.model.named_parameters()} - trained
    assert bool(frozen) == bool(variants)
    assert all(name.startswith(('backbone.stem.', 'backbone.stages.0.')) for name in frozen)
    if variants:
        norms = [part for part in Watcher.model.backbone.modules() if isinstance(part, nn.BatchNorm2d)]
        assert norms and not any(norm.training for norm in norms)
        rates = {group['lr'] for group in Watcher.wrapper.optimizer.param_groups}
        assert len(rates) == 6  # blocks of stages 2, 3 and 4, and the rest
