"""Own data of every format: the same objects come out, and whatever cannot be used is named."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as run_lengths
from pycocotools.coco import COCO

from mmtrtvit.datasets.own import convert_dataset
from mmtrtvit.errors import ConfigError, DataError, UserError

SIZE = (60, 40)
CLASSES = ['cat', 'dog']
# image to its objects: class, and left, top, width, height
BOXES = {
    'one': [('cat', (3.0, 4.0, 20.0, 10.0)), ('dog', (30.0, 20.0, 12.0, 16.0))],
    'two': [('dog', (0.0, 0.0, 60.0, 40.0))],
    'three': [('cat', (10.0, 5.0, 8.0, 9.0))],
    'four': [('dog', (1.0, 2.0, 3.0, 4.0))],
}
SPLIT = {'one': 'train', 'two': 'train', 'three': 'train', 'four': 'val'}


def picture(path, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), 90, np.uint8)).save(path)


def outline(box):
    x, y, w, h = box
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def make_voc(folder):
    for name, objects in BOXES.items():
        picture(folder / 'JPEGImages' / f'{name}.jpg')
        items = ''.join(
            f'<object><name>{label}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + w + 1}</xmax>'
            f'<ymax>{y + h + 1}</ymax></bndbox></object>'
            for label, (x, y, w, h) in objects
        )
        path = folder / 'Annotations' / f'{name}.xml'
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f'<annotation><filename>{name}.jpg</filename><size><width>{SIZE[0]}</width><height>{SIZE[1]}</height></size>'
            f'{items}</annotation>'
        )
    lists = folder / 'ImageSets' / 'Main'
    lists.mkdir(parents=True)
    for split in ('train', 'val'):
        (lists / f'{split}.txt').write_text('\n'.join(name for name, of in SPLIT.items() if of == split) + '\n')


def make_yolo(folder, outlines=False):
    (folder / 'data.yaml').parent.mkdir(parents=True, exist_ok=True)
    (folder / 'data.yaml').write_text(f'names: {CLASSES}\nnc: 2\n')
    for name, objects in BOXES.items():
        split = {'train': 'train', 'val': 'valid'}[SPLIT[name]]
        picture(folder / split / 'images' / f'{name}.png')
        lines = []
        for label, box in objects:
            values = outline(box) if outlines else [box[0] + box[2] / 2, box[1] + box[3] / 2, box[2], box[3]]
            shares = [value / SIZE[place % 2] for place, value in enumerate(values)]
            lines.append(f'{CLASSES.index(label)} ' + ' '.join(f'{share:.8f}' for share in shares))
        path = folder / split / 'labels' / f'{name}.txt'
        path.parent.mkdir(exist_ok=True)
        path.write_text('\n'.join(lines))


def make_labelme(folder):
    for name, objects in BOXES.items():
        path = folder / SPLIT[name] / f'{name}.json'
        picture(path.with_suffix('.jpg'))
        shapes = [
            dict(label=label, points=[[x, y], [x + w, y + h]], shape_type='rectangle')
            if name == 'two'
            else dict(label=label, points=np.reshape(outline((x, y, w, h)), (-1, 2)).tolist(), shape_type='polygon')
            for label, (x, y, w, h) in objects
        ]
        content = dict(shapes=shapes, imagePath=f'{name}.jpg', imageWidth=SIZE[0], imageHeight=SIZE[1], imageData=None)
        path.write_text(json.dumps(content))


def make_coco(folder):
    """As Roboflow does it: ids from 0, a category that only groups, no area, no iscrowd, images beside the file."""
    for split in ('train', 'val'):
        names = [name for name, of in SPLIT.items() if of == split]
        categories = [dict(id=0, name='pets', supercategory='none')]
        categories += [dict(id=place, name=name, supercategory='pets') for place, name in enumerate(CLASSES, 1)]
        images, annotations = [], []
        for number, name in enumerate(names):
            picture(folder / split / f'{name}.jpg')
            images.append(dict(id=number, file_name=f'{name}.jpg'))
            for label, box in BOXES[name]:
                annotations.append(
                    dict(id=len(annotations), image_id=number, category_id=1 + CLASSES.index(label), bbox=list(box))
                )
        content = dict(images=images, annotations=annotations, categories=categories)
        (folder / split / '_annotations.coco.json').write_text(json.dumps(content))


MAKERS = {
    'voc': make_voc,
    'yolo': make_yolo,
    'yolo outlines': lambda folder: make_yolo(folder, outlines=True),
    'labelme': make_labelme,
    'coco': make_coco,
}


@pytest.fixture
def made(tmp_path):
    def make(name):
        MAKERS[name](tmp_path / 'source')
        return tmp_path / 'source'

    return make


def boxes_of(out):
    """Image to class and box, and image to split, of what was written; as pycocotools reads it."""
    boxes, splits = {}, {}
    for split in ('train', 'val'):
        read = COCO(str(out / 'annotations' / f'instances_{split}2017.json'))
        for image in read.loadImgs(read.getImgIds()):
            file = out / f'{split}2017' / image['file_name']
            assert Image.open(file).size == (image['width'], image['height']) == SIZE
            name = Path(image['file_name']).stem
            splits[name] = split
            items = read.loadAnns(read.getAnnIds(image['id']))
            assert all(item['id'] > 0 and item['iscrowd'] == 0 and item['area'] > 0 for item in items)
            boxes[name] = [(read.cats[item['category_id']]['name'], tuple(item['bbox'])) for item in items]
    return boxes, splits


@pytest.mark.parametrize('name', MAKERS)
def test_the_same_objects_come_out(made, tmp_path, name):
    done = convert_dataset(made(name), tmp_path / 'out')
    boxes, splits = boxes_of(tmp_path / 'out')
    assert splits == SPLIT and done.classes == CLASSES and done.format == name.split()[0]
    for image, objects in BOXES.items():
        assert [label for label, _ in boxes[image]] == [label for label, _ in objects]
        np.testing.assert_allclose([box for _, box in boxes[image]], [box for _, box in objects], atol=2e-3)
    assert done.counts['train'] == {'cat': 2, 'dog': 2} and done.images == {'train': 3, 'val': 1}
    assert 'the split val shows no cat' in done.report()


@pytest.mark.parametrize('name', ['yolo outlines', 'labelme'])
def test_outlines_stay_masks(made, tmp_path, name):
    convert_dataset(made(name), tmp_path / 'out')
    content = json.loads((tmp_path / 'out' / 'annotations' / 'instances_train2017.json').read_text())
    first = content['annotations'][0]
    mask = run_lengths.decode(run_lengths.frPyObjects(first['segmentation'], SIZE[1], SIZE[0]))[..., 0]
    x, y, w, h = map(int, BOXES['one'][0][1])
    expected = np.zeros(SIZE[::-1], np.uint8)
    expected[y : y + h, x : x + w] = 1
    assert np.mean(mask != expected) < 0.02 and first['area'] == mask.sum()


def test_images_are_linked_or_copied(made, tmp_path):
    source = made('voc')
    convert_dataset(source, tmp_path / 'linked')
    convert_dataset(source, tmp_path / 'copied', copy=True)
    assert (tmp_path / 'linked' / 'train2017' / 'one.jpg').resolve() == (source / 'JPEGImages' / 'one.jpg').resolve()
    assert not (tmp_path / 'copied' / 'train2017' / 'one.jpg').is_symlink()


def test_a_source_without_splits_is_split_by_the_seed(made, tmp_path):
    source = made('voc')
    for path in (source / 'ImageSets' / 'Main').iterdir():
        path.unlink()
    found = [
        convert_dataset(source, tmp_path / str(run), val_share=0.5, seed=seed) for run, seed in enumerate((1, 1, 2, 3))
    ]
    assert [done.images for done in found] == [{'train': 2, 'val': 2}] * 4
    splits = [boxes_of(done.folder)[1] for done in found]
    assert splits[0] == splits[1] and len({tuple(sorted(split.items())) for split in splits}) > 1
    assert '2 of 4 images were drawn for val (seed 1).' in found[0].notes


def test_objects_without_area_or_outside_are_named(made, tmp_path):
    source = made('yolo')
    (source / 'train' / 'labels' / 'two.txt').write_text(
        '0 0.5 0.5 0 0.5\n1 1.4 0.5 0.1 0.1\n1 0.9 0.5 0.5 0.5\n1 0.5 nan 0.5 0.5\n0 0.5 0.5 0.01 0.5\n'
    )
    done = convert_dataset(source, tmp_path / 'out')
    assert [note.split('two.txt: ')[1] for note in done.notes] == [
        'object 1 (cat) has no area (0 x 20 pixels): left out',
        'object 2 (dog) lies outside of the image: left out',
        'object 3 (dog) reaches 9.0 pixels beyond the image: cut off',
        'object 4 (dog) has a box that is not finite (15.0, nan, 30.0, 20.0): left out',
    ]
    # an object below a pixel has an area
    (dog, thin) = boxes_of(tmp_path / 'out')[0]['two']
    assert dog == ('dog', (39.0, 10.0, 21.0, 20.0))
    assert thin[0] == 'cat' and thin[1] == pytest.approx((29.7, 10.0, 0.6, 20.0), abs=0.01)
    assert json.loads((tmp_path / 'out' / 'conversion.json').read_text())['notes'] == done.notes


def test_voc_that_counts_from_0_is_seen(made, tmp_path):
    source = made('voc')
    path = source / 'Annotations' / 'two.xml'
    path.write_text(path.read_text().replace('1.0</xmin>', '0</xmin>').replace('1.0</ymin>', '0</ymin>'))
    convert_dataset(source, tmp_path / 'out')
    assert boxes_of(tmp_path / 'out')[0]['one'][0] == ('cat', (4.0, 5.0, 20.0, 10.0))


def test_images_of_one_name_in_two_splits_stay_apart(made, tmp_path):
    source = made('yolo')
    for folder, suffix in (('images', '.png'), ('labels', '.txt')):
        (source / 'valid' / folder / f'four{suffix}').rename(source / 'valid' / folder / f'one{suffix}')
    done = convert_dataset(source, tmp_path / 'out')
    assert done.images == {'train': 3, 'val': 1}
    assert (tmp_path / 'out' / 'val2017' / 'one.png').resolve() == (source / 'valid' / 'images' / 'one.png').resolve()


def test_images_of_one_name_in_folders_of_a_split_stay_apart(tmp_path):
    """A name with a number may be taken by another image."""
    places = ['p/one.png', 'q/one.png', 'one_2.png', 'q/one.jpg']
    sources = [tmp_path / 'source' / 'train' / 'images' / place for place in places]
    sources.append(tmp_path / 'source' / 'val' / 'images' / 'two.png')
    for number, path in enumerate(sources):
        picture(path, (20 + number, 20))
        labels = Path(str(path.with_suffix('.txt')).replace('/images/', '/labels/'))
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text('0 0.5 0.5 0.5 0.5\n')
    (tmp_path / 'source' / 'data.yaml').write_text('names: [cat]\n')
    convert_dataset(tmp_path / 'source', tmp_path / 'out', copy=True)
    read = COCO(str(tmp_path / 'out' / 'annotations' / 'instances_train2017.json'))
    images = read.loadImgs(read.getImgIds())
    assert len({image['file_name'].lower() for image in images}) == 4
    for image in images:
        assert Image.open(tmp_path / 'out' / 'train2017' / image['file_name']).width == image['width']


def test_the_order_of_the_classes_can_be_chosen(made, tmp_path):
    done = convert_dataset(made('coco'), tmp_path / 'out', classes=['dog', 'cat'])
    categories = json.loads((tmp_path / 'out' / 'annotations' / 'instances_val2017.json').read_text())['categories']
    assert done.classes == ['dog', 'cat'] and [entry['name'] for entry in categories] == ['dog', 'cat']
    assert boxes_of(tmp_path / 'out')[0]['four'][0][0] == 'dog'


def edit_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def set_at(*keys_and_value):
    *keys, last, value = keys_and_value

    def change(content):
        for key in keys:
            content = content[key]
        content[last] = value

    return change


COCO_FILE = 'train/_annotations.coco.json'
FAULTS = [
    # format, file, change of its text (or a function of its JSON), the message names
    ('voc', 'Annotations/one.xml', lambda text: text[:40], r'one\.xml cannot be read as XML'),
    ('voc', 'Annotations/one.xml', lambda text: text.replace('<xmin>4.0</xmin>', ''), r"one\.xml.*'cat' has no box"),
    (
        'voc',
        'Annotations/one.xml',
        lambda text: text.replace('<name>cat</name>', ''),
        r'one\.xml: object 1 has no name',
    ),
    ('voc', 'Annotations/one.xml', lambda text: text.replace('>60<', '>90<'), r'one\.xml says 90 x 40 .* 60 x 40'),
    ('yolo', 'train/labels/one.txt', lambda text: text + '\n0 1 2', r'one\.txt, line 3'),
    ('yolo', 'train/labels/one.txt', lambda text: '7' + text[1:], r'one\.txt, line 1: class 7, where there are 2'),
    ('yolo', 'train/labels/one.txt', lambda text: '0 30 20 10 10', r'one\.txt, line 1: 30 as a share'),
    ('yolo', 'train/labels/one.txt', lambda text: '0 -0.6 0.5 0.2 0.2', r'one\.txt, line 1: -0\.6 as a share'),
    ('yolo', 'train/labels/one.txt', lambda text: b'\xff\xfe0\x001', r'one\.txt is not text in UTF-8'),
    ('yolo', 'data.yaml', lambda text: 'names: [a, b', r'does not name the classes: while parsing a flow sequence'),
    ('yolo', 'data.yaml', lambda text: 'nc: 2', r'data\.yaml does not name the classes'),
    ('labelme', 'train/one.json', set_at('shapes', 0, 'points', [[1]]), r'one\.json: shape 1'),
    ('labelme', 'train/one.json', set_at('imageWidth', 90), r'one\.json says 90 x 40'),
    ('coco', COCO_FILE, set_at('annotations', 0, 'category_id', 9), r'categories 9, which it lacks'),
    ('coco', COCO_FILE, set_at('annotations', 0, 'bbox', [1, 2, 3]), r'annotation 0 cannot be used'),
    ('coco', COCO_FILE, set_at('annotations', 0, 'image_id', 77), r'no entry in `images`, the first has id 77'),
    ('coco', COCO_FILE, set_at('categories', 1, 'name', 'dog'), r"two categories are called 'dog'"),
    ('coco', COCO_FILE, set_at('images', 1, 'id', 0), r'several images have the id 0'),
    ('coco', COCO_FILE, set_at('images', ['one.jpg']), r"an image has no id or file_name \('one\.jpg'\)"),
    ('coco', COCO_FILE, set_at('categories', 2, 'id', 1), r'several categories have the id 1'),
    ('coco', COCO_FILE, set_at('categories', 1, 'name', 'fox'), r'different classes: cat, fox'),
    ('coco', COCO_FILE, set_at('images', 0, 'file_name', 'x.jpg'), r'no image for .* \(it names .x\.jpg'),
    ('coco', COCO_FILE, set_at('images', 0, 'width', 61), r'says 61 x 40|60 x 40'),
]


@pytest.mark.parametrize(
    'name, file, change, message', FAULTS, ids=lambda value: value if isinstance(value, str) else ''
)
def test_faults_are_named_and_nothing_is_written(made, tmp_path, name, file, change, message):
    source = made(name)
    path = source / file
    if path.suffix == '.json':
        edit_json(path, change)
    else:
        text = change(path.read_text())
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    if 'width' in str(message) or '61 x 40' in message:
        edit_json(path, set_at('images', 0, 'height', 40))
    with pytest.raises(DataError, match=message) as caught:
        convert_dataset(source, tmp_path / 'out')
    assert 'Fix: ' in str(caught.value)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ['source']


def test_a_byte_order_mark_is_not_part_of_a_name(made, tmp_path):
    source = made('yolo')
    (source / 'data.yaml').unlink()
    (source / 'classes.txt').write_bytes('\ufeffcat\ndog\n'.encode())
    assert convert_dataset(source, tmp_path / 'out').classes == CLASSES


@pytest.mark.parametrize('name, file', [('voc', 'JPEGImages/one.jpg'), ('yolo', 'train/images/one.png')])
def test_annotations_without_an_image(made, tmp_path, name, file):
    source = made(name)
    (source / file).unlink()
    with pytest.raises(DataError, match=r'no image for .*one\.xml' if name == 'voc' else r'one\.txt'):
        convert_dataset(source, tmp_path / 'out')


def test_images_without_annotation_are_noted(made, tmp_path):
    source = made('voc')
    picture(source / 'JPEGImages' / 'five.jpg')
    assert any(
        '1 images have no annotation' in note and 'five.jpg' in note
        for note in convert_dataset(source, tmp_path / 'o').notes
    )


def test_a_damaged_image_is_named(made, tmp_path):
    source = made('voc')
    (source / 'JPEGImages' / 'one.jpg').write_bytes(b'<html>')
    with pytest.raises(DataError, match=r'one\.jpg cannot be read'):
        convert_dataset(source, tmp_path / 'out')


def test_options_that_cannot_be_used(made, tmp_path):
    source = made('voc')
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'file').touch()
    for options, message in (
        (dict(out=tmp_path / 'full'), 'is not empty'),
        (dict(val_share=1.5), '--val-share 1.5'),
        (dict(mapping=['0=a'], format='voc'), '--map beside the format voc'),
        (dict(classes=['cat', 'cow']), '--classes cat cow'),
    ):
        with pytest.raises(ConfigError, match=message):
            convert_dataset(source, **{'out': tmp_path / 'out', **options})
    with pytest.raises(DataError, match='cannot be told'):
        convert_dataset(source / 'JPEGImages', tmp_path / 'out')
    make_labelme(source)
    with pytest.raises(DataError, match='labelme and voc'):
        convert_dataset(source, tmp_path / 'out')


# --- label maps ------------------------------------------------------------------------------------------------------


@pytest.fixture
def maps(tmp_path):
    """Four images with masks of 0 and 255, and what they show."""
    generator = np.random.default_rng(0)
    found = {}
    for name in ('a', 'b', 'c', 'd'):
        picture(tmp_path / 'source' / 'images' / f'{name}.jpg')
        found[name] = generator.random(SIZE[::-1]) > 0.5
        path = tmp_path / 'source' / 'masks' / f'{name}_mask.png'
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(found[name].astype(np.uint8) * 255).save(path)
    return tmp_path / 'source', found


def test_masks_of_0_and_255_become_classes(maps, tmp_path):
    source, masks = maps
    done = convert_dataset(source, tmp_path / 'out', mapping=['0=background', '255=cell'], val_share=0.25)
    assert done.classes == ['background', 'cell'] and done.images == {'train': 3, 'val': 1}
    assert (tmp_path / 'out' / 'classes.txt').read_text().split() == done.classes
    written = sorted((tmp_path / 'out' / 'annotations').rglob('*.png'))
    assert [path.stem for path in written] != [] and {path.stem for path in written} == set(masks)
    for path in written:
        np.testing.assert_array_equal(np.array(Image.open(path)), masks[path.stem])
        image = tmp_path / 'out' / 'images' / path.parent.name / f'{path.stem}.jpg'
        assert image.is_file()


def test_palettes_and_colours_become_classes(maps, tmp_path):
    source, masks = maps
    for name, mask in masks.items():
        path = source / 'masks' / f'{name}_mask.png'
        paletted = Image.fromarray(mask.astype(np.uint8), mode='P')
        paletted.putpalette([255, 0, 0, 0, 0, 255])
        paletted.save(path)
    done = convert_dataset(source, tmp_path / 'palette', classes=['ground', 'sky'])
    assert done.classes == ['ground', 'sky']
    for name in masks:
        with Image.open(source / 'masks' / f'{name}_mask.png') as opened:
            opened.convert('RGB').save(source / 'masks' / f'{name}_mask.png')
    convert_dataset(source, tmp_path / 'colour', mapping=['255,0,0=ground', '0,0,255=ignore'])
    for path in (tmp_path / 'colour' / 'annotations').rglob('*.png'):
        np.testing.assert_array_equal(np.array(Image.open(path)), np.where(masks[path.stem], 255, 0))
    for path in (tmp_path / 'palette' / 'annotations').rglob('*.png'):
        np.testing.assert_array_equal(np.array(Image.open(path)), masks[path.stem])


def test_label_maps_of_one_name_stay_with_their_images(tmp_path):
    """Images of one name in two splits, and of one split in two folders, one of them with another suffix."""
    places = ['train/images/x/1.jpg', 'train/images/y/1.png', 'train/images/2.jpg', 'val/images/1.jpg']
    for number, place in enumerate(places):
        picture(tmp_path / 'source' / place, (20 + number, 20))
        path = (tmp_path / 'source' / place.replace('images', 'masks')).with_suffix('.png')
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.zeros((20, 20 + number), np.uint8)
        values[:, number:] = 1
        Image.fromarray(values).save(path)
    done = convert_dataset(tmp_path / 'source', tmp_path / 'out', classes=['left', 'right'])
    assert done.images == {'train': 3, 'val': 1}
    images = sorted((tmp_path / 'out' / 'images').rglob('*.*'))
    assert len(images) == 4
    for image in images:
        labels = np.array(Image.open(tmp_path / 'out' / 'annotations' / image.parent.name / f'{image.stem}.png'))
        assert labels.shape[1] == Image.open(image).width
        assert (labels == 0).sum() == 20 * (labels.shape[1] - 20)


def test_values_that_are_not_named(maps, tmp_path):
    source, _ = maps
    done = convert_dataset(source, tmp_path / 'rest', mapping=['255=cell', 'rest=other'])
    assert done.classes == ['cell', 'other']
    for path in (tmp_path / 'rest' / 'annotations').rglob('*.png'):
        with Image.open(source / 'masks' / f'{path.stem}_mask.png') as opened:
            np.testing.assert_array_equal(np.array(Image.open(path)), np.where(np.array(opened) == 255, 0, 1))


def test_label_maps_that_do_not_fit(maps, tmp_path):
    source, _ = maps
    for options, message in (
        ({}, 'the values 0, 255, and nothing names'),
        (dict(classes=['a']), r'0, 255|names 1 classes'),
        (dict(mapping=['0=a']), r'_mask\.png has the value 255 at x='),
        (dict(mapping=['x=a']), '--map x=a'),
        (dict(mapping=['0=a', '255=b', '0=c']), '--map gives 0 two classes: a and c'),
    ):
        with pytest.raises(UserError, match=message):
            convert_dataset(source, tmp_path / 'out', **options)
        assert not (tmp_path / 'out').exists()
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(source / 'masks' / 'a_mask.png')
    with pytest.raises(DataError, match=r'a_mask\.png has 5 x 5 pixels'):
        convert_dataset(source, tmp_path / 'out', mapping=['0=a', '255=b'])
    (source / 'masks' / 'a_mask.png').unlink()
    with pytest.raises(DataError, match=r'1 images have no label map, the first is .*a\.jpg'):
        convert_dataset(source, tmp_path / 'out', mapping=['0=a', '255=b'])


# --- the command, and real data --------------------------------------------------------------------------------


def test_the_command_ends_with_one_message(fresh_tool, tmp_path):
    done = fresh_tool('convert_dataset', tmp_path, '--out', tmp_path / 'out')
    assert done.returncode == 2 and done.stderr.count('Fix:') == 1 and 'Traceback' not in done.stderr


@pytest.mark.realdata
def test_blood_cells(real_data, tmp_path):
    if not (real_data / 'bccd').is_dir():
        pytest.skip('no blood cells there')
    done = convert_dataset(real_data / 'bccd', tmp_path / 'cells')
    assert done.images == {'train': 205, 'val': 87} and set(done.classes) == {'RBC', 'WBC', 'Platelets'}
    assert sum(sum(counter.values()) for counter in done.counts.values()) == 3941
    assert sum('has no area' in note for note in done.notes) == 2
    assert COCO(str(tmp_path / 'cells' / 'annotations' / 'instances_val2017.json')).getImgIds()


@pytest.mark.realdata
def test_genuine_coco_keeps_its_masks_and_crowds(real_data, tmp_path):
    convert_dataset(real_data / 'coco', tmp_path / 'coco')
    theirs = COCO(str(real_data / 'coco' / 'annotations' / 'instances_val2017.json'))
    ours = COCO(str(tmp_path / 'coco' / 'annotations' / 'instances_val2017.json'))
    assert len(ours.anns) == len(theirs.anns)
    names = {image['file_name']: image['id'] for image in theirs.imgs.values()}
    for image in ours.imgs.values():
        mine_of = ours.loadAnns(ours.getAnnIds(image['id']))
        others_of = theirs.loadAnns(theirs.getAnnIds(names[image['file_name']]))
        for mine, other in zip(mine_of, others_of, strict=True):
            assert ours.cats[mine['category_id']]['name'] == theirs.cats[other['category_id']]['name']
            assert mine['iscrowd'] == other['iscrowd']
            np.testing.assert_array_equal(ours.annToMask(mine), theirs.annToMask(other))
            assert mine['area'] == pytest.approx(other['area'], rel=0.2, abs=20)
