"""Configs for data of one's own: what is written loads, builds, fits the data and trains."""

import json
import shutil

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image

from mmtrtvit.apis import new_config, train
from mmtrtvit.apis.class_layers import build_without_memory, class_layers
from mmtrtvit.config import load_config
from mmtrtvit.datasets.preflight import find_faults
from mmtrtvit.engine.schedule import schedule_faults
from mmtrtvit.engine.shared_norms import batch_norm_calls
from mmtrtvit.errors import CheckpointError, ConfigError, DataError
from mmtrtvit.zoo.families import FAMILIES

CLASSES = ('leaf', 'bud')


def coco(folder, classes=CLASSES, masks=True, splits=(('train', 6), ('val', 2)), side=20):
    for split, count in splits:
        content = dict(
            images=[], annotations=[], categories=[dict(id=n, name=name) for n, name in enumerate(classes, 1)]
        )
        (folder / f'{split}2017').mkdir(parents=True)
        (folder / 'annotations').mkdir(exist_ok=True)
        for number in range(1, count + 1):
            name = f'{number}.jpg'
            Image.new('RGB', (128, 96), (number * 20, 90, 60)).save(folder / f'{split}2017' / name)
            content['images'].append(dict(id=number, file_name=name, width=128, height=96))
            for label in range(1, len(classes) + 1):
                x, w = 10.0 * label % 60, max(float(side * label), 4.0)
                content['annotations'].append(
                    dict(
                        id=len(content['annotations']) + 1,
                        image_id=number,
                        category_id=label,
                        bbox=[x, 5.0, w, w],
                        area=w * w,
                        iscrowd=0,
                        segmentation=[[x, 5.0, x + w, 5.0, x + w, 5.0 + w, x, 5.0 + w]] if masks else [],
                    )
                )
        (folder / 'annotations' / f'instances_{split}2017.json').write_text(json.dumps(content))
    return folder


def label_maps(folder, splits=(('training', 6), ('validation', 2)), suffix='.jpg'):
    for split, count in splits:
        (folder / 'images' / split).mkdir(parents=True)
        (folder / 'annotations' / split).mkdir(parents=True)
        for number in range(count):
            Image.new('RGB', (128, 96), (number * 20, 90, 60)).save(folder / 'images' / split / f'{number}{suffix}')
            labels = Image.new('L', (128, 96), 0)
            labels.paste(1, (10, 10, 60, 60))
            labels.save(folder / 'annotations' / split / f'{number}.png')
    (folder / 'classes.txt').write_text('ground\nleaf\n')
    return folder


@pytest.fixture(scope='module')
def boxes(tmp_path_factory):
    return coco(tmp_path_factory.mktemp('boxes') / 'data')


@pytest.fixture(scope='module')
def maps(tmp_path_factory):
    return label_maps(tmp_path_factory.mktemp('maps') / 'data')


def smallest(method, dataset):
    names = []
    for name, family in FAMILIES.items():
        arch = f'_{family.archs[0]}' if len(family.archs) > 1 else ''
        names.append(f'{method}_{name}{arch}_{dataset}')
    return names


DETECTORS = [name for method in ('retinanet', 'fasterrcnn', 'maskrcnn') for name in smallest(method, 'coco')]
SEGMENTORS = [name for method in ('semfpn', 'upernet') for name in smallest(method, 'ade20k')]


def written(name, data, tmp_path, **options):
    """The config, and its report."""
    path = tmp_path / 'elsewhere' / 'own.py'
    done = new_config(name, data=data, out=path, **options)
    return load_config(path), done


@pytest.mark.parametrize('name', [*DETECTORS, *SEGMENTORS, 'maskrcnn_trtvit_a_3x_coco'])
def test_every_method_and_family(name, boxes, maps, tmp_path, monkeypatch):
    """It loads from any folder, its network builds, and neither classes nor data nor schedule are left to correct."""
    seg = name.endswith('ade20k')
    config, done = written(name, maps if seg else boxes, tmp_path)
    monkeypatch.chdir(tmp_path)
    network = build_without_memory(config.model, config.default_scope).eval()
    with torch.no_grad(), batch_norm_calls(network) as calls:
        maps = network.extract_feat(torch.empty(1, 3, 96, 128, device='meta'))
        for head in ('rpn_head', 'bbox_head', 'decode_head', 'auxiliary_head'):
            if getattr(network, head, None) is not None:
                getattr(network, head)(maps)
    assert not [head for head, count in calls.items() if count > 1]
    assert not schedule_faults(config, steps=2)
    assert not [found for found in find_faults(config, ('train', 'val', 'test')) if found.severity == 'error']
    assert config.model.backbone.init_cfg is None and config.model.backbone.frozen_stages == -1
    assert config.default_hooks.checkpoint.save_best == ('mIoU' if seg else 'coco/bbox_mAP')
    for split in ('train', 'val', 'test'):
        dataset = config[f'{split}_dataloader'].dataset
        assert tuple(dataset.metainfo.classes) == (('ground', 'leaf') if seg else CLASSES)
        (scale,) = [step.scale for step in dataset.pipeline if step.type in ('Resize', 'RandomResize')]
        assert scale == (128, 96)
    assert config.test_pipeline == config.test_dataloader.dataset.pipeline
    warm_up, decay = config.param_scheduler
    length = config.train_cfg.max_iters if seg else config.train_cfg.max_epochs
    assert decay.end == length and warm_up.end <= 0.2 * (length if seg else 2 * length)
    (scales,) = [[step.scale for step in options] for options in config.tta_pipeline[1].transforms[:1]]
    assert scales == [(96, 72), (128, 96), (160, 120)]
    if seg:
        loads = [step for step in config.train_dataloader.dataset.pipeline if step.type == 'LoadAnnotations']
        assert not loads[0].get('reduce_zero_label') and not config.train_dataloader.dataset.reduce_zero_label
        assert tuple(config.model.data_preprocessor.size) == (96, 128)
    assert 'from scratch' in done.report() and str(done.path) in done.report()


def test_the_file_is_short_and_says_why(boxes, tmp_path):
    config, done = written('retinanet_trtvit_a_coco.py', boxes, tmp_path, size=(64, 48), epochs=7, batch_size=3)
    text = done.path.read_text()
    assert len(text.splitlines()) < 75 and max(map(len, text.splitlines())) <= 120
    assert config.train_cfg.max_epochs == 7 and config.train_dataloader.batch_size == 3
    assert all(str(choice).split()[0] in text for choice in done.choices)
    assert config.model.bbox_head.norm_cfg.type == config.model.neck.norm_cfg.type == 'GN'
    # boxes of 20 and 40 pixels are 10 and 20 at half the size
    assert config.model.bbox_head.anchor_generator.octave_base_scale == 1
    assert 'anchors: from 8 pixels' in text


def test_objects_of_one_image_decide_on_rois_and_places(tmp_path):
    classes = [f'c{number}' for number in range(90)]
    config, _ = written('fasterrcnn_trtvit_a_coco', coco(tmp_path / 'many', classes, side=0.2), tmp_path)
    assert config.model.test_cfg.rcnn.max_per_img == 200 and config.model.train_cfg.rcnn.sampler.num == 512
    shutil.rmtree(tmp_path / 'elsewhere')
    config, _ = written('fasterrcnn_trtvit_a_coco', coco(tmp_path / 'few'), tmp_path)
    assert config.model.test_cfg.rcnn.max_per_img == 100 and config.model.train_cfg.rcnn.sampler.num == 128


@pytest.mark.parametrize('images, epochs', [(8, 100), (205, 12), (6000, 12)])
def test_schedule_by_the_number_of_images(images, epochs):
    from mmtrtvit.zoo.recipe import choose_schedule

    schedule, _ = choose_schedule(images, 'objects', scratch=True)
    assert schedule.epochs == epochs and schedule.warm_up <= schedule.iterations / 5
    again, _ = choose_schedule(images, 'objects', scratch=False)
    assert again.epochs <= epochs and again.rate < schedule.rate


def test_a_test_split_is_tested_on(tmp_path):
    data = coco(tmp_path / 'data', splits=(('train', 4), ('val', 2), ('test', 3)))
    config, _ = written('retinanet_trtvit_a_coco', data, tmp_path)
    assert config.test_dataloader.dataset.ann_file.endswith('instances_test2017.json')
    assert config.test_evaluator.ann_file.endswith('instances_test2017.json')
    assert config.val_evaluator.ann_file.endswith('instances_val2017.json')


# --- a start from a checkpoint -------------------------------------------------------------------------------------


def checkpoint_of(config, path, prefix=''):
    model = MODELS.build(dict(config.model, _scope_=config.default_scope))
    weights = {
        name.removeprefix(prefix): value for name, value in model.state_dict().items() if name.startswith(prefix)
    }
    torch.save(dict(state_dict=weights, meta=dict(dataset_meta=dict(classes=('x', 'y')))), path)
    return weights


def test_class_layers_are_those_that_follow_the_classes(boxes, root):
    names = class_layers(Config.fromfile(root / 'configs' / 'maskrcnn_trtvit_a_coco.py'))
    layers = {name.rpartition('.')[0] for name in names}
    assert layers == {'roi_head.bbox_head.fc_cls', 'roi_head.bbox_head.fc_reg', 'roi_head.mask_head.conv_logits'}


def test_a_start_from_the_same_network_with_other_classes(boxes, root, tmp_path):
    """Of a shipped config: without norms, and with 80 classes."""
    checkpoint_of(Config.fromfile(root / 'configs' / 'retinanet_trtvit_a_coco.py'), tmp_path / 'coco.pth')
    config, done = written('retinanet_trtvit_a_coco', boxes, tmp_path, checkpoint=tmp_path / 'coco.pth', epochs=1)
    assert config.load_from == str(tmp_path / 'coco.pth') and config.new_classes
    assert 'norm_cfg' not in config.model.bbox_head and config.optim_wrapper.optimizer.lr < 2e-4
    assert '2 start anew as they depend on the classes: bbox_head.retina_cls.weight' in done.report()


def test_a_start_from_what_this_tool_wrote(boxes, tmp_path):
    first, _ = written('retinanet_trtvit_a_coco', boxes, tmp_path)
    checkpoint_of(first, tmp_path / 'own.pth')
    shutil.rmtree(tmp_path / 'elsewhere')
    config, done = written('retinanet_trtvit_a_coco', boxes, tmp_path, checkpoint=tmp_path / 'own.pth')
    assert config.model.bbox_head.norm_cfg.type == 'GN'
    assert 'start anew' not in done.report() and 'its classes had other names: x, y' in done.report()


def test_a_start_from_a_backbone(boxes, root, tmp_path):
    base = Config.fromfile(root / 'configs' / 'retinanet_trtvit_a_coco.py')
    checkpoint_of(base, tmp_path / 'backbone.pth', 'backbone.')
    config, done = written('retinanet_trtvit_a_coco', boxes, tmp_path, checkpoint=tmp_path / 'backbone.pth')
    assert config.load_from is None and config.model.backbone.init_cfg.checkpoint == str(tmp_path / 'backbone.pth')
    assert config.model.neck.norm_cfg.type == 'GN' and 'tensors of the backbone are loaded' in done.report()


def test_a_checkpoint_of_another_network_is_refused(boxes, root, tmp_path):
    checkpoint_of(Config.fromfile(root / 'configs' / 'retinanet_trtvit_b_coco.py'), tmp_path / 'b.pth')
    with pytest.raises(CheckpointError, match='fits neither RetinaNet nor its backbone'):
        written('retinanet_trtvit_a_coco', boxes, tmp_path, checkpoint=tmp_path / 'b.pth')
    assert not (tmp_path / 'elsewhere').exists()


# --- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'name, options, message',
    [
        ('mine.py', {}, 'not one of the configs of mmtrtvit'),
        ('retinanet_trtvit_a_toy.py', {}, 'not one of the configs of mmtrtvit'),
        ('semfpn_trtvit_a_ade20k', {}, 'holds objects, which'),
        ('retinanet_trtvit_a_coco', dict(epochs=0), '--epochs 0'),
        ('retinanet_trtvit_a_coco', dict(batch_size=7), 'there are 6 training images'),
        ('retinanet_trtvit_a_coco', dict(size=(10, 300)), '--size 10x300'),
        ('retinanet_trtvit_a_coco', dict(out='retinanet_trtvit_b_coco.py'), 'is the name of a config of mmtrtvit'),
        ('retinanet_trtvit_a_coco', dict(out='there.py'), 'exists'),
        ('retinanet_trtvit_a_coco', dict(out='own.yaml'), 'ends in .py'),
    ],
)
def test_requests_that_cannot_be_met(boxes, tmp_path, name, options, message):
    (tmp_path / 'there.py').write_text('mine = 1\n')
    out = tmp_path / options.pop('out', 'own.py') if 'out' in options else tmp_path / 'own.py'
    with pytest.raises(ConfigError) as caught:
        new_config(name, data=boxes, out=out, **options)
    said = str(caught.value)
    assert message in said + 'exists' * ('exists.' in said) and 'Fix: ' in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ['there.py']


@pytest.mark.parametrize('name', ['retinanet_trtvit_a_coco.py', 'trtvit_a_in1k.py'])
def test_a_file_with_the_name_of_a_shipped_config_is_not_taken_for_it(boxes, tmp_path, name):
    folder = tmp_path / 'edited'
    folder.mkdir()
    (folder / name).write_text('model = None\n')
    with pytest.raises(ConfigError, match='not one of the configs of mmtrtvit'):
        new_config(str(folder / name), data=boxes, out=tmp_path / 'x.py')
    assert not (tmp_path / 'x.py').exists()


def test_upernet_needs_two_images(maps, tmp_path):
    with pytest.raises(ConfigError, match='UperNet learns from two images or more'):
        new_config('upernet_trtvit_a_ade20k', data=maps, out=tmp_path / 'own.py', batch_size=1)


def other_classes(data):
    path = data / 'annotations' / 'instances_val2017.json'
    path.write_text(path.read_text().replace('"leaf"', '"root"'))


def corners(data):
    path = data / 'annotations' / 'instances_train2017.json'
    content = json.loads(path.read_text())
    for entry in content['annotations']:
        x, y, w, h = entry['bbox']
        entry['bbox'] = [x + 50, y + 40, x + 50 + w, y + 40 + h]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    'damage, message',
    [
        (lambda data: shutil.rmtree(data), 'There is no folder'),
        (lambda data: shutil.rmtree(data / 'annotations'), 'no data set in a layout that the configs read'),
        (lambda data: (data / 'annotations' / 'instances_val2017.json').unlink(), 'has no split val'),
        (other_classes, 'has other classes than instances_train2017.json'),
        (corners, 'as corners x1, y1, x2, y2 all fit'),
        (lambda data: (data / 'train2017' / '3.jpg').unlink(), '1 of 6 images of'),
    ],
)
def test_data_that_cannot_be_used(tmp_path, damage, message):
    data = coco(tmp_path / 'data')
    damage(data)
    with pytest.raises(DataError) as caught:
        new_config('retinanet_trtvit_a_coco', data=data, out=tmp_path / 'new' / 'own.py')
    assert message in str(caught.value) and 'Fix: ' in str(caught.value)
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize(
    'damage, message',
    [
        (lambda data: (data / 'classes.txt').unlink(), 'classes.txt: label maps hold numbers only'),
        (lambda data: shutil.rmtree(data / 'images' / 'validation'), 'has no split val'),
        (lambda data: shutil.move(data / 'images/training/1.jpg', data / 'images/training/1.png'), 'reads one suffix'),
        (lambda data: (data / 'annotations' / 'training' / '2.png').unlink(), '1 of 6 images in'),
    ],
)
def test_label_maps_that_cannot_be_used(tmp_path, damage, message):
    data = label_maps(tmp_path / 'data')
    damage(data)
    with pytest.raises(DataError, match=message):
        new_config('semfpn_trtvit_a_ade20k', data=data, out=tmp_path / 'own.py')
    assert not (tmp_path / 'own.py').exists()


def test_masks_where_there_are_none(tmp_path):
    with pytest.raises(ConfigError, match='have no masks.*\n.*\nFix: fasterrcnn_trtvit_a_coco or retinanet'):
        new_config('maskrcnn_trtvit_a_coco', data=coco(tmp_path / 'data', masks=False), out=tmp_path / 'own.py')


# --- from end to end ------------------------------------------------------------------------------------------------


def test_the_command_refuses_with_one_message(fresh_tool, boxes):
    done = fresh_tool('new_config', 'mine', '--data', boxes, '--out', 'own.py')
    assert done.returncode == 2 and done.stderr.count('Error: ') == 1 and 'Traceback' not in done.stderr


@pytest.mark.slow
def test_a_written_config_trains_and_goes_on_with_other_classes(boxes, tmp_path, monkeypatch):
    """Trained for an iteration or two, then the start for three classes from its checkpoint."""
    monkeypatch.chdir(tmp_path)
    _, done = written('retinanet_trtvit_a_coco', boxes, tmp_path, size=(64, 64), epochs=1)
    options = {'train_dataloader.num_workers': 0, 'val_dataloader.num_workers': 0}
    train(done.path, work_dir='one', cfg_options=options)
    data = coco(tmp_path / 'three', ('leaf', 'bud', 'root'))
    done = new_config('retinanet_trtvit_a_coco', data=data, out='three.py', checkpoint='one/epoch_1.pth', epochs=1)
    runner = train(done.path, work_dir='two', cfg_options=options)
    assert runner.epoch == 1 and runner.model.bbox_head.num_classes == 3
