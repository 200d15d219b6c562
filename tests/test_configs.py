"""Every config that is shipped: it loads, its model builds, its parts fit, it trains, and it predicts."""

import copy
import functools
import math
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS, TRANSFORMS, init_default_scope

from mmtrtvit.benchmark import random_batch
from mmtrtvit.benchmark.training import build_training
from mmtrtvit.datasets.toy import CLASSES, PALETTE
from mmtrtvit.engine.schedule import schedule_faults
from mmtrtvit.engine.shared_norms import batch_norm_calls
from mmtrtvit.zoo.families import FAMILIES
from mmtrtvit.zoo.methods import classes_of, method_of

CONFIGS = Path(__file__).parents[1] / 'configs'
NAME = re.compile(r'([a-z]+)_([a-z]+)(?:_([a-z][a-z0-9]*))?(?:_(3x))?(?:_resnet-init)?_(coco|ade20k|toy)')

COCO, ADE20K = ('maskrcnn', 'fasterrcnn', 'retinanet'), ('semfpn', 'upernet')
SCOPES = {**dict.fromkeys(COCO, 'mmdet'), **dict.fromkeys(ADE20K, 'mmseg')}
LONGER = ('maskrcnn', 'retinanet')
"""Methods with a schedule of 3x too."""


def named(folder, pattern='*.py'):
    return [pytest.param(path, id=str(path.relative_to(CONFIGS))) for path in sorted(folder.glob(pattern))]


def of(*methods, dataset='*'):
    return [parameter for method in methods for parameter in named(CONFIGS, f'{method}_*_{dataset}.py')]


ALL = named(CONFIGS)


def is_first_size(parameter):
    """Whether a config is of the smallest size of its family: the others inherit all but the backbone."""
    _, family, arch, _, _ = NAME.fullmatch(parameter.values[0].stem).groups()
    return arch in (None, FAMILIES[family].archs[0])


FIRST = [parameter for parameter in ALL if is_first_size(parameter)]
DEPLOY = named(CONFIGS / 'deploy')


@pytest.fixture(autouse=True)
def no_data_root(monkeypatch):
    monkeypatch.delenv('MMTRTVIT_DATA_ROOT', raising=False)


@functools.cache
def read(path):
    return Config.fromfile(path)


def load(path):
    """A config that the test may change; reading the files takes a hundred times as long."""
    return copy.deepcopy(read(path))


def part(config, dotted):
    for key in dotted.split('.'):
        config = config[key]
    return config


def test_names_say_what_is_inside():
    found = {NAME.fullmatch(path.stem).groups() for path in CONFIGS.glob('*.py')}
    # a family of one size does without its name
    sizes = {
        (method, name, arch if len(family.archs) > 1 else None)
        for method in SCOPES
        for name, family in FAMILIES.items()
        for arch in family.archs
    }
    assert {name[:3] for name in found if name[3] is None and name[4] != 'toy'} == sizes
    assert {name[:3] for name in found if name[3] == '3x'} == {name for name in sizes if name[0] in LONGER}
    assert {name[0] for name in found if name[4] == 'toy'} == set(SCOPES)
    assert {name[1] for name in found if name[4] == 'toy'} == set(FAMILIES)
    assert {name[4] for name in found if name[0] in ADE20K} == {'ade20k', 'toy'}
    assert len(DEPLOY) >= 2


# --- models -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('path', ALL)
def test_model_is_what_the_name_says(path):
    config = load(path)
    method, family, arch, _, dataset = NAME.fullmatch(path.stem).groups()
    assert method_of(config) == method
    assert config.default_scope == SCOPES[method]
    assert config.model.backbone.type == f'mmtrtvit.{FAMILIES[family].backbone}'
    assert arch in (None, config.model.backbone.get('arch'))
    classes = {'coco': 80, 'ade20k': 150, 'toy': len(CLASSES) + (method in ADE20K)}
    assert classes_of(config) == classes[dataset]


@pytest.mark.parametrize('path', ALL)
def test_model_builds_and_its_maps_have_their_channels_and_strides(path):
    config = load(path)
    model = config.model
    with torch.device('meta'):
        network = MODELS.build(dict(model, _scope_=config.default_scope)).eval()
    backbone = network.backbone
    assert tuple(part(model, 'neck' if 'neck' in model else 'decode_head').in_channels) == backbone.out_channels
    with torch.no_grad():
        maps = backbone(torch.empty(1, 3, 128, 96, device='meta'))
        maps = network.neck(maps) if network.with_neck else maps
    strides = {
        'maskrcnn': lambda: model.rpn_head.anchor_generator.strides,
        'fasterrcnn': lambda: model.rpn_head.anchor_generator.strides,
        'retinanet': lambda: model.bbox_head.anchor_generator.strides,
        'semfpn': lambda: model.decode_head.feature_strides,
        'upernet': lambda: backbone.strides,
    }[method_of(config)]()
    assert [tuple(y.shape[2:]) for y in maps] == [(-(-128 // s), -(-96 // s)) for s in strides]
    assert set(strides) >= set(backbone.strides) - {4}
    # a BatchNorm that runs for several levels has statistics that fit none of them
    with torch.no_grad(), batch_norm_calls(network) as calls:
        network.neck(backbone(torch.empty(1, 3, 128, 96, device='meta'))) if network.with_neck else None
        for head in ('rpn_head', 'bbox_head', 'decode_head', 'auxiliary_head'):
            if getattr(network, head, None) is not None:
                getattr(network, head)(maps)
    assert not [name for name, count in calls.items() if count > 1]


@pytest.mark.parametrize('path', of('maskrcnn', 'fasterrcnn'))
def test_heads_of_two_stages_agree(path):
    config = load(path)
    model, heads = config.model, config.model.roi_head
    channels = model.neck.out_channels
    parts = ['bbox', 'mask'] if method_of(config) == 'maskrcnn' else ['bbox']
    for head in (model.rpn_head, *(heads[f'{name}_head'] for name in parts)):
        assert head.in_channels == channels
    for extractor in (heads[f'{name}_roi_extractor'] for name in parts):
        assert extractor.out_channels == channels
        assert list(extractor.featmap_strides) == [4, 8, 16, 32]
        # mmdet's default 0 takes as many samples as a box is large, which no plain operator can do.
        assert extractor.roi_layer.sampling_ratio == (1 if 'toy' in Path(path).name else 2)
    assert {heads[f'{name}_head'].num_classes for name in parts} == {classes_of(config)}
    assert len(parts) == 2 or not heads.get('mask_head')


@pytest.mark.parametrize('path', of(*COCO))
def test_detectors_fill_images_up_to_the_largest_stride(path):
    assert load(path).model.data_preprocessor.pad_size_divisor == 32


@pytest.mark.parametrize('path', of(*ADE20K))
def test_heads_of_segmenters_agree(path):
    config = load(path)
    model = config.model
    if 'auxiliary_head' in model:
        with torch.device('meta'):
            channels = MODELS.build(dict(model.backbone)).out_channels
        assert model.auxiliary_head.in_channels == channels[model.auxiliary_head.in_index]
        assert model.auxiliary_head.num_classes == model.decode_head.num_classes
    # one GPU and CPUs have no synchronised norms; mmengine makes them of these where there are several
    assert config.sync_bn == 'torch'
    assert model.decode_head.norm_cfg.type == 'BN'
    assert model.data_preprocessor.size == config.crop_size
    assert not config.get('find_unused_parameters', False)


@pytest.mark.parametrize('path', of(*SCOPES, dataset='toy'))
def test_toy_configs_know_the_shapes_of_the_toy_data_set(path):
    config = load(path)
    for split in ('train', 'val', 'test'):
        metainfo = config[f'{split}_dataloader'].dataset.metainfo
        background = len(metainfo.classes) - len(CLASSES)
        assert tuple(metainfo.classes[background:]) == tuple(CLASSES)
        assert [tuple(colour) for colour in metainfo.palette[background:]] == [tuple(colour) for colour in PALETTE]
        assert background == (method_of(config) in ADE20K)


# --- one step of training, one of testing -------------------------------------------------------------------

SIDE = 64
"""Height and width of the images."""

SHALLOW = {
    'depths': lambda depth: 1,
    'block_types': lambda letters: letters[-1],
    'attention_blocks': lambda count: min(count, 1),
}
"""What becomes of a stage's settings, so that sizes with hundreds of millions of parameters are run in a second."""

TWO_STAGES = {'train_cfg.rcnn.sampler.num': 16, 'test_cfg.rcnn.score_thr': 0.0, 'test_cfg.rcnn.max_per_img': 5}
CHEAP = {
    'maskrcnn': TWO_STAGES,
    'fasterrcnn': TWO_STAGES,
    'retinanet': {'test_cfg.score_thr': 0.0, 'test_cfg.max_per_img': 5},
}
"""Fewer samples in training, and in testing predictions even though nothing is learned yet."""


def shallow(config):
    """The same heads and channels on one block a stage."""
    backbone = config.model.backbone
    settings = dict(MODELS.get(backbone.type).arch_settings[backbone.arch])
    for key in SHALLOW.keys() & settings.keys():
        settings[key] = tuple(SHALLOW[key](value) for value in settings[key])
    backbone.arch = settings
    return config


def check_detections(sample, config, masks):
    found, (height, width) = sample.pred_instances, sample.ori_shape
    assert 0 < len(found) <= 5
    assert found.bboxes.shape == (len(found), 4) and found.bboxes.isfinite().all()
    assert found.bboxes.min() >= 0 and found.bboxes.max() <= max(height, width)
    assert ((found.labels >= 0) & (found.labels < classes_of(config))).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert ('masks' in found) == masks
    if masks:
        assert found.masks.shape == (len(found), height, width) and found.masks.dtype == torch.bool


def check_label_map(sample, config):
    labels, size = sample.pred_sem_seg.data, sample.ori_shape
    assert labels.shape == (1, *size) and labels.dtype == torch.int64
    assert sample.seg_logits.data.shape == (classes_of(config), *size)
    assert sample.seg_logits.data.isfinite().all()
    assert torch.equal(sample.seg_logits.data.argmax(0, keepdim=True), labels)


CHECKS = {
    'maskrcnn': lambda sample, config: check_detections(sample, config, masks=True),
    'fasterrcnn': lambda sample, config: check_detections(sample, config, masks=False),
    'retinanet': lambda sample, config: check_detections(sample, config, masks=False),
    'semfpn': check_label_map,
    'upernet': check_label_map,
}


# Faster R-CNN is Mask R-CNN without its last head: one family stands for all. The fixtures train the toy configs.
STEPS = [
    p
    for p in FIRST
    if not re.search('_3x_|_toy', p.id) and ('fasterrcnn' not in p.id or p.id == 'fasterrcnn_trtvit_a_coco.py')
]


@pytest.mark.parametrize('path', STEPS)
def test_one_step_of_training_and_one_of_testing(path, monkeypatch):
    torch.manual_seed(0)
    config = shallow(load(path))
    config.model.backbone.init_cfg = None  # the weights are not here
    method = method_of(config)
    for key, value in CHEAP.get(method, {}).items():
        *parents, last = key.split('.')
        part(config.model, '.'.join(parents))[last] = value
    network, wrapper = build_training(config, SIDE, checkpointing=False, amp=False, device=torch.device('cpu'))
    network.init_weights()
    # the optimiser would throw the gradients away
    monkeypatch.setattr(wrapper, 'zero_grad', lambda **kwargs: None)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}

    losses = network.train_step(random_batch(config, 2, SIDE, SIDE), wrapper)
    assert any('loss' in name for name in losses)
    assert all(math.isfinite(value.item()) for value in losses.values())
    trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    # distributed training with find_unused_parameters=False waits for every one of them
    assert not [name for name, parameter in trained.items() if parameter.grad is None]
    assert not [name for name, parameter in trained.items() if not parameter.grad.isfinite().all()]
    assert any(not torch.equal(before[name], parameter) for name, parameter in trained.items())

    network.eval()
    with torch.no_grad():
        samples = network.test_step(random_batch(config, 2, SIDE, SIDE, seed=1))
    assert len(samples) == 2
    for sample in samples:
        CHECKS[method](sample, config)


# --- data ---------------------------------------------------------------------------------------------------


def paths_in(config):
    """Every path of data that a config names."""
    for split in ('train', 'val', 'test'):
        yield config[f'{split}_dataloader'].dataset.data_root
        if 'ann_file' in config.get(f'{split}_evaluator', {}):
            yield config[f'{split}_evaluator'].ann_file


@pytest.mark.parametrize('path', FIRST)
def test_data_root_is_data_unless_the_environment_names_another(path, monkeypatch):
    default = list(paths_in(Config.fromfile(path)))
    assert all(name.startswith('data/') for name in default)
    monkeypatch.setenv('MMTRTVIT_DATA_ROOT', '/elsewhere/data sets')
    given = list(paths_in(Config.fromfile(path)))
    assert given == ['/elsewhere/data sets' + name.removeprefix('data') for name in default]
    assert len(given) >= 3


@pytest.mark.parametrize('path', of(*COCO))
def test_train_val_and_test_of_detectors_are_apart(path):
    config = load(path)
    train, val, test = (config[f'{split}_dataloader'].dataset for split in ('train', 'val', 'test'))
    assert 'train' in train.ann_file and 'train' in train.data_prefix.img
    metrics = {'bbox', 'segm'} if method_of(config) == 'maskrcnn' else {'bbox'}
    for dataset, evaluator in ((val, config.val_evaluator), (test, config.test_evaluator)):
        assert dataset.test_mode and 'val' in dataset.ann_file and 'val' in dataset.data_prefix.img
        assert evaluator.ann_file == dataset.data_root + dataset.ann_file
        assert ({evaluator.metric} if isinstance(evaluator.metric, str) else set(evaluator.metric)) == metrics


@pytest.mark.parametrize('path', of(*ADE20K))
def test_train_val_and_test_of_segmenters_are_apart(path):
    config = load(path)
    for split, folder in (('train', 'training'), ('val', 'validation'), ('test', 'validation')):
        dataset = config[f'{split}_dataloader'].dataset
        assert dataset.data_prefix.img_path == f'images/{folder}'
        assert dataset.data_prefix.seg_map_path == f'annotations/{folder}'
        assert dataset.get('test_mode', False) == (split != 'train')
        loaders = [step for step in dataset.pipeline if step.type == 'LoadAnnotations']
        assert [step.reduce_zero_label for step in loaders] == [True]
    assert config.val_evaluator.type == config.test_evaluator.type == 'IoUMetric'


@pytest.mark.parametrize('path', FIRST)
def test_what_mmdeploy_reads_is_where_it_reads_it(path):
    """mmdeploy takes a top-level test pipeline and compares types by their unscoped names."""
    config = load(path)
    assert config.test_pipeline == config.test_dataloader.dataset.pipeline
    names = [step.type for step in config.test_pipeline] + [config.test_dataloader.dataset.type]
    assert all('.' not in name for name in names)
    assert config.test_pipeline[0].type == 'LoadImageFromFile'
    assert config.test_pipeline[-1].type.startswith('Pack')


@pytest.mark.parametrize('path', FIRST)
def test_every_step_of_the_pipelines_builds(path):
    config = load(path)
    init_default_scope(config.default_scope)
    for split in ('train', 'val', 'test'):
        dataset = config[f'{split}_dataloader'].dataset
        assert DATASETS.get(f'{config.default_scope}.{dataset.type}') is not None
        for step in dataset.pipeline:
            TRANSFORMS.build(dict(step, _scope_=config.default_scope))
    TRANSFORMS.build(dict(config.tta_pipeline[-1], _scope_=config.default_scope))


# --- schedules ----------------------------------------------------------------------------------------------

# length, what the last scheduler does, learning rate, weight decay, warm-up, whether norms decay
EPOCHS = dict(lr=1e-4, weight_decay=0.05, warmup=500, norms_decay=False)
RECIPES = {
    '1x': dict(EPOCHS, length=('max_epochs', 12), last=dict(type='MultiStepLR', milestones=[8, 11], gamma=0.1)),
    '3x': dict(EPOCHS, length=('max_epochs', 36), last=dict(type='MultiStepLR', milestones=[27, 33], gamma=0.1)),
    '80k': dict(
        length=('max_iters', 80000),
        last=dict(type='PolyLR', power=0.9, eta_min=1e-6),
        lr=1e-4,
        weight_decay=1e-4,
        warmup=None,
        norms_decay=True,
    ),
    '160k': dict(
        length=('max_iters', 160000),
        last=dict(type='PolyLR', power=1.0, eta_min=0.0),
        lr=6e-5,
        weight_decay=0.01,
        warmup=1500,
        norms_decay=False,
    ),
}
"""Next-ViT's official configs, which those of TRT-ViT and TurboViT follow."""

OTHERWISE = {
    ('efficientformer', 'maskrcnn'): dict(lr=2e-4, weight_decay=1e-4),
    ('efficientformer', 'fasterrcnn'): dict(lr=2e-4, weight_decay=1e-4),
    ('efficientformer', 'retinanet'): dict(lr=2e-4, weight_decay=1e-4),
    ('efficientformer', 'semfpn'): dict(last=dict(type='PolyLR', power=0.9, eta_min=0.0)),
}
"""What EfficientFormer's official configs have instead."""

DEFAULT = {**dict.fromkeys(COCO, '1x'), 'semfpn': '80k', 'upernet': '160k'}


@pytest.mark.parametrize('path', [*of(*COCO, dataset='coco'), *of(*ADE20K, dataset='ade20k')])
def test_the_schedule_is_the_one_that_is_documented(path):
    config = load(path)
    method, family, _, schedule, _ = NAME.fullmatch(path.stem).groups()
    recipe = {**RECIPES[schedule or DEFAULT[method]], **OTHERWISE.get((family, method), {})}
    key, length = recipe['length']
    assert config.train_cfg[key] == length
    last = config.param_scheduler[-1]
    assert {name: last[name] for name in recipe['last']} == recipe['last']
    warmups = [scheduler.end for scheduler in config.param_scheduler[:-1]]
    longer = 3 if '_resnet-init_' in path.stem else 1
    assert warmups == ([longer * recipe['warmup']] if recipe['warmup'] else [])
    optimiser = config.optim_wrapper.optimizer
    assert (optimiser.type, optimiser.lr, optimiser.weight_decay) == ('AdamW', recipe['lr'], recipe['weight_decay'])
    decay = config.optim_wrapper.get('paramwise_cfg', {}).get('norm_decay_mult', 1.0)
    assert decay == (1.0 if recipe['norms_decay'] else 0.0)
    assert config.auto_scale_lr.base_batch_size == 16 and not config.auto_scale_lr.enable


WITHOUT_DECAY = {'efficientformer': {'gamma', 'attention_biases'}, 'turbovit': {'position'}}
"""Last part of the names of a family's parameters that belong to neither layers nor norms; most families have none."""


@pytest.mark.parametrize('method', SCOPES)
@pytest.mark.parametrize('family', FAMILIES)
def test_what_is_no_weight_of_a_layer_does_not_decay(family, method):
    paths = [path for path in CONFIGS.glob(f'{method}_{family}_*.py') if 'toy' not in path.stem]
    config = load(min(paths))
    with torch.device('meta'):
        network = MODELS.build(dict(config.model, _scope_=config.default_scope))
    optimiser = build_optim_wrapper(network, config.optim_wrapper).optimizer
    names = {id(value): name for name, value in network.named_parameters() if value.requires_grad}
    groups = [group for group in optimiser.param_groups if group['params'][0].requires_grad]
    decays = {names[id(group['params'][0])]: group['weight_decay'] for group in groups}
    assert len(decays) == len(names)
    free = {name for name in decays if name.rpartition('.')[2] in set().union(*WITHOUT_DECAY.values())}
    assert {name.rpartition('.')[2] for name in free} == WITHOUT_DECAY.get(family, set())
    if method != 'semfpn':
        kinds = (torch.nn.modules.batchnorm._BatchNorm, torch.nn.GroupNorm, torch.nn.LayerNorm)
        norms = [name for name, module in network.named_modules() if isinstance(module, kinds)]
        free |= {f'{name}.{kind}' for name in norms for kind in ('weight', 'bias')} & set(decays)
    assert {name for name, decay in decays.items() if decay == 0} == free


# --- where they are from ------------------------------------------------------------------------------------

SIBLINGS = [parameter for parameter in ALL if '_trtvit_' not in parameter.id and '_toy' not in parameter.id]


@pytest.mark.parametrize('path', SIBLINGS)
def test_the_header_says_whether_the_recipe_is_published(path):
    method, family, _, schedule, _ = NAME.fullmatch(path.stem).groups()
    said = re.match(r'# Recipe: (published|adapted)\b', path.read_text())
    about = FAMILIES[family]
    assert about.recipes.get(f'{method}_{schedule or DEFAULT[method]}', about.recipe).startswith(said[1])


@pytest.mark.parametrize('path', SIBLINGS)
def test_pretrained_weights_are_those_of_the_size(path):
    backbone = load(path).model.backbone
    _, family, arch, _, _ = NAME.fullmatch(path.stem).groups()
    if FAMILIES[family].weights == 'none is published':
        assert backbone.init_cfg is None
    else:
        assert backbone.init_cfg == dict(type='Pretrained', checkpoint=f'checkpoints/{family}_{arch}_in1k.pth')
    # what is frozen without pretrained weights stays random
    frozen = family == 'nextvit' and method_of(load(path)) in COCO
    assert (backbone.frozen_stages, backbone.norm_eval) == ((1, True) if frozen else (-1, False))


@pytest.mark.parametrize('path', of(*SCOPES, dataset='toy'))
def test_toy_configs_learn_from_scratch(path):
    backbone = load(path).model.backbone
    assert backbone.get('init_cfg') is None
    assert backbone.get('frozen_stages', -1) == -1 and not backbone.get('norm_eval', False)


def sizes(config):
    """Images sizes that ``Resize`` and its like name in the training pipeline, in pipeline order."""
    steps, found = list(config.train_pipeline), []
    for step in steps:
        if step.type == 'RandomChoice':
            found += [inner for branch in step.transforms for inner in branch]
        else:
            found.append(step)
    return found


@pytest.mark.parametrize('path', of(*COCO, dataset='coco'))
def test_three_times_as_long_goes_with_crops_of_many_sizes(path):
    steps = sizes(load(path))
    crops = [step for step in steps if step.type == 'RandomCrop']
    if '_3x_' in path.name:
        assert [tuple(step.crop_size) for step in crops] == [(384, 600)]
        scales = [tuple(scale) for step in steps if step.type == 'RandomChoiceResize' for scale in step.scales]
        assert {min(scale) for scale in scales} >= set(range(480, 801, 32)) | {400, 500, 600}
    else:
        assert not crops
        assert [tuple(step.scale) for step in steps if step.type == 'Resize'] == [(1333, 800)]


@pytest.mark.parametrize('path', of(*ADE20K, dataset='ade20k'))
def test_segmenters_see_crops_of_512(path):
    config = load(path)
    assert [tuple(step.crop_size) for step in sizes(config) if step.type == 'RandomCrop'] == [(512, 512)]
    assert [tuple(step.scale) for step in config.test_pipeline if step.type == 'Resize'] == [(2048, 512)]


@pytest.mark.parametrize('path', ALL)
def test_schedules_and_best_checkpoints(path):
    config = load(path)
    assert not schedule_faults(config, steps=7330 if '_resnet-init_' in path.stem else 200)
    length = config.train_cfg.get('max_epochs') or config.train_cfg.max_iters
    assert config.train_cfg.val_interval <= length
    # 'auto' takes the first figure of the evaluator: with classwise=True the AP of one class
    best = 'mIoU' if method_of(config) in ADE20K else 'coco/bbox_mAP'
    assert config.default_hooks.checkpoint.save_best in (best, None)


def test_what_a_resnet_fills_learns_at_lower_rates():
    config = load(CONFIGS / 'maskrcnn_trtvit_d_resnet-init_coco.py')
    backbone = config.model.backbone
    assert backbone.init_cfg == dict(type='Pretrained', checkpoint='checkpoints/trtvit_d_resnet50.pth')
    with torch.device('meta'):
        network = MODELS.build(dict(config.model, _scope_='mmdet'))
    optimiser = build_optim_wrapper(network, config.optim_wrapper).optimizer
    names = {id(value): name for name, value in network.named_parameters()}
    full = config.optim_wrapper.optimizer.lr
    shares = {names[id(group['params'][0])]: group['lr'] / full for group in optimiser.param_groups}
    filled = [share for name, share in shares.items() if re.match(r'backbone\.(stem|stages\.[012])\.', name)]
    assert (round(min(filled), 2), round(max(filled), 2)) == (0.2, 0.7)
    assert min(share for name, share in shares.items() if name.startswith('backbone.stages.3')) > 0.7
    assert {share for name, share in shares.items() if not name.startswith('backbone')} == {1.0}


# --- deployment ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize('path', DEPLOY)
def test_deploy_config(path):
    config = load(path)
    assert config.custom_imports.imports == ['mmtrtvit.deploy'], 'for the processes of mmdeploy'
    assert config.onnx_config.opset_version >= 17, 'the first with LayerNormalization as one node'
    assert config.backend_config.type == path.stem.split('_')[1]
    shape = config.onnx_config.input_shape
    if 'static' in path.name:
        height, width = path.stem.rpartition('-')[2].split('x')
        assert list(shape) == [int(width), int(height)] and not config.onnx_config.get('dynamic_axes')
        assert all(side % 32 == 0 for side in shape)
    else:
        axes = config.onnx_config.dynamic_axes
        assert shape is None and axes.input == {0: 'batch', 2: 'height', 3: 'width'}
        assert set(axes) == {*config.onnx_config.input_names, *config.onnx_config.output_names}
