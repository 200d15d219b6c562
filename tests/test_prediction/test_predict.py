"""A whole run: results are those of single calls, whatever happens to some of the images."""

import csv
import json
import threading
import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image

from mmtrtvit.errors import ConfigError, DataError, DeployError
from mmtrtvit.prediction import predict
from mmtrtvit.runtime.preprocess import read_image
from tests.fixtures.tiny_artefacts import CLASSES, PALETTE, expected_detections

from .conftest import random_image, write_video

coco_mask = pytest.importorskip('pycocotools.mask')


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file())


def test_classes_of_images(tiny, images, tmp_path):
    out = tmp_path / 'out'
    summary = predict(tiny('classification'), images, out)
    assert (summary.images, summary.objects) == (3, None)
    assert files(out) == ['drawn/a.jpg.jpg', 'drawn/a.png.png', 'drawn/b.png', 'predictions.csv', 'summary.json']
    rows = list(csv.DictReader((out / 'predictions.csv').open(encoding='utf-8')))
    assert [row['rank'] for row in rows] == ['1', '2', '3'] * 3
    image = read_image(images / 'b.png')
    middle = image[(image.shape[0] - 8) // 2 :, 26:][:8, :8].reshape(-1, 3).mean(axis=0)[::-1] / 16
    wanted = np.exp(middle - middle.max()) / np.exp(middle - middle.max()).sum()
    found = tiny('classification')(images / 'b.png')
    np.testing.assert_allclose(found.scores, wanted, atol=1e-5)
    assert (rows[6]['class'], float(rows[6]['score'])) == (
        CLASSES[wanted.argmax()],
        pytest.approx(wanted.max(), abs=1e-4),
    )
    assert (cv2.imread(str(out / 'drawn' / 'b.png')) != cv2.imread(str(images / 'b.png'))).any()


def test_options_that_a_classifier_does_not_have(tiny, images, tmp_path):
    for options in (dict(tile=16), dict(classes=['red']), dict(formats=['coco'])):
        with pytest.raises(ConfigError, match='Fix: '):
            predict(tiny('classification'), images, tmp_path / 'out', **options)
        assert not (tmp_path / 'out').exists()


def test_detections_in_every_format(tiny, images, tmp_path):
    out = tmp_path / 'out'
    summary = predict(
        tiny('instance'), images, out, recursive=True, formats=['drawn', 'coco', 'csv', 'yolo'], score=0.1
    )
    assert (summary.images, summary.objects, summary.skipped) == (5, 10, 0)
    names = ['a.jpg', 'a.png', 'b', 'below/a', 'below/c']
    drawn = ['a.jpg.jpg', 'a.png.png', 'b.png', 'below/a.jpg', 'below/c.png']
    expected = [f'drawn/{name}' for name in drawn] + [f'labels/{name}.txt' for name in names]
    assert files(out) == sorted([*expected, 'predictions.csv', 'predictions.json', 'summary.json'])

    content = json.loads((out / 'predictions.json').read_text())
    assert [category['name'] for category in content['categories']] == CLASSES
    by_id = {entry['id']: entry for entry in content['images']}
    assert [entry['file_name'] for entry in by_id.values()] == ['a.jpg', 'a.png', 'b.png', 'below/a.jpg', 'below/c.bmp']
    found = tiny('instance')(images / 'below' / 'a.jpg')
    annotations = [entry for entry in content['annotations'] if by_id[entry['image_id']]['file_name'] == 'below/a.jpg']
    boxes, scores = expected_detections(read_image(images / 'below' / 'a.jpg'))
    for index, entry in enumerate(annotations):
        x, y, width, height = entry['bbox']
        np.testing.assert_allclose([x, y, x + width, y + height], boxes[index], atol=1e-3)
        assert entry['score'] == pytest.approx(scores[index], abs=1e-5)
        assert entry['category_id'] == found.labels[index] + 1
        mask = coco_mask.decode(entry['segmentation']).astype(bool)
        np.testing.assert_array_equal(mask, found.masks[index])
        assert entry['area'] == mask.sum()
    assert len({entry['id'] for entry in content['annotations']}) == 10

    rows = list(csv.DictReader((out / 'predictions.csv').open(encoding='utf-8')))
    assert len(rows) == 10 and rows[6]['image'] == 'below/a.jpg' and rows[6]['class'] == 'green'
    assert float(rows[6]['x1']) == pytest.approx(boxes[0][0], abs=1e-3)
    label, *numbers = (out / 'labels' / 'below' / 'a.txt').read_text().splitlines()[0].split()
    polygon = np.array(numbers, float).reshape(-1, 2) * [60, 43]
    assert label == '1' and np.abs([polygon.min(0), polygon.max(0)] - boxes[0].reshape(2, 2)).max() <= 1.01
    picture, before = cv2.imread(str(out / 'drawn' / 'b.png')), cv2.imread(str(images / 'b.png'))
    assert picture.shape == before.shape and 0 < (picture != before).any(-1).mean() < 0.9


def test_label_maps(tiny, images, tmp_path):
    out = tmp_path / 'out'
    summary = predict(tiny('segmentation'), images, out, formats=['drawn', 'label-map', 'csv'])
    assert (summary.images, summary.objects) == (3, None)
    with Image.open(out / 'label_maps' / 'a.png.png') as written:
        assert written.mode == 'P' and written.getpalette()[:9] == sum(PALETTE, [])
        labels = np.array(written)
    np.testing.assert_array_equal(labels, cv2.imread(str(images / 'a.png'))[..., ::-1].argmax(-1))
    rows = [row for row in csv.DictReader((out / 'predictions.csv').open()) if row['image'] == 'a.png']
    assert {row['class']: int(row['pixels']) for row in rows} == {
        CLASSES[label]: count for label, count in zip(*np.unique(labels, return_counts=True))
    }
    assert sum(float(row['share']) for row in rows) == pytest.approx(1, abs=1e-5)


def test_a_video(tiny, tmp_path):
    path, out = write_video(tmp_path / 'a.mp4'), tmp_path / 'out'
    summary = predict(tiny('detection'), path, out, stride=2, score=0.1)
    assert (summary.images, summary.objects) == (15, 30) and files(out) == [
        'drawn/a.mp4',
        'predictions.json',
        'summary.json',
    ]
    content = json.loads((out / 'predictions.json').read_text())
    assert [(entry['file_name'], entry['frame_id']) for entry in content['images'][:2]] == [('a.mp4', 0), ('a.mp4', 2)]
    video = cv2.VideoCapture(str(out / 'drawn' / 'a.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 15 and video.get(cv2.CAP_PROP_FPS) == pytest.approx(5)
    assert video.read()[1].shape == (48, 64, 3)


def test_a_video_as_pictures(tiny, tmp_path):
    path = write_video(tmp_path / 'a.mp4', 3)
    predict(tiny('detection'), path, tmp_path / 'out', frames=True, formats=['drawn'])
    assert files(tmp_path / 'out') == ['drawn/a/000000.jpg', 'drawn/a/000001.jpg', 'drawn/a/000002.jpg', 'summary.json']


def test_images_and_videos_of_one_folder(tiny, images, tmp_path):
    write_video(images / 'c.mp4', 4)
    write_video(images / 'd.mp4', 5)
    summary = predict(tiny('segmentation'), images, tmp_path / 'out')
    assert summary.images == 3 + 4 + 5
    assert 'label_maps/c/000003.png' in files(tmp_path / 'out') and 'drawn/d.mp4' in files(tmp_path / 'out')


@pytest.mark.parametrize('batch', [1, 3])
def test_images_that_cannot_be_used_are_named_and_skipped(tiny, images, tmp_path, batch):
    (images / 'b.png').write_bytes(b'not an image')
    (images / 'list.txt').write_text('a.jpg\nb.png\nbelow/a.jpg\nnone.png\nbelow/c.bmp\n')
    summary = predict(tiny('detection'), images / 'list.txt', tmp_path / 'out', batch=batch)
    assert (summary.images, summary.skipped) == (3, 2)
    assert [entry.title.rpartition('/')[2] for entry in summary.reasons] == ['b.png', 'none.png']
    content = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert [entry['file_name'] for entry in content['images']] == ['a.jpg', 'below/a.jpg', 'below/c.bmp']
    assert '2 skipped' in summary.report() and 'none.png' in summary.report()
    assert json.loads((tmp_path / 'out' / 'summary.json').read_text())['skipped'] == 2


def test_an_image_that_the_network_does_not_take_costs_no_other_one(tiny, images, tmp_path):
    predictor = tiny('detection')

    class Picky:
        manifest = predictor.manifest

        def stream(self, pictures, batch_size, tile):
            yield from predictor.stream(map(self.check, pictures), batch_size=batch_size)

        def check(self, picture):
            if len(picture) == 42:
                raise DeployError('An image of 42 x 60 is too large.', fix='smaller ones')
            return picture

    summary = predict(Picky(), images, tmp_path / 'out', recursive=True, batch=2)
    assert (summary.images, summary.skipped) == (4, 1)
    assert summary.reasons[0].title.endswith('b.png') and summary.reasons[0].reason.endswith('is too large.')
    listed = json.loads((tmp_path / 'out' / 'predictions.json').read_text())['images']
    assert [entry['height'] for entry in listed] == [40, 41, 43, 44]  # each result with its own image


def test_nothing_is_left_when_no_image_can_be_used(tiny, tmp_path):
    (tmp_path / 'a.png').write_bytes(b'')
    (tmp_path / 'a.mp4').write_bytes(b'')
    with pytest.raises(DataError, match='None of the 1 images can be used.* cannot be read'):
        predict(tiny('detection'), tmp_path / 'a.png', tmp_path / 'out')
    with pytest.raises(DataError, match='(?s)The video .*a.mp4 cannot be opened.*Fix: '):
        predict(tiny('detection'), tmp_path / 'a.mp4', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_defect_leaves_no_table(tiny, images, tmp_path):
    predictor = tiny('detection')

    class Broken:
        manifest = predictor.manifest

        def stream(self, pictures, batch_size, tile):
            for number, found in enumerate(predictor.stream(pictures, batch_size=batch_size)):
                if number == 2:
                    raise ZeroDivisionError
                yield found

    threads = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        predict(Broken(), images, tmp_path / 'out', formats=['coco', 'csv', 'yolo'])
    assert not [name for name in files(tmp_path / 'out') if not name.startswith('labels/')]
    assert threading.active_count() == threads


def test_large_images_go_through_in_tiles(tiny, tmp_path):
    image = np.concatenate([random_image(seed, 40, 60) for seed in (0, 1)], axis=1)
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    predictor = tiny('instance')
    summary = predict(predictor, tmp_path / 'a.png', tmp_path / 'out', tile=64, score=0.1, formats=['coco', 'drawn'])
    [found] = predictor.stream([image], tile=64)
    content = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert summary.objects == len(content['annotations']) == len(found) > 2  # two in each tile
    np.testing.assert_allclose([entry['score'] for entry in content['annotations']], found.scores, atol=1e-6)


def test_only_some_classes_and_scores(tiny, images, tmp_path):
    summary = predict(tiny('instance'), images, tmp_path / 'out', classes=['red'], score=0.1)
    assert summary.objects == 3
    content = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    assert {entry['category_id'] for entry in content['annotations']} == {1}
    summary = predict(tiny('instance'), images, tmp_path / 'out2', score=0.99)
    assert (
        summary.objects == 0 and json.loads((tmp_path / 'out2' / 'predictions.json').read_text())['annotations'] == []
    )


def test_the_limit_is_kept(tiny, images, tmp_path):
    assert predict(tiny('detection'), images, tmp_path / 'out', limit=2, formats=['drawn', 'csv']).images == 2
    assert files(tmp_path / 'out') == ['drawn/a.jpg.jpg', 'drawn/a.png.png', 'predictions.csv', 'summary.json']


def test_the_folder_for_the_results(tiny, images, tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    predict(tiny('detection'), images, out)
    (out / 'mine.txt').write_text('mine')
    (images / 'b.png').unlink()
    with pytest.raises(ConfigError, match='(?s)is not empty.*--overwrite'):
        predict(tiny('detection'), images, out)
    assert (out / 'drawn' / 'b.png').exists()
    predict(tiny('detection'), images, out, overwrite=True, formats=['csv'])
    assert files(out) == ['mine.txt', 'predictions.csv', 'summary.json']  # nothing of the earlier run
    with pytest.raises(ConfigError, match='is a file'):
        predict(tiny('detection'), images, out / 'mine.txt')


def test_images_are_never_removed_with_earlier_results(tiny, images, tmp_path):
    (images / 'drawn').mkdir()
    (images / 'b.png').rename(images / 'drawn' / 'b.png')
    for source in (images / 'drawn' / '*.png', images / 'drawn' / 'b.png'):
        with pytest.raises(ConfigError, match='lies in the folder for the results'):
            predict(tiny('detection'), source, images, overwrite=True)
    assert (images / 'drawn' / 'b.png').exists()


@pytest.mark.parametrize(
    'task, options, message',
    [
        ('detection', dict(formats=['label-map']), 'cannot be written as label-map'),
        ('segmentation', dict(formats=['coco']), 'cannot be written as coco'),
        ('detection', dict(formats=['gif']), 'cannot be written as gif'),
        ('detection', dict(classes=['red', 'purple']), 'no class purple'),
        ('segmentation', dict(classes=['red']), 'holds all classes'),
        ('detection', dict(score=1.0), 'score 1 is out of range'),
        ('detection', dict(score=float('nan')), 'score nan is out of range'),
        ('detection', dict(batch=0), 'batch 0 is too small'),
        ('detection', dict(stride=0), 'stride 0 is too small'),
        ('detection', dict(limit=0), 'limit 0 is too small'),
        ('detection', dict(workers=0), 'workers 0 is too small'),
    ],
)
def test_options_that_cannot_be_used(tiny, images, tmp_path, task, options, message):
    with pytest.raises(ConfigError, match=f'(?s){message}.*Fix: '):
        predict(tiny(task), images, tmp_path / 'out', **options)
    assert not (tmp_path / 'out').exists()


def test_a_camera_that_is_stopped_leaves_complete_files(tiny, tmp_path, monkeypatch):
    class Camera:
        def __init__(self, source):
            self.real = source != 0 and Real(source)

        def isOpened(self):
            return not self.real or self.real.isOpened()

        def get(self, what):
            return self.real.get(what) if self.real else 0.0

        def read(self):
            return True, random_image(0)

        def release(self):
            pass

    Real = cv2.VideoCapture
    monkeypatch.setattr(cv2, 'VideoCapture', Camera)
    shown = []

    def interrupt(self, done, skipped):
        shown.append(done)
        if done == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr('mmtrtvit.prediction.progress.Progress.update', interrupt)
    summary = predict(tiny('detection'), '0', tmp_path / 'out', progress=True)
    assert summary.stopped and summary.images == 5
    assert len(json.loads((tmp_path / 'out' / 'predictions.json').read_text())['images']) == 5
    assert files(tmp_path / 'out') == ['drawn/camera_0.mp4', 'predictions.json', 'summary.json']
    with pytest.raises(KeyboardInterrupt):
        predict(tiny('detection'), write_video(tmp_path / 'a.mp4'), tmp_path / 'out2', progress=True)
    assert files(tmp_path / 'out2') == []


def test_memory_does_not_grow_with_the_number_of_images(tiny, tmp_path):
    """As much for 400 images as for 100; each takes 300 kB, and a result held would take as much."""
    pixels = cv2.imencode('.bmp', random_image(0, 320, 320))[1].tobytes()
    for number in range(400):
        (tmp_path / f'{number}.bmp').write_bytes(pixels)
    peaks = []
    predictor = tiny('segmentation')
    for limit in (100, 400):
        tracemalloc.start()
        assert predict(predictor, tmp_path, tmp_path / f'out{limit}', formats=['csv'], limit=limit).images == limit
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 5e6, peaks


def test_a_full_disk_is_one_message(tiny, images, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('mmtrtvit.prediction.formats.write_bytes', full)
    with pytest.raises(ConfigError, match='cannot be written: No space left on device'):
        predict(tiny('detection'), images, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
