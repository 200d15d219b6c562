"""Confusion matrices: what is counted, on hand-made examples, against the libraries, and on a whole test split."""

import importlib.util
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from PIL import Image

from mmtrtvit.apis import evaluate
from mmtrtvit.apis.confusion import ConfusionMatrix, confusion_matrix, count_boxes, count_pixels
from mmtrtvit.config import load_config
from mmtrtvit.datasets.toy import CLASSES
from mmtrtvit.errors import CheckpointError, ConfigError, DataError


def truth(*boxes, labels):
    return InstanceData(
        bboxes=np.array(boxes, np.float32).reshape(-1, 4), labels=np.array(labels, np.int64).reshape(-1)
    )


def found(*boxes, labels, scores):
    return InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long),
        scores=torch.tensor(scores, dtype=torch.float32),
    )


def counted(ours, theirs, crowds=(), score_thr=0.3, iou_thr=0.5):
    crowds = np.array(crowds, np.float32).reshape(-1, 4)
    matrix = count_boxes(ours, crowds, theirs, 2, score_thr=score_thr, iou_thr=iou_thr)
    return {tuple(place): int(matrix[tuple(place)]) for place in np.argwhere(matrix).tolist()}


A, B, FAR = [0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 60, 60]
NOTHING = dict(labels=[], scores=[])


def test_boxes_are_counted():
    assert counted(truth(A, labels=[0]), found(B, labels=[0], scores=[0.9])) == {(0, 0): 1}
    # another class: taken for it, and missed
    assert counted(truth(A, labels=[0]), found(B, labels=[1], scores=[0.9])) == {(0, 1): 1, (0, 2): 1}
    assert counted(truth(A, labels=[0]), found(FAR, labels=[0], scores=[0.9])) == {(2, 0): 1, (0, 2): 1}
    assert counted(truth(A, labels=[0]), found(**NOTHING)) == {(0, 2): 1}
    assert counted(truth(labels=[]), found(A, labels=[1], scores=[0.9])) == {(2, 1): 1}
    assert counted(truth(labels=[]), found(**NOTHING)) == {}
    assert counted(truth(A, labels=[0]), found(B, A, labels=[0, 1], scores=[0.9, 0.5])) == {(0, 0): 1, (0, 1): 1}


def test_thresholds():
    low = truth(A, labels=[0]), found(B, labels=[0], scores=[0.25])
    assert counted(*low) == {(0, 2): 1}
    assert counted(*low, score_thr=0.25) == {(0, 0): 1}
    assert counted(*low, score_thr=0.2, iou_thr=0.81) == {(2, 0): 1, (0, 2): 1}
    assert counted(*low, score_thr=0.2, iou_thr=0.79) == {(0, 0): 1}


def test_crowds_are_no_objects():
    crowd = [[40, 40, 100, 100]]
    assert counted(truth(labels=[]), found(**NOTHING), crowd) == {}
    assert counted(truth(labels=[]), found(FAR, labels=[1], scores=[0.9]), crowd) == {}
    assert counted(truth(labels=[]), found(A, labels=[1], scores=[0.9]), crowd) == {(2, 1): 1}
    assert counted(truth(FAR, labels=[0]), found(FAR, labels=[0], scores=[0.9]), crowd) == {(0, 0): 1}


def test_boxes_are_counted_as_by_mmdet():
    import mmdet

    path = Path(mmdet.__file__).parent / '.mim' / 'tools' / 'analysis_tools' / 'confusion_matrix.py'
    if not path.is_file():
        pytest.skip('this distribution of mmdet comes without its tools')
    spec = importlib.util.spec_from_file_location('mmdet_confusion_matrix', path)
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    generator = np.random.default_rng(0)

    def boxes(count):
        corner, size = generator.uniform(0, 40, (count, 2)), generator.uniform(10, 40, (count, 2))
        return np.concatenate([corner, corner + size], axis=1).astype(np.float32)

    for objects, detections in [(4, 9), (1, 30), (6, 1), (3, 0)] * 3:
        ours = truth(*boxes(objects), labels=generator.integers(0, 3, objects))
        seen = found(
            *boxes(detections).tolist(),
            labels=generator.integers(0, 3, detections).tolist(),
            scores=generator.uniform(0, 1, detections).tolist(),
        )
        expected = np.zeros((4, 4))
        instances = [dict(bbox=box, bbox_label=label) for box, label in zip(ours.bboxes, ours.labels, strict=True)]
        theirs.analyze_per_img_dets(expected, instances, dict(seen.items()), score_thr=0.3, tp_iou_thr=0.4)
        matrix = count_boxes(ours, np.zeros((0, 4), np.float32), seen, 3, score_thr=0.3, iou_thr=0.4)
        np.testing.assert_array_equal(matrix, expected)


def test_pixels_are_counted_as_by_mmseg():
    from mmseg.evaluation import IoUMetric

    generator = np.random.default_rng(0)
    ours, seen = generator.integers(0, 5, (2, 13, 17))
    ours[generator.uniform(size=ours.shape) < 0.2] = 255
    matrix = count_pixels(ours.astype(np.uint8), seen.astype(np.uint8), 5)
    right, union, predicted, true = IoUMetric.intersect_and_union(torch.tensor(seen), torch.tensor(ours), 5, 255)
    np.testing.assert_array_equal(np.diag(matrix), right)
    np.testing.assert_array_equal(matrix.sum(0), predicted)
    np.testing.assert_array_equal(matrix.sum(1), true)
    assert matrix[1, 3] == ((ours == 1) & (seen == 3)).sum()


def test_many_classes_do_not_overflow():
    matrix = count_pixels(np.full((2, 2), 149, np.uint8), np.full((2, 2), 148, np.uint8), 150)
    assert matrix[149, 148] == matrix.sum() == 4


def test_the_worst_confusions():
    counts = np.array([[5, 3, 0], [7, 0, 1], [0, 0, 0]])
    matrix = ConfusionMatrix(counts, ('a', 'b', 'c'), 'pixels', 1, {})
    assert matrix.worst() == [('b', 'a', 7, 7 / 8), ('a', 'b', 3, 3 / 8), ('b', 'c', 1, 1 / 8)]
    assert len(matrix.worst(2)) == 2
    assert np.isnan(matrix.shares[2]).all()


# --- on a whole test split ------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def evaluated(toy_seg, tmp_path_factory):
    folder = tmp_path_factory.mktemp('found')
    out = folder / 'found.pkl'
    return evaluate(toy_seg.config, str(toy_seg.checkpoint), work_dir=str(folder), out=str(out)), out


def test_of_a_segmentor(toy_seg, evaluated, tmp_path):
    metrics, pickled = evaluated
    matrix = confusion_matrix(toy_seg.config, pickled, tmp_path)
    assert matrix.unit == 'pixels' and matrix.names == ('background', *CLASSES)
    shares = np.diag(matrix.shares)
    assert 100 * np.nanmean(shares) == pytest.approx(metrics['mAcc'], abs=0.01)
    assert 100 * np.trace(matrix.counts) / matrix.counts.sum() == pytest.approx(metrics['aAcc'], abs=0.01)
    content = json.loads((tmp_path / 'confusion_matrix.json').read_text())
    assert content['counts'] == matrix.counts.tolist() and content['classes'] == list(matrix.names)
    assert content['images'] == len(toy_seg.images) and content['rows'] == 'truth'
    with Image.open(tmp_path / 'confusion_matrix.png') as picture:
        assert min(picture.size) > 300 and len(picture.convert('RGB').getcolors(1 << 20)) > 20


@pytest.mark.slow
def test_of_a_detector_from_its_checkpoint(toy, toy_checkpoint, tmp_path):
    matrix = confusion_matrix(toy.config, toy_checkpoint, tmp_path, score_thr=0.1, iou_thr=0.3)
    assert matrix.unit == 'boxes' and matrix.names == (*CLASSES, 'background')
    content = json.loads((toy.data / 'annotations' / 'instances_val2017.json').read_text())
    objects = np.bincount([item['category_id'] - 1 for item in content['annotations']], minlength=len(CLASSES))
    # every object is found, at least once, or missed
    assert (matrix.counts[:-1].sum(1) >= objects).all() and matrix.counts[-1, -1] == 0
    assert matrix.counts[:, :-1].sum() > 0
    content = json.loads((tmp_path / 'confusion_matrix.json').read_text())
    assert (content['score_thr'], content['iou_thr']) == (0.1, 0.3)


def test_the_truth_is_never_confused(toy, toy_checkpoint, tmp_path):
    content = json.loads((toy.data / 'annotations' / 'instances_val2017.json').read_text())
    samples = []
    for image in content['images']:
        items = [item for item in content['annotations'] if item['image_id'] == image['id']]
        boxes = torch.tensor([item['bbox'] for item in items])
        boxes[:, 2:] += boxes[:, :2]
        labels = torch.tensor([item['category_id'] - 1 for item in items])
        instances = dict(bboxes=boxes, labels=labels, scores=torch.ones(len(items)))
        samples.append(dict(img_path=image['file_name'], pred_instances=instances))
    (tmp_path / 'truth.pkl').write_bytes(pickle.dumps(samples))
    # objects that overlap each other by half or more would count for each other
    matrix = confusion_matrix(toy.config, tmp_path / 'truth.pkl', tmp_path / 'out', iou_thr=0.95)
    objects = np.bincount([item['category_id'] - 1 for item in content['annotations']], minlength=len(CLASSES))
    np.testing.assert_array_equal(matrix.counts, np.diag([*objects, 0]))

    # the same images in two data sets that are joined count twice
    cfg = load_config(toy.config)
    cfg.test_dataloader.dataset = dict(type='ConcatDataset', datasets=[cfg.test_dataloader.dataset] * 2)
    cfg.dump(tmp_path / 'joined.py')
    (tmp_path / 'truth.pkl').write_bytes(pickle.dumps(samples * 2))
    twice = confusion_matrix(str(tmp_path / 'joined.py'), tmp_path / 'truth.pkl', tmp_path / 'twice', iou_thr=0.95)
    np.testing.assert_array_equal(twice.counts, 2 * matrix.counts)


def test_input_that_cannot_be_used(toy_seg, evaluated, tmp_path):
    def told(kind, source, **options):
        with pytest.raises(kind) as caught:
            confusion_matrix(toy_seg.config, source, tmp_path / 'out', **options)
        assert not list((tmp_path / 'out').glob('confusion*'))
        return str(caught.value)

    pickled, path = evaluated[1], tmp_path / 'other.pkl'
    samples = pickle.loads(pickled.read_bytes())
    assert 'There is no file' in told(DataError, path)
    assert 'There is no checkpoint' in told(CheckpointError, tmp_path / 'none.pth')
    path.write_bytes(b'text')
    assert 'cannot be read' in told(DataError, path)
    for content in ([], {}, [1], [{'img_path': 'a'}]):
        path.write_bytes(pickle.dumps(content))
        assert 'has n' in told(DataError, path)
    path.write_bytes(pickle.dumps(samples[:-1]))
    assert f'{len(samples) - 1} images, but the test split has {len(samples)}' in told(DataError, path)
    path.write_bytes(pickle.dumps(samples[::-1]))
    assert 'Image 0 of the test split' in told(DataError, path)
    assert '--iou-thr 50' in told(ConfigError, pickled, iou_thr=50)
