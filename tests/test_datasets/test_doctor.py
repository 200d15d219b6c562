"""The doctor: what only the images and the network's input show."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from mmtrtvit.apis import new_config
from mmtrtvit.config import load_config
from mmtrtvit.datasets.doctor import examine
from mmtrtvit.datasets.own import convert_dataset


@pytest.fixture
def config(toy, tmp_path):
    """The config of the toy detector, with a copy of its data that a test may damage."""
    data = tmp_path / 'coco'
    shutil.copytree(toy.data, data)
    options = {f'{split}_dataloader.dataset.data_root': f'{data}/' for split in ('train', 'val', 'test')}
    options |= {
        f'{split}_evaluator.ann_file': str(data / 'annotations' / 'instances_val2017.json') for split in ('val', 'test')
    }
    return load_config(toy.config, options), data


def messages(config, severity=None):
    return [f.message for f in examine(config, progress=False).findings if severity in (None, f.severity)]


def edit(data, change, split='train'):
    path = data / 'annotations' / f'instances_{split}2017.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_toy_data_is_healthy(config):
    diagnosis = examine(config[0], progress=False)
    assert diagnosis.healthy and set(diagnosis.counts) == {'train', 'val', 'test'}
    assert sum(diagnosis.counts['train'].values()) > 16 and 5 < diagnosis.sizes[5] < diagnosis.sizes[95] < 200
    assert json.loads(json.dumps(diagnosis.to_dict()))['healthy']


def test_an_image_of_another_size(config):
    cfg, data = config
    image = sorted((data / 'train2017').iterdir())[0]
    Image.open(image).resize((33, 44)).save(image)
    (said,) = messages(cfg, 'error')
    assert f'the first is {image.name}: 33 x 44, not' in said


def test_a_damaged_image(config):
    cfg, data = config
    image = sorted((data / 'val2017').iterdir())[0]
    image.write_bytes(b'<html>')
    assert any('1 images cannot be read, or' in said and image.name in said for said in messages(cfg, 'error'))


@pytest.mark.parametrize('value', [0, '256', None])
def test_sides_that_are_unusable(config, value):
    cfg, data = config
    edit(data, lambda content: content['images'][0].update(width=value))
    assert any('`width`' in said for said in messages(cfg, 'error'))


def test_an_image_that_is_turned_after_it_was_annotated(config):
    """OpenCV turns it, its boxes stay: cameras and phones write such files."""
    cfg, data = config
    path = sorted((data / 'train2017').iterdir())[0]
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(path, exif=exif)
        width, height = image.size
    (said,) = messages(cfg, 'error')
    assert f'{path.name}: {height} x {width}, turned as its EXIF orientation says, not {width} x {height}' in said


def test_an_image_that_ends_too_early(config):
    """OpenCV reads it, with grey where the rest is missing."""
    cfg, data = config
    image = sorted((data / 'val2017').iterdir())[0]
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    assert any('end too early' in said and image.name in said for said in messages(cfg, 'error'))


def test_label_maps_are_counted_and_all_of_them_are_read(toy_seg, tmp_path):
    data = tmp_path / 'ade'
    shutil.copytree(toy_seg.data, data)
    options = {f'{split}_dataloader.dataset.data_root': f'{data}/' for split in ('train', 'val', 'test')}
    cfg = load_config(toy_seg.config, options)
    diagnosis = examine(cfg, progress=False)
    assert diagnosis.healthy and max(diagnosis.counts['train'].values()) == 16
    labels = sorted((data / 'annotations' / 'validation').iterdir())
    Image.new('L', (9, 9)).save(labels[1])
    labels[3].write_bytes(labels[3].read_bytes()[:200])
    images = sorted((data / 'images' / 'validation').iterdir())
    shutil.copy(sorted((data / 'images' / 'training').iterdir())[0], images[0])
    shutil.copy(sorted((data / 'annotations' / 'training').iterdir())[0], labels[0])
    said = messages(cfg, 'error')
    assert any(f'{labels[1]} is 9x9' in text and '(1 more have a fault)' in text for text in said)
    assert any('1 images of val are training images as well' in text for text in said)


def test_copies_and_leakage(config):
    cfg, data = config
    train, val = (sorted((data / f'{split}2017').iterdir()) for split in ('train', 'val'))

    def as_large_as_its_image(content):
        size = dict(zip(('width', 'height'), Image.open(train[0]).size, strict=True))
        content['images'][[image['file_name'] for image in content['images']].index(val[0].name)].update(size)

    shutil.copyfile(train[0], val[0])
    edit(data, as_large_as_its_image, 'val')
    assert any('1 images of val are training images as well' in said for said in messages(cfg, 'error'))


def test_objects_that_are_too_small_for_the_anchors(config):
    cfg, _ = config
    assert not [said for said in messages(cfg) if 'no anchor of' in said]
    cfg.merge_from_dict({'model.rpn_head.anchor_generator.scales': [64]})
    (fault,) = [f for f in examine(cfg, progress=False).findings if 'no anchor of' in f.message]
    assert fault.severity == 'warning' and 'model.rpn_head.anchor_generator.scales=[' in fault.fix


def test_a_class_without_objects(config):
    cfg, data = config
    edit(data, lambda content: content.update(annotations=[a for a in content['annotations'] if a['category_id'] != 1]))
    assert any('The split train has nothing of 1 classes' in said for said in messages(cfg, 'warning'))


def test_a_file_that_cannot_be_read_is_the_only_finding(config):
    cfg, data = config
    (data / 'annotations' / 'instances_train2017.json').write_text('{')
    (fault,) = examine(cfg, progress=False).findings
    assert fault.severity == 'error' and 'not readable as JSON' in fault.message and fault.fix


@pytest.mark.slow
@pytest.mark.realdata
def test_the_command_on_real_data(root, real_data, tmp_path):
    command = [sys.executable, str(root / 'tools' / 'check_data.py'), str(root / 'configs/maskrcnn_trtvit_a_coco.py')]
    environment = {**os.environ, 'MMTRTVIT_DATA_ROOT': f'{real_data}/', 'PYTHONPATH': str(root)}
    done = subprocess.run([*command, '--json'], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout[done.stdout.index('{\n') :])
    assert found['healthy'] and found['counts']['train']['person'] > 100
    broken = [*command, '--cfg-options', 'model.roi_head.mask_head.num_classes=3']
    done = subprocess.run(broken, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 1 and 'model.roi_head.mask_head.num_classes=3' in done.stdout


@pytest.mark.realdata
def test_the_first_steps_of_the_guide(root, real_data, tmp_path, monkeypatch):
    """docs/guide_blood_cells.md: convert, write a config, examine."""
    if not (real_data / 'bccd').is_dir():
        pytest.skip('no blood cells there')
    convert_dataset(real_data / 'bccd', tmp_path / 'data' / 'cells')
    monkeypatch.chdir(tmp_path)
    done = new_config('retinanet_trtvit_a_coco', data='data/cells', out='cells.py', size=(320, 240))
    diagnosis = examine(load_config('cells.py'), progress=False)
    assert diagnosis.healthy and diagnosis.counts['train'] == {'Platelets': 209, 'RBC': 2381, 'WBC': 214}
    assert not [fault for fault in diagnosis.findings if 'no anchor of' in fault.message]
    guide = (root / 'docs' / 'guide_blood_cells.md').read_text()
    assert all(f'  {choice}\n' in guide for choice in done.choices)
