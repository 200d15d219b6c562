"""Settings that suit a data set of one's own: input size, schedule, norms, anchors, and their reasons."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from ..datasets.anchors import WELL_MATCHED, anchors_of, boxes_at_the_input
from ..datasets.class_checks import class_counts
from ..datasets.own import OwnData

BATCH = 4
"""Small batches make more steps of few images."""

ITERATIONS = {'objects': 600, 'label maps': 3000}
"""Length of a training on few images, from scratch; a start from a checkpoint takes half of it. RetinaNet found 0.86 of
the blood cells (AP50) after 420 iterations of 4."""

EPOCHS = (12, 100)
"""Least and most epochs: the usual schedule of COCO, and enough repetition of the same images."""

RATE = {True: 5e-4, False: 1e-4}
"""AdamW's learning rate at a batch of 4, from scratch and from a checkpoint; it grows with the root of the batch."""

EVALUATIONS = 4
"""Times that a training evaluates, about."""

WARM_UP = 100
"""Most iterations of warm-up; never more than a fifth of all."""

FEW_OBJECTS = 32
"""Objects in the fullest image up to which 128 RoIs an image are enough to learn from."""

PLACES = 100
"""Objects an image that the configs find at most."""

NORM = dict(type='GN', num_groups=32)
"""The norm of necks and of heads that the levels of a pyramid share."""


class Code(str):
    """Python text: the value of a setting that is an expression."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """A setting and the reason for it.

    Attributes:
        name: Its name, for people.
        value: Its value, as text.
        why: The reason.
    """

    name: str
    value: str
    why: str

    def __str__(self) -> str:
        return f'{self.name}: {self.value} ({self.why})'


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The length and the rate of a training.

    Attributes:
        batch: Images an iteration.
        epochs: Passes over the images.
        steps: Iterations an epoch.
        warm_up: Iterations of linear warm-up.
        every: Epochs between two evaluations.
        rate: The learning rate.
    """

    batch: int
    epochs: int
    steps: int
    warm_up: int
    every: int
    rate: float

    @property
    def iterations(self) -> int:
        """All iterations."""
        return self.epochs * self.steps


def choose_schedule(
    images: int, kind: str, scratch: bool, batch: int | None = None, epochs: int | None = None
) -> tuple[Schedule, list[Choice]]:
    """A schedule for a number of images.

    Args:
        images: Training images.
        kind: ``'objects'`` or ``'label maps'``.
        scratch: Whether nothing is learned yet.
        batch: Images an iteration; chosen by default.
        epochs: Passes over the images; chosen by default.
    """
    given, chosen = 'as given', []
    wanted, batch = batch, batch or min(BATCH, images)
    why = given if wanted else 'small batches make more steps of few images'
    chosen.append(Choice('batch', f'{batch} images', why))
    steps = math.ceil(images / batch)
    length = ITERATIONS[kind] if scratch else ITERATIONS[kind] // 2
    wanted, epochs = epochs, epochs or min(max(math.ceil(length / steps), EPOCHS[0]), EPOCHS[1])
    why = (
        given
        if wanted
        else f'{images} images make {steps} iterations an epoch; {length} iterations or {EPOCHS[0]} epochs'
    )
    chosen.append(Choice('length', f'{epochs} epochs, {epochs * steps} iterations', why))
    warm_up = max(1, min(WARM_UP, epochs * steps // 5))
    chosen.append(Choice('warm-up', f'{warm_up} iterations', f'at most {WARM_UP}, and a fifth of the training'))
    rate = float(f'{RATE[scratch] * math.sqrt(batch / BATCH):.1e}')
    why = f'{RATE[scratch]:g} at a batch of {BATCH} {"from scratch" if scratch else "from a checkpoint"}, by its root'
    chosen.append(Choice('learning rate', f'{rate:g}', why))
    every = max(1, epochs // EVALUATIONS)
    chosen.append(
        Choice('evaluation', f'every {every} epochs', f'about {EVALUATIONS} times; the best checkpoint is kept')
    )
    return Schedule(batch, epochs, steps, warm_up, every, rate), chosen


def choose_size(
    data: OwnData, largest: tuple[int, int], size: tuple[int, int] | None
) -> tuple[tuple[int, int], Choice]:
    """Width and height that images are fitted into.

    Args:
        data: The images.
        largest: The size of the shipped config, long side first.
        size: The size that the user wants.
    """
    if size:
        return size, Choice(
            'size', f'{size[0]} x {size[1]}', f'as given; the images have {data.size[0]} x {data.size[1]}'
        )
    width, height = data.size
    long, short = max(width, height), min(width, height)
    factor = min(1.0, max(largest) / long, min(largest) / short)
    size = round(width * factor), round(height * factor)
    why = 'that of the images' if factor == 1 else f'the images have {width} x {height}, the shipped config {largest}'
    return size, Choice('size', f'{size[0]} x {size[1]}', f'{why}; smaller is quicker: --size WxH')


def _normed(model: Mapping, place: str) -> Iterator[str]:
    """Places in a model config where convolutions have no norm, which training from scratch needs."""
    for key in ('neck', 'bbox_head', 'roi_head.mask_head'):
        part: Any = model
        for name in key.split('.'):
            part = part.get(name) if isinstance(part, Mapping) else None
        if part and part.get('norm_cfg') is None:
            yield key


def model_changes(
    config: Config, data: OwnData, pipeline: list[Mapping], scratch: bool, norms: bool
) -> tuple[dict[str, Any], list[Choice]]:
    """Changes to the model of a shipped config, dotted key (without ``model.``) to value.

    Args:
        config: The shipped config.
        data: The data set.
        pipeline: The test pipeline with the input size.
        scratch: Whether nothing is learned yet.
        norms: Whether neck and heads get norms where they have none.
    """
    model, changes, chosen = config.model, {}, []
    for place, _ in class_counts(model):
        changes[place.removeprefix('model.')] = len(data.classes)
    if scratch:
        backbone = dict(init_cfg=None, frozen_stages=-1, norm_eval=False, drop_path_rate=0.0)
        changes |= {
            f'backbone.{key}': value for key, value in backbone.items() if model.backbone.get(key, value) != value
        }
        chosen.append(Choice('start', 'from scratch', 'no --from CHECKPOINT was given; nothing is frozen or dropped'))
    if norms:
        places = list(_normed(model, 'model'))
        changes |= {f'{place}.norm_cfg': Code('norm') for place in places}
        if places:
            why = 'training from scratch needs norms'
            why += '; BatchNorm would mix the levels that share the head' if 'bbox_head' in places else ''
            chosen.append(Choice('norms', f'GroupNorm in {" and ".join(places)}', why))
    if data.annotations is not None:
        changes |= _for_objects(model, data, pipeline, chosen)
    parts = list(model)
    return dict(sorted(changes.items(), key=lambda item: parts.index(item[0].partition('.')[0]))), chosen


def _for_objects(model: Mapping, data: OwnData, pipeline: list[Mapping], chosen: list[Choice]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    boxes = boxes_at_the_input(data.annotations or {}, pipeline)
    for anchors in anchors_of(model) if boxes else ():
        name, share = anchors.worst(boxes)
        scale = anchors.fitting_scale(boxes)
        scale = scale if share < WELL_MATCHED else anchors.scale
        why = f'they resemble {anchors.matched(boxes[name], scale):.0%} of the boxes of {name}'
        if scale != anchors.scale:
            changes[f'{anchors.place.removeprefix("model.")}.{anchors.key}'] = anchors.value(scale)
            why += f', those from {anchors.smallest:g} pixels {share:.0%}'
        chosen.append(Choice('anchors', f'from {min(anchors.strides) * scale:g} pixels', why))
    two_stages = 'roi_head' in model
    if two_stages and data.most_objects <= FEW_OBJECTS:
        changes['train_cfg.rpn_proposal'] = dict(nms_pre=1000, max_per_img=500)
        changes['train_cfg.rcnn.sampler.num'] = 128
        changes['test_cfg.rpn'] = dict(max_per_img=300)
        why = f'at most {data.most_objects} objects are in one; quicker than 512, and in testing 300 for 1000'
        chosen.append(Choice('RoIs', '128 an image', why))
    if data.most_objects > 0.75 * PLACES:
        places = math.ceil(1.5 * data.most_objects / PLACES) * PLACES
        changes[f'test_cfg.{"rcnn." if two_stages else ""}max_per_img'] = places
        chosen.append(Choice('detections', f'{places} an image', f'up to {data.most_objects} objects are in one'))
    return changes
