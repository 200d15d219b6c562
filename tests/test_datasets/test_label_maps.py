"""What is said about segmentation data that mmseg fails on badly, or silently."""

import cv2
import numpy as np
import pytest

from mmtrtvit.datasets.label_maps import READ, check_segmentation_dataset
from mmtrtvit.datasets.preflight import check_data
from mmtrtvit.errors import DataError

NAMES = ('background', 'disc', 'ring')


@pytest.fixture
def root(tmp_path):
    """12 images whose labels are 0 (no class) to 3."""
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    for index in range(12):
        cv2.imwrite(str(tmp_path / 'images' / f'{index:02d}.jpg'), np.full((8, 12, 3), 20 * index, np.uint8))
        labels = np.arange(8 * 12, dtype=np.uint8).reshape(8, 12) % 4
        labels[0, 0] = 255
        cv2.imwrite(str(tmp_path / 'labels' / f'{index:02d}.png'), labels)
    return tmp_path


@pytest.fixture
def check(root):
    def run(scope='mmseg', **changes):
        config = dict(
            type='BaseSegDataset',
            data_root=str(root),
            data_prefix=dict(img_path='images', seg_map_path='labels'),
            metainfo=dict(classes=NAMES),
            reduce_zero_label=True,
            pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
        )
        check_segmentation_dataset({**config, **changes}, scope)

    return run


def told(check, **changes):
    with pytest.raises(DataError) as caught:
        check(**changes)
    assert '\nExpected: ' in str(caught.value) and '\nFix: ' in str(caught.value)
    return str(caught.value)


def replace(path, labels):
    assert cv2.imwrite(str(path), labels)


def test_a_data_set_passes(check):
    check()
    check(type='mmseg.BaseSegDataset', scope=None)
    check(reduce_zero_label=False, metainfo=dict(classes=(*NAMES, 'cross')))
    check(metainfo=dict(classes=(*NAMES, 'more', 'than', 'there', 'are')))


def test_a_folder_without_images(check, root):
    assert f'There is no image in {root / "images"}' in told(check, img_suffix='.png')
    for path in (root / 'images').iterdir():
        path.unlink()
    message = told(check)
    assert '`data_prefix.img_path` of BaseSegDataset' in message and '.jpg' in message


def test_images_without_label_maps(check, root):
    for index in (3, 7):
        (root / 'labels' / f'{index:02d}.png').unlink()
    message = told(check)
    assert '2 of 12 images' in message and str(root / 'labels' / '03.png') in message
    # nothing asks for them where nothing loads them
    check(pipeline=[dict(type='LoadImageFromFile')])
    nested = [dict(type='TestTimeAug', transforms=[[dict(type='Resize')], [dict(type='mmseg.LoadAnnotations')]])]
    assert '2 of 12 images' in told(check, pipeline=nested)


def test_images_that_a_file_lists(check, root):
    (root / 'some.txt').write_text('00\n05\n')
    (root / 'labels' / '03.png').unlink()
    check(ann_file='some.txt')
    (root / 'labels' / '05.png').unlink()
    assert '1 of 2 images' in told(check, ann_file='some.txt')


@pytest.mark.parametrize(('reduce_zero_label', 'allowed'), [(True, 'from 1 to 2'), (False, 'from 0 to 1')])
def test_more_labels_than_classes(check, reduce_zero_label, allowed):
    message = told(check, metainfo=dict(classes=NAMES[:2]), reduce_zero_label=reduce_zero_label)
    assert 'has the value 3, but the data set has 2 classes' in message and allowed in message
    assert ('0 for ignored pixels' in message) == reduce_zero_label


def test_zero_is_a_class_unless_it_is_ignored(check):
    check(metainfo=dict(classes=NAMES), reduce_zero_label=True)
    assert 'has 3 classes' in told(check, metainfo=dict(classes=NAMES), reduce_zero_label=False)


def test_the_classes_of_a_data_set_that_has_its_own(check, root):
    check(type='ADE20KDataset', metainfo=None, reduce_zero_label=True)
    replace(root / 'labels' / '00.png', np.full((8, 12), 151, np.uint8))
    assert 'has the value 151, but the data set has 150 classes' in told(
        check, type='ADE20KDataset', metainfo=None, reduce_zero_label=True
    )


def test_labels_of_16_bits_that_would_wrap_around(check, root):
    replace(root / 'labels' / '11.png', np.full((8, 12), 257, np.uint16))
    assert 'has the value 257' in told(check)


@pytest.mark.parametrize('reduce_zero_label', [False, True])
def test_masks_of_0_and_255(check, root, reduce_zero_label):
    """255 is "ignored": the loss was 0 and the figures were nan, and nothing was said."""
    mask = np.where(np.arange(8 * 12).reshape(8, 12) % 4 == 0, 255, 0).astype(np.uint8)
    for path in (root / 'labels').iterdir():
        replace(path, mask)
    message = told(check, metainfo=dict(classes=('background', 'cell')), reduce_zero_label=reduce_zero_label)
    assert (
        f'{"100" if reduce_zero_label else "25"}% of the pixels of 12 label maps, such as {root / "labels"}' in message
    )
    assert ("all others are 'background'" in message) != reduce_zero_label
    assert '--map 0=background 255=CLASS' in message


def test_one_map_of_another_class_is_enough(check, root):
    """Most label maps of some data sets show one class."""
    for number, path in enumerate(sorted((root / 'labels').iterdir())):
        labels = np.full((8, 12), 255, np.uint8)
        labels[4:] = number == 1
        replace(path, labels)
    check(metainfo=dict(classes=('background', 'cell')), reduce_zero_label=False)


def test_one_class_beside_ignored_pixels(check, root):
    for path in (root / 'labels').iterdir():
        replace(path, np.repeat([[0], [255]], 4, axis=0).repeat(12, axis=1).astype(np.uint8))
    check(metainfo=dict(classes=('cell',)), reduce_zero_label=False)


def test_label_maps_as_jpeg(check, root):
    for path in sorted((root / 'labels').iterdir()):
        labels = np.zeros((8, 12), np.uint8)
        labels[:, 3:] = 9
        replace(path.with_suffix('.jpg'), labels)
    message = told(check, seg_map_suffix='.jpg', reduce_zero_label=False)
    assert 'JPEG changes values' in message


def test_label_maps_in_colour(check, root):
    replace(root / 'labels' / '00.png', np.zeros((8, 12, 3), np.uint8))
    assert '00.png has 3 channels' in told(check)


def test_label_maps_of_another_size(check, root):
    replace(root / 'labels' / '11.png', np.ones((12, 8), np.uint8))
    assert '11.png is 12x8, its image 8x12' in told(check)


def test_label_maps_that_cannot_be_read(check, root):
    (root / 'labels' / '00.png').write_bytes(b'no PNG')
    assert '00.png cannot be read' in told(check)


def test_a_few_are_read_spread_over_all(check, root, monkeypatch):
    from mmtrtvit.datasets import label_maps

    seen = []
    original = label_maps.check_label_map
    monkeypatch.setattr(label_maps, 'check_label_map', lambda *a: seen.append(a[0].stem) or original(*a))
    check()
    assert len(seen) == READ and seen[0] == '00' and seen[-1] == '11' and seen == sorted(set(seen))


def test_what_cannot_be_built_is_left_to_who_builds_it(check):
    check(type='NoSuchDataset')
    check(type='ADE20KDataset', metainfo=dict(classes=('no', 'such', 'class')))


def test_the_scope_comes_from_the_config(check, root, monkeypatch):
    from mmengine.config import Config

    config = Config(
        dict(
            default_scope='mmseg',
            train_dataloader=dict(
                dataset=dict(
                    type='BaseSegDataset',
                    data_root=str(root),
                    data_prefix=dict(img_path='images', seg_map_path='labels'),
                    metainfo=dict(classes=NAMES[:1]),
                    pipeline=[dict(type='LoadAnnotations')],
                )
            ),
        )
    )
    with pytest.raises(DataError, match='has the value 3, but the data set has 1 classes'):
        check_data(config, ['train'])
