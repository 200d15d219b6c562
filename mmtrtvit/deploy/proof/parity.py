"""Whether two sets of detections, or two label maps, are the same, and how far apart they are."""

import dataclasses
import statistics
from collections.abc import Iterable, Sequence

import torch
from mmengine.structures import BaseDataElement, InstanceData

from .differences import OutputDifference

SCORE_FLOOR = 0.05
"""Detections below this score do not count: they come and go with the last bit of a score."""

NEAR_TIE = 1e-5
"""Below this difference of their scores it is chance which of two overlapping boxes suppresses the other."""

MOST_TIES = 0.02
"""Share of the detections that chance may excuse.

Boxes that are wrong throughout, with scores that are right, look like ties as well: but like many.
"""


SAME_BOX = 0.01
"""Boxes whose corners are nearer than this, pixels, are the same box.

Boxes outside of an image are clipped to a line of its border, which has no area, and no IoU even with itself.
"""


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """What counts as the same.

    Attributes:
        iou, score: Two detections are the same above this IoU of their boxes and below this difference of their scores.
        matched: Share of the detections, or of the pixels of label maps, that have to be the same.

    Masks of the same detections may disagree in as large a share of their pixels, on average, as boxes: ``1 - iou``.
    """

    iou: float = 0.99
    score: float = 1e-3
    matched: float = 0.999

    @classmethod
    def of(cls, precision: str) -> 'Tolerance':
        """The tolerance of a precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``."""
        return _TOLERANCES[precision]


_TOLERANCES = {
    'fp32': Tolerance(),
    'fp16': Tolerance(iou=0.95, score=0.01, matched=0.98),
    'bf16': Tolerance(iou=0.9, score=0.05, matched=0.95),
    'int8': Tolerance(iou=0.75, score=0.2, matched=0.8),
}

EXACT = _TOLERANCES['fp32']


@dataclasses.dataclass
class Difference:
    """Largest, mean and median absolute difference of one output."""

    max: float
    mean: float
    median: float

    @classmethod
    def of(cls, values: Sequence[float]) -> 'Difference':
        """The difference over ``values``, 0 where there are none."""
        if not values:
            return cls(0.0, 0.0, 0.0)
        return cls(max(values), sum(values) / len(values), statistics.median(values))


@dataclasses.dataclass
class DetectionParity:
    """How the detections of an artefact compare with PyTorch's.

    Attributes:
        images: Images compared.
        detections: PyTorch's detections above :data:`SCORE_FLOOR`.
        same: Those for which the artefact has the same one.
        ties: Those of the others that may differ because of a near tie: of two overlapping boxes whose scores are the
            same within :data:`NEAR_TIE`, the artefact kept the other one, and with it what overlaps either changed, or
            lost the last place where the number of detections is limited.
        extra: Detections of the artefact that PyTorch has none for.
        boxes: Difference of box coordinates, pixels of the original image.
        scores: Difference of scores.
        labels: Difference of labels: 1 where the best overlapping box has another label, else 0.
        masks: Share of pixels in which the masks disagree, of those in either; 1 where the artefact gives none.
        tolerance: What counts as the same.
        outputs: Difference of the values of ``boxes`` and ``scores`` of the detections that have a partner, absolute
            and relative.
    """

    images: int
    detections: int
    same: int
    ties: int
    extra: int
    boxes: Difference
    scores: Difference
    labels: Difference
    masks: Difference
    tolerance: Tolerance = EXACT
    outputs: dict[str, OutputDifference] = dataclasses.field(default_factory=dict)

    @property
    def compared(self) -> bool:
        """Whether there was anything to compare."""
        return self.detections > 0

    @property
    def passed(self) -> bool:
        """Whether the two are the same within the tolerance."""
        matched = self.tolerance.matched
        excused = min(self.ties, MOST_TIES * self.detections)
        return (
            self.same + excused >= matched * self.detections
            and self.extra <= (1 - matched) * self.detections
            and self.masks.mean <= 1 - self.tolerance.iou
        )

    def to_dict(self) -> dict:
        """As plain data, with the verdict."""
        return {**dataclasses.asdict(self), 'passed': self.passed, 'score_floor': SCORE_FLOOR}


@dataclasses.dataclass
class ClassPixels:
    """How many pixels are of one class: in PyTorch's label maps, in the artefact's, and in both at once."""

    pytorch: int
    artefact: int
    both: int


@dataclasses.dataclass
class SegmentationParity:
    """How the label maps of an artefact compare with PyTorch's.

    Attributes:
        images: Images compared.
        pixels: Their pixels.
        same: Pixels of the same class.
        classes: Class to its pixels, for the classes that occur.
        logits: Difference of the logits at the size of the image, None where the artefact gives none.
        tolerance: What counts as the same.
        not_finite: Logits of the artefact that are infinite or not a number where PyTorch's are finite: a class is
            found from them all the same.
    """

    images: int
    pixels: int
    same: int
    classes: dict[int, ClassPixels]
    logits: OutputDifference | None
    tolerance: Tolerance = EXACT
    not_finite: int = 0

    @property
    def compared(self) -> bool:
        """Whether there was anything to compare."""
        return self.pixels > 0

    @property
    def agreement(self) -> float:
        """Share of the pixels that are of the same class."""
        return self.same / self.pixels if self.pixels else 1.0

    @property
    def passed(self) -> bool:
        """Whether the two are the same within the tolerance."""
        return self.agreement >= self.tolerance.matched and not self.not_finite

    def to_dict(self) -> dict:
        """As plain data, with the verdict."""
        return {**dataclasses.asdict(self), 'agreement': self.agreement, 'passed': self.passed}


def _masks_of(instances: InstanceData, index: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(instances.masks)[index].bool().flatten(1)


def _spread_of_ties(seeds: Sequence[torch.Tensor], boxes: torch.Tensor) -> torch.Tensor:
    """Which boxes of a class may differ because a near tie fell the other way.

    A box that is kept in the place of another one suppresses others, which then suppress no more, and so on: whatever
    overlaps a box that is affected may be affected.

    Args:
        seeds: Boxes ``(4,)`` of the near ties.
        boxes: ``(n, 4)``, those without partner.

    Returns:
        ``(n,)`` bool.
    """
    from mmdet.structures.bbox import bbox_overlaps

    affected = torch.zeros(len(boxes), dtype=torch.bool)
    front = torch.stack(list(seeds)) if seeds else boxes[:0]
    while len(front):
        reached = ~affected & (bbox_overlaps(boxes, front) > 0).any(dim=1)
        affected |= reached
        front = boxes[reached]
    return affected


def compare_detections(
    pairs: Iterable[tuple[InstanceData, InstanceData]], tolerance: Tolerance = EXACT
) -> DetectionParity:
    """Compare the artefact's detections with PyTorch's, image by image.

    Each of PyTorch's detections, best first, takes the artefact's free detection of the same label that
    overlaps it most.

    Args:
        pairs: For each image PyTorch's and the artefact's ``pred_instances``: bboxes ``(n, 4)``, scores
            ``(n,)``, labels ``(n,)`` and optionally masks ``(n, H, W)``.
        tolerance: What counts as the same.
    """
    from mmdet.structures.bbox import bbox_overlaps  # mmdet need not be there where only label maps are compared

    images = total = same = ties = extra = 0
    boxes, scores, labels, masks = [], [], [], []
    matched: list[tuple[torch.Tensor, torch.Tensor]] = []
    for reference, other in pairs:
        images += 1
        free = torch.ones(len(other), dtype=torch.bool)
        # An artefact's detection just below the floor may still be the partner of one just above it.
        free &= other.scores > SCORE_FLOOR - tolerance.score
        order = reference.scores.argsort(descending=True)
        different: list[int] = []
        seeds: dict[int, list[torch.Tensor]] = {}
        for index in order[reference.scores[order] > SCORE_FLOOR]:
            total += 1
            label = int(reference.labels[index])
            overlap = bbox_overlaps(reference.bboxes[index, None], other.bboxes)[0]
            distance = (reference.bboxes[index] - other.bboxes).abs().amax(dim=1)
            overlap = torch.where(distance < SAME_BOX, torch.ones_like(overlap), overlap)
            candidate = torch.where(free & (other.labels == label), overlap, torch.full_like(overlap, -1.0))
            iou, partner = candidate.max(0) if len(other) else (torch.tensor(-1.0), None)
            if iou < 0.5:
                labels.append(float(bool((free & (overlap > 0.5)).any())))
                different.append(int(index))
                continue
            free[partner] = False
            labels.append(0.0)
            score_difference = (reference.scores[index] - other.scores[partner]).abs().item()
            boxes.append((reference.bboxes[index] - other.bboxes[partner]).abs().max().item())
            scores.append(score_difference)
            if iou.item() > tolerance.iou and score_difference < tolerance.score:
                same += 1
            else:
                different.append(int(index))
                if score_difference < NEAR_TIE:
                    seeds.setdefault(label, []).extend([reference.bboxes[index], other.bboxes[partner]])
            matched.append(
                tuple(
                    torch.cat([found.bboxes[at], found.scores[at, None]])
                    for found, at in ((reference, index), (other, partner))
                )
            )
            if 'masks' in reference and 'masks' not in other:
                masks.append(1.0)
            elif 'masks' in reference:
                ours, theirs = _masks_of(reference, index[None]), _masks_of(other, partner[None])
                either = (ours | theirs).sum().item()
                masks.append((ours ^ theirs).sum().item() / either if either else 0.0)
        left = free & (other.scores > SCORE_FLOOR + tolerance.score)
        if len(reference) == len(other) and len(reference):
            # both are cut off at the same number: below the worst of PyTorch's nothing is known of what it found
            left &= other.scores >= reference.scores.min()
            if seeds:  # nor of the artefact's, where a box more of one tie cost another one its place
                pushed = [index for index in different if reference.scores[index] < other.scores.min()]
                different = [index for index in different if index not in pushed]
                ties += len(pushed)
        for label, boxes_of_label in seeds.items():
            lost = [index for index in different if reference.labels[index] == label]
            (found,) = torch.where(left & (other.labels == label))
            affected = _spread_of_ties(boxes_of_label, torch.cat([reference.bboxes[lost], other.bboxes[found]]))
            ties += int(affected[: len(lost)].sum())
            left[found[affected[len(lost) :]]] = False
        extra += int(left.sum())
    differences = (Difference.of(values) for values in (boxes, scores, labels, masks))
    return DetectionParity(images, total, same, ties, extra, *differences, tolerance, _outputs(matched))


def _outputs(matched: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, OutputDifference]:
    """Difference of ``boxes`` and ``scores`` of pairs of detections, each ``(5,)``: x1, y1, x2, y2, score."""
    if not matched:
        return {}
    ours, theirs = (torch.stack(side) for side in zip(*matched, strict=True))
    return {
        name: OutputDifference.of(ours[:, part], theirs[:, part])
        for name, part in (('boxes', slice(4)), ('scores', slice(4, 5)))
    }


def compare_label_maps(
    pairs: Iterable[tuple[BaseDataElement, BaseDataElement]], tolerance: Tolerance = EXACT
) -> SegmentationParity:
    """Compare the artefact's label maps with PyTorch's, pixel by pixel.

    Args:
        pairs: For each image PyTorch's and the artefact's data sample: ``pred_sem_seg.data`` ``(1, H, W)``, and
            ``seg_logits.data`` ``(C, H, W)`` where both have it.
        tolerance: What counts as the same.
    """
    images = pixels = same = 0
    counts: dict[str, torch.Tensor] = {}
    logits, not_finite = [], 0
    for reference, other in pairs:
        images += 1
        ours, theirs = (sample.pred_sem_seg.data.flatten().long().cpu() for sample in (reference, other))
        equal = ours == theirs
        pixels += ours.numel()
        same += int(equal.sum())
        for name, labels in (('pytorch', ours), ('artefact', theirs), ('both', ours[equal])):
            counts[name] = _add(counts.get(name, torch.zeros(0, dtype=torch.long)), torch.bincount(labels))
        if 'seg_logits' in reference and 'seg_logits' in other:
            values = [sample.seg_logits.data.cpu() for sample in (reference, other)]
            logits.append(OutputDifference.of(*values))
            not_finite += int((values[0].isfinite() & ~values[1].isfinite()).sum())
    highest = max((len(count) for count in counts.values()), default=0)
    columns = {name: _add(count, torch.zeros(highest, dtype=torch.long)).tolist() for name, count in counts.items()}
    classes = {
        label: ClassPixels(**{name: column[label] for name, column in columns.items()})
        for label in range(highest)
        if columns['pytorch'][label] or columns['artefact'][label]
    }
    return SegmentationParity(images, pixels, same, classes, OutputDifference.over(logits), tolerance, not_finite)


def _add(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """The sum of two counts of different length."""
    total = torch.zeros(max(len(ours), len(theirs)), dtype=torch.long)
    total[: len(ours)] += ours
    total[: len(theirs)] += theirs
    return total
