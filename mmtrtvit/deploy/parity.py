"""Whether two sets of detections are the same, and how far apart they are."""

import dataclasses
from collections.abc import Iterable, Sequence

import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData

SCORE_FLOOR = 0.05
"""Detections below this score do not count: they come and go with the last bit of a score."""

SAME_IOU, SAME_SCORE = 0.99, 1e-3
"""Two detections are the same above this IoU of their boxes and below this difference of their scores."""

LEAST_MATCHED = 0.999
"""Share of the detections that have to be the same."""


@dataclasses.dataclass
class Difference:
    """Largest and mean absolute difference of one output."""

    max: float
    mean: float

    @classmethod
    def of(cls, values: Sequence[float]) -> 'Difference':
        """The difference over ``values``, 0 where there are none."""
        return cls(max=max(values, default=0.0), mean=sum(values) / len(values) if values else 0.0)


@dataclasses.dataclass
class DetectionParity:
    """How the detections of an artefact compare with PyTorch's.

    Attributes:
        images: Images compared.
        detections: PyTorch's detections above :data:`SCORE_FLOOR`.
        same: Those for which the artefact has the same one.
        extra: Detections of the artefact that PyTorch has none for.
        boxes: Difference of box coordinates, pixels of the original image.
        scores: Difference of scores.
        labels: Difference of labels: 1 where the best overlapping box has another label, else 0.
        masks: Share of pixels in which the masks disagree, of those in either.
    """

    images: int
    detections: int
    same: int
    extra: int
    boxes: Difference
    scores: Difference
    labels: Difference
    masks: Difference

    @property
    def passed(self) -> bool:
        """Whether the two are the same within the tolerances of this module."""
        return self.same >= LEAST_MATCHED * self.detections and self.extra <= (1 - LEAST_MATCHED) * self.detections

    def to_dict(self) -> dict:
        """As plain data, with the verdict and the tolerances behind it."""
        tolerances = dict(iou=SAME_IOU, score=SAME_SCORE, score_floor=SCORE_FLOOR, least_matched=LEAST_MATCHED)
        return {**dataclasses.asdict(self), 'passed': self.passed, 'tolerances': tolerances}


def _masks_of(instances: InstanceData, index: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(instances.masks)[index].bool().flatten(1)


def compare_detections(pairs: Iterable[tuple[InstanceData, InstanceData]]) -> DetectionParity:
    """Compare the artefact's detections with PyTorch's, image by image.

    Each of PyTorch's detections, best first, takes the artefact's free detection of the same label that
    overlaps it most.

    Args:
        pairs: For each image PyTorch's and the artefact's ``pred_instances``: bboxes ``(n, 4)``, scores
            ``(n,)``, labels ``(n,)`` and optionally masks ``(n, H, W)``.
    """
    images = total = same = extra = 0
    boxes, scores, labels, masks = [], [], [], []
    for reference, other in pairs:
        images += 1
        free = torch.ones(len(other), dtype=torch.bool)
        # An artefact's detection just below the floor may still be the partner of one just above it.
        free &= other.scores > SCORE_FLOOR - SAME_SCORE
        order = reference.scores.argsort(descending=True)
        for index in order[reference.scores[order] > SCORE_FLOOR]:
            total += 1
            overlap = bbox_overlaps(reference.bboxes[index, None], other.bboxes)[0]
            same_label = other.labels == reference.labels[index]
            candidate = torch.where(free & same_label, overlap, torch.full_like(overlap, -1.0))
            iou, partner = candidate.max(0) if len(other) else (torch.tensor(-1.0), None)
            if iou < 0.5:
                labels.append(float(bool((free & (overlap > 0.5)).any())))
                continue
            free[partner] = False
            labels.append(0.0)
            score_difference = (reference.scores[index] - other.scores[partner]).abs().item()
            boxes.append((reference.bboxes[index] - other.bboxes[partner]).abs().max().item())
            scores.append(score_difference)
            same += iou.item() > SAME_IOU and score_difference < SAME_SCORE
            if 'masks' in reference and 'masks' in other:
                ours, theirs = _masks_of(reference, index[None]), _masks_of(other, partner[None])
                either = (ours | theirs).sum().item()
                masks.append((ours ^ theirs).sum().item() / either if either else 0.0)
        extra += int((free & (other.scores > SCORE_FLOOR + SAME_SCORE)).sum())
    return DetectionParity(
        images, total, same, extra, *(Difference.of(values) for values in (boxes, scores, labels, masks))
    )
