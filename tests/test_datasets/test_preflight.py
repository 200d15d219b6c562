"""What is said about data that cannot be used, before anything is built from it."""

import json
import shutil

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmtrtvit.datasets.preflight import check_data, check_dataset, classes_of, read_coco_file
from mmtrtvit.errors import DataError

CONTENT = dict(
    images=[dict(id=1, file_name='1.jpg', height=4, width=4)],
    annotations=[],
    categories=[dict(id=3, name='disc'), dict(id=5, name='ring')],
)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / 'coco'
    (folder / 'annotations').mkdir(parents=True)
    for split in ('train', 'val'):
        (folder / f'{split}2017').mkdir()
        (folder / f'{split}2017' / '1.jpg').touch()
        (folder / 'annotations' / f'{split}.json').write_text(json.dumps(CONTENT))
    return folder


@pytest.fixture
def dataset(root):
    def build(split='train', **changes):
        found = dict(
            type='CocoDataset',
            data_root=str(root),
            ann_file=f'annotations/{split}.json',
            data_prefix=dict(img=f'{split}2017/'),
            metainfo=dict(classes=('disc', 'ring')),
            pipeline=[dict(type='LoadImageFromFile')],
        )
        return {key: value for key, value in {**found, **changes}.items() if value is not None}

    return build


@pytest.fixture
def config(root, dataset):
    def build(wrap=lambda dataset: dataset):
        return Config(
            dict(
                train_dataloader=dict(batch_size=2, dataset=wrap(dataset('train'))),
                val_dataloader=dict(batch_size=1, dataset=dataset('val')),
                test_dataloader=dict(batch_size=1, dataset=dataset('val')),
                val_evaluator=dict(type='CocoMetric', ann_file=str(root / 'annotations' / 'val.json')),
                test_evaluator=[dict(type='CocoMetric', ann_file=str(root / 'annotations' / 'val.json'))],
            )
        )

    return build


def told(call, *arguments):
    with pytest.raises(DataError) as caught:
        call(*arguments)
    said = str(caught.value)
    assert '\nFix: ' in said
    return said


# --- one annotation file ------------------------------------------------------------------------------------


def test_a_coco_file_passes(root):
    assert read_coco_file(root / 'annotations' / 'train.json') == CONTENT


def test_a_file_that_is_not_there(tmp_path):
    said = told(read_coco_file, tmp_path / 'nothing.json')
    assert f'There is no annotation file {tmp_path / "nothing.json"}' in said
    assert 'MMTRTVIT_DATA_ROOT' in said and 'make_toy_data.py' in said
    assert 'There is no annotation file' in told(read_coco_file, tmp_path)


@pytest.mark.parametrize(
    'content',
    [b'', b'not json', json.dumps(CONTENT).encode()[:-20], b'\xff\xd8\xff\xe0' + bytes(50), b'\x80abc'],
    ids=['empty', 'text', 'truncated', 'jpeg', 'bytes'],
)
def test_a_file_that_is_not_json(tmp_path, content):
    path = tmp_path / 'a.json'
    path.write_bytes(content)
    said = told(read_coco_file, path)
    assert f'{path} is not readable as JSON' in said
    assert 'Expected: a COCO file: JSON with images, annotations, categories' in said


@pytest.mark.parametrize(
    ('content', 'lacks', 'has'),
    [
        ({}, 'images, annotations, categories', '(it has )'),
        ({'images': [], 'categories': []}, 'lacks annotations', '(it has images, categories)'),
        ({**CONTENT, 'annotations': {}}, 'lacks annotations', 'it has images, annotations, categories'),
        ({'shapes': [], 'version': '5'}, 'images, annotations, categories', '(it has shapes, version)'),
        ([CONTENT], 'images, annotations, categories', '(it has a list)'),
        ('text', 'images, annotations, categories', '(it has a str)'),
        (None, 'images, annotations, categories', '(it has a NoneType)'),
    ],
    ids=['empty', 'no annotations', 'annotations by name', 'labelme', 'list', 'string', 'null'],
)
def test_a_file_that_is_not_coco(tmp_path, content, lacks, has):
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(content))
    said = told(read_coco_file, path)
    assert f'{path} is not COCO' in said and lacks in said and has in said
    assert 'Expected: a COCO file' in said


def test_annotations_may_be_missing_where_none_are_needed(tmp_path):
    path = tmp_path / 'test-dev.json'
    path.write_text(json.dumps({key: value for key, value in CONTENT.items() if key != 'annotations'}))
    assert read_coco_file(path, unlabelled=True)['annotations'] == []
    assert 'lacks annotations' in told(read_coco_file, path)


# --- one data set -------------------------------------------------------------------------------------------


def test_a_data_set_passes(dataset, root):
    check_dataset(dataset())
    check_dataset(dataset(metainfo=dict(classes=('disc',))))
    check_dataset(dataset(type='mmdet.CocoDataset', data_root=str(root) + '/'))
    absolute = dict(ann_file=str(root / 'annotations/val.json'), data_prefix=dict(img=str(root / 'val2017')))
    check_dataset(dataset(data_root=None, **absolute))
    check_dataset(dataset(**absolute))


def test_paths_are_relative_to_where_the_command_runs(dataset, root, monkeypatch):
    monkeypatch.chdir(root.parent)
    check_dataset(dataset(data_root='coco/'))
    monkeypatch.chdir(root)
    assert f'(here: {root})' in told(check_dataset, dataset(data_root='coco/'))


def test_a_data_root_that_is_not_there(dataset, tmp_path):
    said = told(check_dataset, dataset(data_root=str(tmp_path / 'nowhere')))
    assert f'The data root {tmp_path / "nowhere"} does not exist' in said
    assert 'MMTRTVIT_DATA_ROOT' in said and '--cfg-options' in said and 'make_toy_data.py' in said


def test_an_image_folder_that_is_not_there(dataset, root):
    shutil.rmtree(root / 'train2017')
    said = told(check_dataset, dataset())
    assert f'There is no folder {root / "train2017"}' in said and '`data_prefix.img` of CocoDataset' in said


@pytest.mark.parametrize('name', ['CocoDataset', 'mmdet.CocoDataset', 'ADE20KDataset'])
def test_an_annotation_file_that_is_not_there(dataset, root, name):
    said = told(check_dataset, dataset(type=name, ann_file='annotations/other.json'))
    assert f'There is no annotation file {root / "annotations" / "other.json"}' in said


def test_the_classes_of_a_data_set(dataset, tmp_path):
    names = tmp_path / 'names.txt'
    names.write_text('disc\nring\n')
    for given, classes in (
        (dict(metainfo=dict(classes=('disc', 'ring'))), ['disc', 'ring']),
        (dict(metainfo=dict(classes=str(names))), ['disc', 'ring']),  # mmengine reads such a file
        (dict(metainfo=dict(classes='disc')), ['disc']),
        (dict(type='NobodyKnows', metainfo=None), []),
    ):
        assert classes_of(dataset(**given), 'mmdet') == classes
    coco = classes_of(dataset(metainfo=None), 'mmdet')
    assert coco[:2] == ['person', 'bicycle'] and len(coco) == 80


def test_a_segmentation_data_set(dataset, root):
    ade = dict(type='ADE20KDataset', ann_file=None, metainfo=None)
    prefix = dict(img_path='train2017', seg_map_path='annotations')
    cv2.imwrite(str(root / 'train2017' / '1.jpg'), np.zeros((4, 4, 3), np.uint8))
    check_dataset(dataset(**ade, data_prefix=prefix))
    said = told(check_dataset, dataset(**ade, data_prefix=dict(prefix, seg_map_path='masks')))
    assert f'no folder {root / "masks"}' in said and '`data_prefix.seg_map_path` of ADE20KDataset' in said


# --- a whole config -----------------------------------------------------------------------------------------

WRAPS = {
    'plain': lambda dataset: dataset,
    'repeated': lambda dataset: dict(type='RepeatDataset', times=2, dataset=dataset),
    'concatenated': lambda dataset: dict(type='ConcatDataset', datasets=[dataset, dataset]),
    'both': lambda dataset: dict(
        type='RepeatDataset',
        times=2,
        dataset=dict(type='ConcatDataset', datasets=[dict(type='ClassBalancedDataset', dataset=dataset)]),
    ),
}


@pytest.mark.parametrize('wrap', WRAPS.values(), ids=WRAPS)
def test_a_config_passes(config, wrap):
    check_data(config(wrap), ['train', 'val', 'test'])


@pytest.mark.parametrize('wrap', WRAPS.values(), ids=WRAPS)
def test_a_wrapped_data_set_is_checked(config, root, wrap):
    (root / 'annotations' / 'train.json').unlink()
    assert 'train.json' in told(check_data, config(wrap), ['train'])


def test_every_one_of_concatenated_data_sets_is_checked(config, dataset):
    broken = config(lambda first: dict(type='ConcatDataset', datasets=[first, dataset(data_prefix=dict(img='x'))]))
    assert '/x ' in told(check_data, broken, ['train'])


def test_only_the_splits_that_are_used_are_checked(config, root):
    (root / 'annotations' / 'train.json').unlink()
    check_data(config(), ['val', 'test'])
    check_data(Config(dict(model=dict(type='MaskRCNN'))), ['train', 'val', 'test'])
    check_data(Config(dict(val_dataloader=None, val_evaluator=None)), ['val'])


@pytest.mark.parametrize('split', ['val', 'test'])
def test_the_file_of_the_evaluator_is_checked(config, root, split):
    broken = config()
    evaluator = broken[f'{split}_evaluator']
    (evaluator if split == 'val' else evaluator[0])['ann_file'] = str(root / 'annotations' / 'gone.json')
    assert 'gone.json' in told(check_data, broken, [split])


def test_the_annotation_file_is_read(config, root):
    (root / 'annotations' / 'train.json').write_text('{}')
    assert 'is not COCO' in told(check_data, config(), ['train'])


def test_the_classes_of_the_config_are_looked_for(config):
    other = config(lambda found: dict(found, metainfo=dict(classes=('person',))))
    assert 'No class of the config' in told(check_data, other, ['train'])


def test_splits_that_name_their_classes_differently(config):
    turned = config(lambda found: dict(found, metainfo=dict(classes=('disc',))))
    assert 'The data sets of train and val have different classes' in told(check_data, turned, ['train', 'val'])


@pytest.mark.parametrize('place', ['bbox_head', 'roi_head.mask_head'])
def test_a_head_with_another_number_of_classes(config, place):
    broken = config()
    broken.merge_from_dict({f'model.{place}.num_classes': 80, 'model.rpn_head': dict(type='RPNHead', num_classes=1)})
    said = told(check_data, broken, ['train'])
    assert f'model.{place}.num_classes=80' in said and '2 classes (disc, ring)' in said
    assert f'--cfg-options model.{place}.num_classes=2' in said and 'rpn_head' not in said
    broken.merge_from_dict({f'model.{place}.num_classes': 2})
    check_data(broken, ['train'])


def test_unlabelled_images_are_tested_without_annotations(config, root):
    path = root / 'annotations' / 'val.json'
    path.write_text(json.dumps({key: value for key, value in CONTENT.items() if key != 'annotations'}))
    unlabelled = config()
    assert 'lacks annotations' in told(check_data, unlabelled, ['test'])
    unlabelled.test_evaluator[0].format_only = True
    check_data(unlabelled, ['test'])
