"""Every config that is shipped: it loads, its model builds, and its parts fit each other."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmtrtvit.datasets.embedded import CLASSES, PALETTE
from mmtrtvit.models import TRTViT

CONFIGS = Path(__file__).parents[1] / 'configs'


def named(folder, pattern='*.py'):
    return [pytest.param(path, id=str(path.relative_to(CONFIGS))) for path in sorted(folder.glob(pattern))]


MODELS = named(CONFIGS)
DETECTORS = named(CONFIGS, 'maskrcnn_*.py')
DEPLOY = named(CONFIGS / 'deploy')


@pytest.fixture(autouse=True)
def no_data_root(monkeypatch):
    monkeypatch.delenv('MMTRTVIT_DATA_ROOT', raising=False)


def paths_in(config):
    """Every path of data that a config names."""
    for split in ('train', 'val', 'test'):
        yield config[f'{split}_dataloader'].dataset.data_root
        if f'{split}_evaluator' in config:
            yield config[f'{split}_evaluator'].ann_file


def test_the_configs_that_the_readme_names_are_there():
    names = {path.name for path in CONFIGS.glob('*.py')}
    assert names >= {f'maskrcnn_trtvit_{size}_coco.py' for size in 'abcd'} | {'maskrcnn_trtvit_a_toy.py'}
    assert len(DEPLOY) >= 2


# --- models -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('path', MODELS)
def test_model_builds_and_its_parts_fit(path):
    from mmdet.registry import MODELS as REGISTRY

    model = Config.fromfile(path).model
    with torch.device('meta'):
        network = REGISTRY.build(dict(model, _scope_='mmdet'))
    backbone = network.backbone
    assert type(backbone) is TRTViT
    assert tuple(model.neck.in_channels) == backbone.out_channels
    assert f'trtvit_{model.backbone.arch}_' in path.name
    with torch.no_grad():
        maps = network.neck(backbone.eval()(torch.empty(1, 3, 128, 96, device='meta')))
    strides = model.rpn_head.anchor_generator.strides
    assert [tuple(y.shape[2:]) for y in maps] == [(-(-128 // s), -(-96 // s)) for s in strides]
    assert tuple(strides[:4]) == backbone.strides
    assert model.data_preprocessor.pad_size_divisor == max(backbone.strides)


@pytest.mark.parametrize('path', DETECTORS)
def test_heads_agree_about_channels_strides_and_classes(path):
    config = Config.fromfile(path)
    model, heads = config.model, config.model.roi_head
    channels = model.neck.out_channels
    for part in (model.rpn_head, heads.bbox_head, heads.mask_head):
        assert part.in_channels == channels
    for extractor in (heads.bbox_roi_extractor, heads.mask_roi_extractor):
        assert extractor.out_channels == channels
        assert list(extractor.featmap_strides) == [4, 8, 16, 32]
        # mmdet's default 0 takes as many samples as a box is large, which no plain operator can do.
        assert extractor.roi_layer.sampling_ratio == 2
    metainfo = config.train_dataloader.dataset.get('metainfo')
    classes = len(metainfo.classes) if metainfo else 80
    assert heads.bbox_head.num_classes == heads.mask_head.num_classes == classes


def test_toy_config_knows_the_shapes_of_the_embedded_data_set():
    config = Config.fromfile(CONFIGS / 'maskrcnn_trtvit_a_toy.py')
    for split in ('train', 'val', 'test'):
        metainfo = config[f'{split}_dataloader'].dataset.metainfo
        assert tuple(metainfo.classes) == tuple(CLASSES)
        assert [tuple(colour) for colour in metainfo.palette] == [tuple(colour) for colour in PALETTE]


# --- data ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('path', MODELS)
def test_data_root_is_data_unless_the_environment_names_another(path, monkeypatch):
    assert all(name.startswith('data/') for name in paths_in(Config.fromfile(path)))
    default = list(paths_in(Config.fromfile(path)))
    monkeypatch.setenv('MMTRTVIT_DATA_ROOT', '/elsewhere/data sets')
    given = list(paths_in(Config.fromfile(path)))
    assert given == ['/elsewhere/data sets' + name.removeprefix('data') for name in default]
    assert len(given) >= 5


@pytest.mark.parametrize('path', DETECTORS)
def test_train_val_and_test_are_apart(path):
    config = Config.fromfile(path)
    train, val, test = (config[f'{split}_dataloader'].dataset for split in ('train', 'val', 'test'))
    assert 'train' in train.ann_file and 'train' in train.data_prefix.img
    for dataset, evaluator in ((val, config.val_evaluator), (test, config.test_evaluator)):
        assert dataset.test_mode and 'val' in dataset.ann_file and 'val' in dataset.data_prefix.img
        assert evaluator.ann_file == dataset.data_root + dataset.ann_file
        assert set(evaluator.metric) == {'bbox', 'segm'}


@pytest.mark.parametrize('path', MODELS)
def test_what_mmdeploy_reads_is_where_it_reads_it(path):
    """mmdeploy takes a top-level test pipeline and compares types by their unscoped names."""
    config = Config.fromfile(path)
    assert config.test_pipeline == config.test_dataloader.dataset.pipeline
    names = [step.type for step in config.test_pipeline] + [config.test_dataloader.dataset.type]
    assert all('.' not in name for name in names)
    assert config.test_pipeline[0].type == 'LoadImageFromFile'
    assert config.test_pipeline[-1].type.startswith('Pack')


@pytest.mark.parametrize('path', MODELS)
def test_every_step_of_the_pipelines_builds(path):
    from mmdet.registry import DATASETS, TRANSFORMS

    config = Config.fromfile(path)
    for split in ('train', 'val', 'test'):
        dataset = config[f'{split}_dataloader'].dataset
        assert DATASETS.get(dataset.type) is not None
        for step in dataset.pipeline:
            TRANSFORMS.build(dict(step, _scope_='mmdet'))
    TRANSFORMS.build(dict(config.tta_pipeline[-1], _scope_='mmdet'))


# --- schedules ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('path', named(CONFIGS, 'maskrcnn_*_coco.py'))
def test_the_schedule_is_the_one_that_is_documented(path):
    config = Config.fromfile(path)
    assert (config.train_cfg.max_epochs, config.param_scheduler[-1].milestones) == (12, [8, 11])
    optimiser = config.optim_wrapper.optimizer
    assert (optimiser.type, optimiser.lr, optimiser.weight_decay) == ('AdamW', 1e-4, 0.05)
    assert config.optim_wrapper.paramwise_cfg.norm_decay_mult == 0
    assert config.auto_scale_lr.base_batch_size == 16
    assert any(step.type == 'Resize' and step.scale == (1333, 800) for step in config.train_pipeline)


@pytest.mark.parametrize('path', MODELS)
def test_learning_rate_schedules_end_with_training(path):
    config = Config.fromfile(path)
    by_epoch = [scheduler for scheduler in config.param_scheduler if scheduler.by_epoch]
    assert max(scheduler.end for scheduler in by_epoch) == config.train_cfg.max_epochs


# --- deployment ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize('path', DEPLOY)
def test_deploy_config(path):
    config = Config.fromfile(path)
    assert config.codebase_config.module == ['mmtrtvit.deploy']
    assert config.onnx_config.opset_version >= 17, 'the first with LayerNormalization as one node'
    assert config.backend_config.type in path.name
    shape = config.onnx_config.input_shape
    if 'static' in path.name:
        height, width = path.stem.rpartition('-')[2].split('x')
        assert list(shape) == [int(width), int(height)] and 'dynamic_axes' not in config.onnx_config
        assert all(side % 32 == 0 for side in shape)
    else:
        axes = config.onnx_config.dynamic_axes
        assert shape is None and axes.input == {0: 'batch', 2: 'height', 3: 'width'}
        assert set(axes) == {*config.onnx_config.input_names, *config.onnx_config.output_names}
