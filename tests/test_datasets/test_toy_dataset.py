"""The toy data set on disk: both layouts, exactness, reproducibility, and what happens to folders."""

import contextlib
import hashlib
import io
import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO

from mmtrtvit.datasets.toy import (
    ADE_CLASSES,
    ADE_PALETTE,
    CLASSES,
    SPLITS,
    SceneSettings,
    make_scene,
    make_toy_dataset,
)
from mmtrtvit.datasets.toy import dataset as dataset_module
from mmtrtvit.errors import ConfigError, DataError

COUNTS = {'train': 14, 'val': 7}
TOOL = Path(__file__).parents[2] / 'tools' / 'make_toy_data.py'


def make(root, **kwargs):
    return make_toy_dataset(root, **{**COUNTS, 'progress': False, **kwargs})


def snapshot(root):
    """Name, content hash and modification time of everything under a folder."""
    return {
        path.relative_to(root).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in root.rglob('*')
        if path.is_file()
    }


def contents(root):
    return {name: digest for name, (digest, _) in snapshot(root).items()}


@pytest.fixture(scope='module')
def summary(tmp_path_factory):
    return make(tmp_path_factory.mktemp('embedded') / 'toy')


@pytest.fixture(scope='module')
def cocos(summary):
    with contextlib.redirect_stdout(io.StringIO()):
        return {
            name: COCO(str(summary.coco / 'annotations' / f'instances_{split.coco}.json'))
            for name, split in SPLITS.items()
        }


@pytest.fixture
def small(tmp_path):
    """A data set that a test may change."""
    make(tmp_path / 'toy', train=2, val=1)
    return tmp_path / 'toy'


def cases(cocos):
    """Every image: its split, index, COCO record, annotations, and the scene rendered anew."""
    for name, coco in cocos.items():
        for index, record in enumerate(coco.dataset['images']):
            annotations = coco.loadAnns(coco.getAnnIds(record['id']))
            yield SPLITS[name], index, record, annotations, make_scene(0, name, index, SceneSettings())


def test_summary_counts_what_there_is(summary, cocos):
    assert summary.made and summary.images == COUNTS
    for name, coco in cocos.items():
        assert len(coco.imgs) == COUNTS[name]
        counts = {category['name']: len(coco.getAnnIds(catIds=category['id'])) for category in coco.cats.values()}
        assert counts == summary.objects[name]
        assert sum(counts.values()) > COUNTS[name]


def test_coco_has_the_keys_of_the_real_one(cocos):
    for coco in cocos.values():
        assert set(coco.dataset) == {'info', 'licenses', 'images', 'annotations', 'categories'}
        assert set(coco.dataset['info']) == {
            'description',
            'url',
            'version',
            'year',
            'contributor',
            'date_created',
        }
        assert [(c['id'], c['name']) for c in coco.dataset['categories']] == list(enumerate(CLASSES, 1))
        licences = {licence['id'] for licence in coco.dataset['licenses']}
        for record in coco.dataset['images']:
            assert set(record) >= {
                'license', 'file_name', 'coco_url', 'height', 'width', 'date_captured', 'flickr_url', 'id',
            }  # fmt: skip
            assert record['license'] in licences
            assert record['file_name'] == f'{record["id"]:012d}.jpg'
        for annotation in coco.dataset['annotations']:
            assert set(annotation) == {
                'segmentation', 'area', 'iscrowd', 'image_id', 'bbox', 'category_id', 'id',
            }  # fmt: skip
            assert annotation['iscrowd'] == 0 and isinstance(annotation['segmentation']['counts'], str)


def test_ids_are_unique_over_both_splits(cocos):
    for key in ('images', 'annotations'):
        ids = [record['id'] for coco in cocos.values() for record in coco.dataset[key]]
        assert len(ids) == len(set(ids))


def test_no_photograph_is_in_both_splits(cocos):
    train, val = ({record['photograph'] for record in coco.dataset['images']} for coco in cocos.values())
    assert train and val and not train & val


def test_masks_are_exactly_the_painted_pixels(cocos):
    for _, _, record, annotations, scene in cases(cocos):
        assert (record['height'], record['width']) == scene.instances.shape
        assert [a['category_id'] - 1 for a in annotations] == list(scene.labels)
        total = np.zeros(scene.instances.shape, int)
        for number, annotation in enumerate(annotations):
            mask = rle.decode(annotation['segmentation'])
            np.testing.assert_array_equal(mask.astype(bool), scene.mask(number))
            assert annotation['area'] == mask.sum() > 0
            total += mask
        np.testing.assert_array_equal(total, scene.instances > 0)


def test_boxes_are_tight_and_inside(cocos):
    for _, _, record, annotations, scene in cases(cocos):
        for number, annotation in enumerate(annotations):
            rows, columns = np.nonzero(scene.mask(number))
            left, top, width, height = annotation['bbox']
            assert (left, top) == (columns.min(), rows.min())
            assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)
            assert left >= 0 and top >= 0 and left + width <= record['width'] and top + height <= record['height']


def test_images_show_the_scenes(summary, cocos):
    for split, _, record, _, scene in cases(cocos):
        image = cv2.cvtColor(cv2.imread(str(summary.coco / split.coco / record['file_name'])), cv2.COLOR_BGR2RGB)
        assert image.shape == scene.image.shape
        # JPEG at quality 95 changes little.
        assert np.abs(image.astype(int) - scene.image).mean() < 6


def test_ade_holds_the_same_scenes_as_coco(summary, cocos):
    for split, index, record, annotations, _ in cases(cocos):
        stem = f'{split.ade_prefix}{index + 1:08d}'
        ade_jpeg = summary.ade / 'images' / split.ade / f'{stem}.jpg'
        assert ade_jpeg.read_bytes() == (summary.coco / split.coco / record['file_name']).read_bytes()
        labels = cv2.imread(str(summary.ade / 'annotations' / split.ade / f'{stem}.png'), cv2.IMREAD_UNCHANGED)
        assert labels.dtype == np.uint8 and labels.shape == (record['height'], record['width'])
        expected = np.full(labels.shape, 1)
        for annotation in annotations:
            expected[rle.decode(annotation['segmentation']) > 0] = annotation['category_id'] + 1
        np.testing.assert_array_equal(labels, expected)


def test_ade_lists(summary):
    assert ADE_CLASSES[0] == 'background' and ADE_CLASSES[1:] == CLASSES and len(ADE_PALETTE) == len(ADE_CLASSES)
    lines = (summary.ade / f'objectInfo{len(ADE_CLASSES)}.txt').read_text().splitlines()
    rows = [line.split('\t') for line in lines]
    assert rows[0] == ['Idx', 'Ratio', 'Train', 'Val', 'Name']
    assert [(int(row[0]), row[4]) for row in rows[1:]] == list(enumerate(ADE_CLASSES, 1))
    assert sum(float(row[1]) for row in rows[1:]) == pytest.approx(1, abs=1e-3)
    assert [int(rows[1][2]), int(rows[1][3])] == list(COUNTS.values())
    assert len((summary.ade / 'sceneCategories.txt').read_text().splitlines()) == sum(COUNTS.values())


def test_nothing_else_is_written(summary):
    names = {path.relative_to(summary.root).as_posix() for path in summary.root.glob('*')}
    assert names == {'coco', 'ade', 'embedded.json', 'preview.png'}
    for folder, suffix in (
        (summary.coco / 'train2017', '.jpg'),
        (summary.ade / 'images' / 'training', '.jpg'),
        (summary.ade / 'annotations' / 'training', '.png'),
    ):
        files = list(folder.iterdir())
        assert len(files) == COUNTS['train'] and {file.suffix for file in files} == {suffix}


def test_preview_is_a_picture(summary):
    picture = cv2.imread(str(summary.preview))
    assert min(picture.shape[:2]) > 400 and picture.std() > 20


def test_two_runs_give_the_same_bytes(summary, tmp_path):
    again = make(tmp_path / 'again')
    ours, theirs = contents(summary.root), contents(again.root)
    # The picture is drawn by matplotlib, whose bytes are not promised.
    ours.pop('preview.png'), theirs.pop('preview.png')
    assert ours == theirs


def test_another_seed_gives_other_images(summary, tmp_path):
    other = contents(make(tmp_path / 'other', train=2, val=1, seed=1).root)
    name = 'coco/train2017/000000000001.jpg'
    assert other[name] != contents(summary.root)[name]


def test_larger_data_set_begins_with_the_smaller(summary, small):
    larger, smaller = contents(summary.root), contents(small)
    images = [name for name in smaller if name.endswith(('.jpg', '.png')) and name != 'preview.png']
    assert len(images) == 3 * 3
    assert {name: larger[name] for name in images} == {name: smaller[name] for name in images}
    for split in SPLITS.values():
        name = Path('coco/annotations') / f'instances_{split.coco}.json'
        few, many = (json.loads((root / name).read_text()) for root in (small, summary.root))
        assert many['images'][: len(few['images'])] == few['images']
        assert many['annotations'][: len(few['annotations'])] == few['annotations']


def test_second_call_changes_nothing(small, monkeypatch):
    before = snapshot(small)
    monkeypatch.setattr(dataset_module, 'make_scene', lambda *args: pytest.fail('made again'))
    again = make(small, train=2, val=1)
    assert not again.made and snapshot(small) == before
    assert again.images == {'train': 2, 'val': 1}
    stored = json.loads((small / 'embedded.json').read_text())
    assert again.objects == stored['objects']


def test_extra_files_do_not_hinder_the_second_call(small):
    (small / 'notes.txt').write_text('mine')
    assert not make(small, train=2, val=1).made


def damage_request(root):
    return {'train': 3}


def damage_seed(root):
    return {'seed': 5}


def damage_settings(root):
    return {'settings': SceneSettings(objects=(2, 3))}


def damage_image(root):
    (root / 'coco/val2017/000000500001.jpg').unlink()
    return {}


def damage_annotations(root):
    (root / 'coco/annotations/instances_val2017.json').write_text('{}')
    return {}


def damage_generator(root):
    manifest = (root / 'embedded.json').read_text()
    (root / 'embedded.json').write_text(manifest.replace('mmtrtvit.datasets.toy', 'mmtrtvit.datasets.embedded'))
    return {}


@pytest.mark.parametrize(
    'damage',
    [damage_request, damage_seed, damage_settings, damage_image, damage_annotations, damage_generator],
)
def test_another_or_damaged_data_set_needs_overwrite(small, damage):
    request = {'train': 2, 'val': 1, **damage(small)}
    before = snapshot(small)
    with pytest.raises(DataError, match='--overwrite'):
        make(small, **request)
    assert snapshot(small) == before
    assert make(small, overwrite=True, **request).made
    assert not make(small, **request).made


@pytest.mark.parametrize('overwrite', [False, True])
@pytest.mark.parametrize('manifest', [None, 'not json', '{}', '[1]', '{"generator": "mmtrtvit.datasets.toy"}'])
def test_foreign_folder_is_never_touched(tmp_path, overwrite, manifest):
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos' / 'cat.txt').write_text('meow')
    if manifest is not None:
        (tmp_path / 'photos' / 'embedded.json').write_text(manifest)
    before = snapshot(tmp_path)
    with pytest.raises(DataError, match='choose another folder'):
        make(tmp_path / 'photos', overwrite=overwrite)
    assert snapshot(tmp_path) == before


def test_overwrite_refuses_to_delete_files_of_the_user(small):
    (small / 'coco' / 'my_predictions.json').write_text('[]')
    before = snapshot(small)
    with pytest.raises(DataError, match='my_predictions.json'):
        make(small, overwrite=True)
    assert snapshot(small) == before


def test_root_that_is_a_file(tmp_path):
    (tmp_path / 'toy').write_text('a file')
    with pytest.raises(DataError, match='choose another folder'):
        make(tmp_path / 'toy', overwrite=True)
    with pytest.raises(DataError, match='cannot be written'):
        make(tmp_path / 'toy' / 'below')
    assert (tmp_path / 'toy').read_text() == 'a file'


def test_empty_folder_is_filled(tmp_path):
    assert make(tmp_path, train=1, val=1).made and (tmp_path / 'coco').is_dir()


@pytest.mark.parametrize('overwrite', [False, True])
@pytest.mark.parametrize('failure', [RuntimeError, KeyboardInterrupt])
def test_failure_in_the_middle_leaves_what_was_there(tmp_path, monkeypatch, overwrite, failure):
    if overwrite:
        make(tmp_path / 'toy', train=1, val=1)
    before = snapshot(tmp_path)

    def fail_at_third(seed, split, index, settings):
        if index == 3:
            raise failure
        return make_scene(seed, split, index, settings)

    monkeypatch.setattr(dataset_module, 'make_scene', fail_at_third)
    with pytest.raises(failure):
        make(tmp_path / 'toy', overwrite=overwrite)
    assert snapshot(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == (['toy'] if overwrite else [])


def test_full_disk_is_one_message(tmp_path, monkeypatch):
    def no_room(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(dataset_module, 'draw_preview', no_room)
    with pytest.raises(DataError, match='No space left'):
        make(tmp_path / 'toy', train=1, val=1)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize('wrong', [{'train': 0}, {'val': -1}, {'seed': -1}, {'train': 2.5}, {'val': 10**9}])
def test_wrong_numbers_are_refused(tmp_path, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        make(tmp_path / 'toy', **wrong)
    assert not any(tmp_path.iterdir())


def run_tool(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name='__main__')
    return stop.value.code


def test_tool_makes_it_and_says_where(tmp_path, monkeypatch, capsys):
    arguments = ('--out', tmp_path / 'toy', '--train', 2, '--val', 1)
    assert run_tool(monkeypatch, *arguments) == 0
    out = capsys.readouterr().out
    assert f'MMTRTVIT_DATA_ROOT={(tmp_path / "toy").as_posix()}/' in out and 'preview.png' in out
    assert (tmp_path / 'toy' / 'coco' / 'train2017' / '000000000002.jpg').is_file()
    assert run_tool(monkeypatch, *arguments) == 0
    assert 'Already there' in capsys.readouterr().out
    assert run_tool(monkeypatch, *arguments, '--seed', 3) == 2
    assert '--overwrite' in capsys.readouterr().err
    assert run_tool(monkeypatch, *arguments, '--seed', 3, '--overwrite') == 0
