"""Options that nothing reads are refused; those that something reads are not."""

import copy

import pytest

from mmtrtvit.config import load_config
from mmtrtvit.config_keys import check_keys
from mmtrtvit.errors import ConfigError


@pytest.fixture(scope='module')
def configs(root):
    names = dict(maskrcnn='maskrcnn_trtvit_a_coco', semfpn='semfpn_trtvit_a_ade20k')
    return {key: load_config(root / 'configs' / f'{name}.py') for key, name in names.items()}


def refused(config, key, value=1):
    with pytest.raises(ConfigError) as caught:
        check_keys(config, {key: value})
    return str(caught.value)


@pytest.mark.parametrize(
    'key, near',
    [
        # the beginning, and deeper
        ('train_datloader.batch_size', 'did you mean train_dataloader.batch_size?'),
        ('default_hook.logger.interval', 'did you mean default_hooks.logger.interval?'),
        ('train_dataloader.batchsize', 'did you mean train_dataloader.batch_size?'),
        ('optim_wrapper.optimzer.lr', 'did you mean optim_wrapper.optimizer?'),
        ('optim_wrapper.optimizer.weight_deacy', 'did you mean optim_wrapper.optimizer.weight_decay?'),
        ('model.backbone.archs', 'did you mean model.backbone.arch?'),
        ('model.test_cfg.rcnn.score_threshold', 'did you mean model.test_cfg.rcnn.score_thr?'),
        ('model.rpn_head.anchor_generator.scale', 'did you mean model.rpn_head.anchor_generator.scales?'),
        ('train_cfg.max_epoch', 'did you mean train_cfg.max_epochs?'),
        ('randomness.sed', 'did you mean randomness.seed?'),
        ('default_hooks.checkpoint.max_keep_ckpt', 'did you mean default_hooks.checkpoint.max_keep_ckpts?'),
        ('val_evaluator.class_wise', 'did you mean val_evaluator.classwise?'),
        ('train_dataloader.dataset.filter_cfg.minsize', 'did you mean train_dataloader.dataset.filter_cfg.min_size?'),
        ('train_dataloader.dataset.pipeline.2.scales', 'did you mean train_dataloader.dataset.pipeline.2.scale?'),
        ('param_scheduler.0.ends', 'did you mean param_scheduler.0.end?'),
        ('lr', 'correct --cfg-options'),
    ],
)
def test_typing_errors(configs, key, near):
    assert near in refused(configs['maskrcnn'], key)


def test_a_typing_error_in_the_settings_of_a_function(configs):
    config = copy.deepcopy(configs['maskrcnn'])
    config.optim_wrapper.clip_grad = dict(norm_type=2)
    assert 'did you mean optim_wrapper.clip_grad.max_norm?' in refused(config, 'optim_wrapper.clip_grad.max_nrm')


@pytest.mark.parametrize(
    'key, new',
    [
        ('optimizer.lr', 'optim_wrapper.optimizer.lr'),
        ('optimizer_config.grad_clip.max_norm', 'optim_wrapper.clip_grad.max_norm'),
        ('data.samples_per_gpu', 'train_dataloader.batch_size'),
        ('data.workers_per_gpu', 'train_dataloader.num_workers'),
        ('data.train.ann_file', 'train_dataloader.dataset.ann_file'),
        ('data.val.img_prefix', 'val_dataloader.dataset.data_prefix.img'),
        ('runner.max_epochs', 'train_cfg.max_epochs'),
        ('runner.max_iters', 'train_cfg.max_iters'),
        ('total_epochs', 'train_cfg.max_epochs'),
        ('lr_config.warmup_iters', 'param_scheduler.0.end'),
        ('lr_config.policy', 'param_scheduler'),
        ('evaluation.interval', 'train_cfg.val_interval'),
        ('evaluation.metric', 'val_evaluator.metric'),
        ('checkpoint_config.interval', 'default_hooks.checkpoint.interval'),
        ('log_config.interval', 'default_hooks.logger.interval'),
        ('resume_from', '--resume'),
        ('fp16.loss_scale', '--amp'),
        ('seed', 'randomness.seed'),
        ('model.pretrained', 'model.backbone.init_cfg.checkpoint'),
    ],
)
def test_names_from_before_mmengine(configs, key, new):
    said = refused(configs['maskrcnn'], key)
    assert 'mmdet 2.x' in said and f'Fix: use {new}' in said


def test_variables_of_a_config_file(configs):
    """They were used when the file was read: changing them afterwards changes nothing."""
    said = refused(configs['maskrcnn'], 'data_root', '/elsewhere/')
    assert 'train_dataloader.dataset.data_root' in said and 'val_evaluator.ann_file' in said
    said = refused(configs['maskrcnn'], 'train_pipeline.2.scale')
    assert 'set train_dataloader.dataset.pipeline.2.scale' in said
    own = copy.deepcopy(configs['maskrcnn'])
    own.custom_imports.imports = ['mmtrtvit', 'json']
    check_keys(own, {'data_root': '/elsewhere/'})  # code of the user's may read it


READ = [
    'train_dataloader.batch_size',
    'train_dataloader.prefetch_factor',
    'train_dataloader.dataset.indices',
    'optim_wrapper.optimizer.lr',
    'optim_wrapper.clip_grad.max_norm',
    'optim_wrapper.optimizer.fused',
    'optim_wrapper.accumulative_counts',
    'randomness.seed',
    'optim_wrapper.paramwise_cfg.custom_keys.foo.lr_mult',
    'optim_wrapper.paramwise_cfg.layer_decay',
    'model.backbone.with_cp',
    'model.backbone.init_cfg.checkpoint',
    'model.backbone.arch.depths',
    'default_hooks.checkpoint.max_keep_ckpts',
    'default_hooks.early.type',
    'model.test_cfg.rcnn.nms.iou_threshold',
    'model.rpn_head.num_convs',
    'model.neck.norm_cfg.type',
    'model.roi_head.bbox_head.norm_cfg',
    'val_evaluator.classwise',
    'train_cfg.val_begin',
    'custom_hooks',
    'work_dir',
    'load_from',
    'sync_bn',
    'find_unused_parameters',
    'experiment_name',
    'param_scheduler.0.end',
    'env_cfg.dist_cfg.timeout',
    'new_classes',
    'log_level',
    'model.data_preprocessor.batch_augments',
    'default_hooks.logger.ignore_last',
    'test_pipeline.1.scale',
    'auto_scale_lr.enable',
    'train_dataloader.dataset.metainfo.classes',
    'model.roi_head.mask_head.loss_mask.loss_weight',
    'model.train_cfg.rpn_proposal.max_per_img',
]


@pytest.mark.parametrize('key', READ)
def test_keys_that_are_read(configs, key):
    check_keys(configs['maskrcnn'], {key: 1})


@pytest.mark.parametrize('key', ['model.test_cfg.stride', 'model.decode_head.dropout_ratio', 'train_cfg.max_iters'])
def test_keys_of_segmentors(configs, key):
    check_keys(configs['semfpn'], {key: 1})


def test_another_type_has_other_arguments(configs):
    options = {'optim_wrapper.optimizer.momentum': 0.9, 'optim_wrapper.optimizer.type': 'SGD'}
    check_keys(configs['maskrcnn'], options)
    assert 'AdamW has no argument momentum' in refused(configs['maskrcnn'], 'optim_wrapper.optimizer.momentum')


def test_dictionaries_as_values(configs):
    check_keys(configs['maskrcnn'], {'train_dataloader': dict(batch_size=4, dataset=dict(data_root='x'))})
    assert 'train_dataloader.batchsize' in refused(configs['maskrcnn'], 'train_dataloader', dict(batchsize=4))
    assert 'archs' in refused(configs['maskrcnn'], 'model', dict(backbone=dict(archs='b')))


def test_loading_a_config_refuses_them(root):
    with pytest.raises(ConfigError, match='optim_wrapper.optimizer.lr'):
        load_config(root / 'configs' / 'maskrcnn_trtvit_a_coco.py', {'optimizer.lr': 1e-3})


# --- workers --------------------------------------------------------------------------------------------------------


def test_settings_for_workers_that_are_not_there(root, monkeypatch):
    said = []
    monkeypatch.setattr('mmtrtvit.config.print_log', lambda message, **_: said.append(message))
    path = root / 'configs' / 'maskrcnn_trtvit_a_coco.py'
    config = load_config(path, {'val_dataloader.num_workers': 0, 'val_dataloader.prefetch_factor': 4})
    assert not config.val_dataloader.get('persistent_workers') and 'prefetch_factor' not in config.val_dataloader
    assert config.test_dataloader.persistent_workers  # it has workers
    assert said[0] == 'persistent_workers of val_dataloader is left out: num_workers is 0.'
