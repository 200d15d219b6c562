"""Metrics of draws of images are those of pycocotools and mmseg, and their interval tells how sure a loss is."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmengine.evaluator import Evaluator
from mmseg.evaluation import IoUMetric

from mmtrtvit.deploy.proof.resampling import evaluate, loss_interval

IMAGES, CLASSES = 12, ('a', 'b', 'c')


def boxes_of(generator, count):
    corners = generator.uniform(0, 60, (count, 2))
    return np.concatenate([corners, corners + generator.uniform(10, 40, (count, 2))], axis=1)


@pytest.fixture(scope='module')
def truth(tmp_path_factory):
    """A COCO file of random boxes; not every image has one of each class."""
    generator = np.random.default_rng(0)
    annotations = []
    for image in range(IMAGES):
        for box in boxes_of(generator, generator.integers(1, 6)):
            left, top, right, bottom = box.tolist()
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image,
                    category_id=int(generator.integers(2 if image % 2 else 3)) + 1,
                    bbox=[left, top, right - left, bottom - top],
                    area=(right - left) * (bottom - top),
                    iscrowd=int(generator.random() < 0.1),
                )
            )
    content = dict(
        images=[dict(id=image, file_name=f'{image}.jpg', width=100, height=100) for image in range(IMAGES)],
        annotations=annotations,
        categories=[dict(id=number, name=name) for number, name in enumerate(CLASSES, 1)],
    )
    return content, tmp_path_factory.mktemp('coco')


def coco_evaluator(content, folder, images, seed=1, noise=4.0):
    """An evaluator that has processed noisy detections of ``images``, each as often as it is listed."""
    copies = [dict(content['images'][image], id=place) for place, image in enumerate(images)]
    annotations = [
        dict(item, id=0, image_id=place)
        for place, image in enumerate(images)
        for item in content['annotations']
        if item['image_id'] == image
    ]
    annotations = [dict(item, id=number) for number, item in enumerate(annotations, 1)]
    path = folder / 'drawn.json'
    path.write_text(json.dumps(dict(content, images=copies, annotations=annotations)))
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = Evaluator(CocoMetric(ann_file=str(path), metric='bbox', prefix='coco'))
        evaluator.dataset_meta = dict(classes=CLASSES)
        for place, image in enumerate(images):
            generator = np.random.default_rng(1000 * seed + image)
            items = [item for item in content['annotations'] if item['image_id'] == image]
            found = np.array([item['bbox'] for item in items])
            found[:, 2:] += found[:, :2]
            boxes = np.concatenate([found + generator.normal(0, noise, found.shape), boxes_of(generator, 5)])
            labels = [item['category_id'] - 1 for item in items] + generator.integers(3, size=5).tolist()
            prediction = dict(
                bboxes=torch.tensor(boxes),
                scores=torch.tensor(generator.random(len(boxes))),
                labels=torch.tensor(labels),
            )
            sample = dict(img_id=place, ori_shape=(100, 100), pred_instances=prediction)
            evaluator.metrics[0].process({}, [sample])
    return evaluator


def computed(evaluator, images):
    with contextlib.redirect_stdout(io.StringIO()):
        return evaluate(evaluator, images)


def test_the_map_of_a_draw_is_that_of_pycocotools(truth):
    content, folder = truth
    metrics, resampled = computed(coco_evaluator(content, folder, range(IMAGES)), IMAGES)
    (name,) = resampled
    assert name == 'coco/bbox_mAP'
    assert resampled[name](np.ones((1, IMAGES)))[0] == pytest.approx(metrics[name], abs=6e-4)  # rounded by mmdet
    generator = np.random.default_rng(2)
    drawn = generator.integers(IMAGES, size=(3, IMAGES))
    counts = np.stack([np.bincount(row, minlength=IMAGES) for row in drawn])
    for row, value in zip(drawn, resampled[name](counts), strict=True):
        wanted = computed(coco_evaluator(content, folder, row), IMAGES)[0][name]
        assert value == pytest.approx(wanted, abs=2e-3), 'equal scores of a repeated image may be in another order'


def test_the_miou_of_a_draw_is_that_of_mmseg():
    generator = np.random.default_rng(0)
    maps = [generator.integers(4, size=(2, 1, 9, 9)) for _ in range(6)]

    def evaluator_of(images):
        evaluator = Evaluator(IoUMetric(iou_metrics=['mIoU']))
        evaluator.dataset_meta = dict(classes=tuple('abcde'))  # the last one never occurs
        for image in images:
            ours, theirs = (dict(data=torch.tensor(labels)) for labels in maps[image])
            evaluator.metrics[0].process({}, [dict(pred_sem_seg=ours, gt_sem_seg=theirs)])
        return evaluator

    _, resampled = computed(evaluator_of(range(6)), 6)
    for row in ([0, 0, 1, 2, 2, 2], [5, 4, 3, 2, 1, 0]):
        wanted = computed(evaluator_of(row), 6)[0]['mIoU']
        assert resampled['mIoU'](np.bincount(row, minlength=6)[None])[0] == pytest.approx(wanted, abs=0.006)


def test_the_interval_of_the_same_results_is_nothing(truth):
    content, folder = truth
    sides = [computed(coco_evaluator(content, folder, range(IMAGES)), IMAGES)[1]['coco/bbox_mAP'] for _ in range(2)]
    assert loss_interval(*sides, IMAGES) == (0.0, 0.0)


def test_the_interval_holds_the_loss_and_shrinks_with_the_images(truth):
    content, folder = truth
    found = {}
    for repeats in (1, 8):
        images = list(range(IMAGES)) * repeats
        sides = []
        for noise in (3.0, 4.5):
            metrics, resampled = computed(coco_evaluator(content, folder, images, noise=noise), len(images))
            sides.append((metrics['coco/bbox_mAP'], resampled['coco/bbox_mAP']))
        (ours, our_draws), (theirs, their_draws) = sides
        low, high = loss_interval(our_draws, their_draws, len(images))
        assert (low, high) == loss_interval(our_draws, their_draws, len(images))
        assert low < ours - theirs < high and theirs < ours
        found[repeats] = high - low
    assert found[8] < 0.6 * found[1]
