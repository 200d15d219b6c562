"""Faults of COCO files that mmdet and pycocotools pass over in silence, or meet hours later."""

import copy
import dataclasses

import numpy as np
import pytest
from pycocotools.mask import encode

from mmtrtvit.datasets.coco_checks import CocoUse, check_coco
from mmtrtvit.datasets.findings import Finding, raise_errors
from mmtrtvit.errors import DataError

CLASSES = ('disc', 'ring')


@pytest.fixture
def content(tmp_path):
    """Four images of 100 x 80 with two objects each."""
    images, annotations = [], []
    for number in range(1, 5):
        images.append(dict(id=number, file_name=f'{number}.jpg', width=100, height=80))
        (tmp_path / f'{number}.jpg').touch()
        for place, category in ((10.0, 1), (40.0, 2)):
            box = [place, 20.0, 30.0, 25.0]
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=category,
                    bbox=box,
                    area=750.0,
                    iscrowd=0,
                    segmentation=[[place, 20.0, place + 30, 20.0, place + 30, 45.0]],
                )
            )
    categories = [dict(id=1, name='disc'), dict(id=2, name='ring')]
    return dict(images=images, annotations=annotations, categories=categories)


@pytest.fixture
def use(tmp_path):
    return CocoUse(classes=CLASSES, images=tmp_path, masks=True, evaluated=True, trained=True, min_size=32)


def found(content, use, severity='error'):
    return [f.message for f in check_coco(content, 'a.json', use) if f.severity == severity]


def test_good_files_pass(content, use):
    assert list(check_coco(content, 'a.json', use)) == []
    unlabelled = {**content, 'annotations': []}
    assert list(check_coco(unlabelled, 'a.json', dataclasses.replace(use, trained=False, evaluated=False))) == []
    ring = np.zeros((80, 100), np.uint8, order='F')
    ring[20:45, 10:40] = 1
    run_lengths = encode(ring)
    content['annotations'][0]['segmentation'] = {**run_lengths, 'counts': run_lengths['counts'].decode()}
    content['annotations'][1]['segmentation'] = dict(size=[80, 100], counts=[900, 100, 7000])
    content['categories'][0]['id'] = 90  # gaps are right
    for entry in content['annotations']:
        entry['category_id'] = {1: 90, 2: 2}[entry['category_id']]
    assert list(check_coco(content, 'a.json', use)) == []


def every(key, value):
    def change(content):
        for entry in content['annotations']:
            entry[key] = value(entry) if callable(value) else value

    return change


def at(group, place, **values):
    def change(content):
        for key, value in values.items():
            if value is ...:
                del content[group][place][key]
            else:
                content[group][place][key] = value

    return change


ERRORS = [
    (at('annotations', 0, id=0), 'an annotation has id 0'),
    (at('annotations', 1, id=1), '1 ids of `annotations` are not unique, the first is 1'),
    (at('images', 1, id=1), '1 ids of `images` are not unique'),
    (at('annotations', 2, iscrowd=...), '1 of 8 annotations have no `iscrowd`, the first has id 3'),
    (at('annotations', 2, area=...), 'have no `area`'),
    (at('images', 3, height=...), '1 of 4 images have no `height`, the first has id 4'),
    (at('annotations', 0, category_id=9), '`category_id` that `categories` lacks, the first is annotation 1 with 9'),
    (at('annotations', 0, image_id=9), '`image_id` that `images` lacks'),
    (at('annotations', 0, bbox=['1', '2', '3', '4']), "unusable `bbox`, the first is that of 1: ['1', '2', '3', '4']"),
    (at('annotations', 0, bbox=[1, 2, 3]), 'unusable `bbox`, the first is that of 1: [1, 2, 3]'),
    (at('annotations', 0, bbox=[1, 2, float('nan'), 4]), 'that of 1: [1, 2, nan, 4]'),
    (every('bbox', [0.1, 0.2, 0.3, 0.4]), 'no box has a number above 1: they look normalised'),
    (every('bbox', [60.0, 40.0, 95.0, 75.0]), 'as corners x1, y1, x2, y2 all fit'),
    (every('bbox', [10.0, 10.0, -5.0, 5.0]), '8 of 8 boxes are narrower or lower than a pixel'),
    (every('bbox', [200.0, 10.0, 5.0, 5.0]), '8 of 8 boxes lie outside of their image'),
    (at('annotations', 0, segmentation=None), '1 of 8 objects have no usable mask, the first is annotation 1'),
    (at('annotations', 3, segmentation=[]), 'no usable mask, the first is annotation 4'),
    (at('annotations', 3, segmentation=[[1, 2, 3, 4]]), 'no usable mask, the first is annotation 4'),
    (at('annotations', 3, segmentation=dict(size=[9, 9])), '1 masks have another size than their image'),
    (at('annotations', 3, segmentation=[[1, 2, 3, 4, 5, 6, 7]]), 'no usable mask, the first is annotation 4'),
    (at('annotations', 3, segmentation=[[float('nan')] * 8]), 'no usable mask, the first is annotation 4'),
    (at('annotations', 3, segmentation=[['1'] * 8]), 'no usable mask, the first is annotation 4'),
    (at('annotations', 3, segmentation=dict(size=[80, 100], counts='!!')), 'run lengths of annotation 4 do not add up'),
    (at('annotations', 3, segmentation=dict(size=[80, 100], counts='5')), 'run lengths of annotation 4 do not add up'),
    (at('annotations', 3, segmentation=dict(size=[80, 100], counts=[9])), 'run lengths of annotation 4 do not add up'),
    (every('segmentation', [[0.1, 0.2, 0.3, 0.2, 0.3, 0.4]]), '8 of 8 polygons do not lie in their boxes'),
    (every('area', 0), '8 of 8 boxes are of objects whose `area` is 0; mmdet leaves them out'),
    (every('area', '750'), "8 of 8 annotations have an unusable `area`, the first is that of 1: '750'"),
    (every('iscrowd', 'false'), 'unusable `iscrowd`'),
    (at('images', 1, width=0), '1 of 4 images have an unusable `width`, the first is that of 2: 0'),
    (at('images', 1, height='80'), 'unusable `height`'),
    (at('annotations', 1, image_id=[1]), 'unusable `image_id`'),
    (at('categories', 1, name=7), 'unusable `name`'),
    (at('images', 0, file_name='other.jpg'), '1 of 4 images of a.json are not in'),
    (every('iscrowd', 1), 'all 8 objects are crowds'),
    (at('categories', 1, name='disc'), "two categories are called 'disc'"),
    (lambda content: content['categories'].reverse(), "label 0 is 'ring' by the order of its categories, and 'disc'"),
    (lambda content: [image.update(width=20) for image in content['images']], '4 are smaller than 32 pixels'),
    (lambda content: content['images'].clear(), 'the first is annotation 1'),
    (lambda content: content['images'].append('x'), "`images` has 'x' in it"),
]


@pytest.mark.parametrize('change, message', ERRORS, ids=[message[:40] for _, message in ERRORS])
def test_every_fault_is_named(content, use, change, message):
    change(content)
    said = found(content, use)
    assert any(message in text for text in said), said
    faults = [finding for finding in check_coco(content, 'a.json', use) if finding.severity == 'error']
    assert all(finding.fix or finding.expected for finding in faults)


def test_classes_that_a_file_lacks(content, use):
    assert 'No class of the config' in found(content, dataclasses.replace(use, classes=('person',)))[0]
    more = dataclasses.replace(use, classes=(*CLASSES, 'star'))
    assert not found(content, more) and 'no category star' in found(content, more, 'warning')[0]
    fewer = dataclasses.replace(use, classes=('disc',))
    assert (
        not found(content, fewer)
        and '4 of 8 objects are of classes that the config lacks (ring)' in (found(content, fewer, 'warning')[0])
    )
    shifted = dataclasses.replace(use, classes=('star', *CLASSES))
    assert "label 0 is 'disc'" in found(content, shifted)[0]


def test_faults_count_only_where_they_matter(content, use):
    for change, reader in (
        (at('annotations', 0, id=0), dataclasses.replace(use, evaluated=False)),
        (at('annotations', 0, iscrowd=...), dataclasses.replace(use, evaluated=False)),
        (at('annotations', 0, segmentation=None), dataclasses.replace(use, masks=False)),
        (every('iscrowd', 1), dataclasses.replace(use, trained=False)),
    ):
        broken = copy.deepcopy(content)
        change(broken)
        assert found(broken, use) and not found(broken, reader)


def test_a_few_bad_boxes_are_a_warning(content, use):
    for _ in range(3):
        for entry in copy.deepcopy(content['annotations'][:8]):
            content['annotations'].append(dict(entry, id=len(content['annotations']) + 1))
    content['annotations'][0]['bbox'] = [10.0, 10.0, 0.0, 5.0]
    assert not found(content, use) and '1 of 32 boxes are narrower' in found(content, use, 'warning')[0]


def test_warnings(content, use):
    assert not found(content, use, 'warning')
    beyond = copy.deepcopy(content)
    beyond['annotations'][0]['bbox'] = [10.0, 20.0, 300.0, 25.0]
    boxes = dataclasses.replace(use, masks=False)
    assert '1 of 8 boxes reach beyond their image' in found(beyond, boxes, 'warning')[0] and not found(beyond, boxes)
    twice = copy.deepcopy(content)
    twice['annotations'] += [dict(entry, id=entry['id'] + 10) for entry in twice['annotations'][:2]]
    assert '2 objects are there more than once' in found(twice, use, 'warning')[0]
    val = dataclasses.replace(use, trained=False)
    assert 'no object to evaluate with: AP is -1' in found({**content, 'annotations': []}, val, 'warning')[0]
    every('iscrowd', 1)(content)
    assert 'no object to evaluate with, but crowds' in found(content, val, 'warning')[0]


def test_names_that_differ_in_capitals(content, use):
    (fault,) = (f for f in check_coco(content, 'a.json', dataclasses.replace(use, classes=('Disc', 'Ring '))) if f.fix)
    assert "'disc', 'ring' (only capitals or spaces differ)" in fault.fix


def test_names_that_hold_the_folder_already(content, use, tmp_path):
    inner = tmp_path / 'images'
    inner.mkdir()
    for image in content['images']:
        (inner / image['file_name']).touch()
        image['file_name'] = f'images/{image["file_name"]}'
    (fault,) = check_coco(content, 'a.json', dataclasses.replace(use, images=inner))
    assert '4 of 4 images' in fault.message and f"data_prefix=dict(img='{tmp_path}')" in fault.fix


def test_images_without_objects_where_these_are_left_out(content, use):
    content['annotations'] = content['annotations'][:2]
    assert not found(content, dataclasses.replace(use, filter_empty=True))
    content['annotations'] = []
    assert '4 have no object of the classes' in found(content, dataclasses.replace(use, filter_empty=True))[0]


def test_the_first_error_is_raised_and_the_others_are_counted():
    raise_errors([Finding('warning', 'w'), Finding('note', 'n')])
    with pytest.raises(DataError) as caught:
        raise_errors([Finding('warning', 'w'), Finding('error', 'first', 'this', 'that'), Finding('error', 'second')])
    assert str(caught.value).splitlines() == [
        'first',
        '1 more, which python tools/check_data.py CONFIG lists.',
        'Expected: this',
        'Fix: that',
    ]
