"""How far an artefact of each precision may be from PyTorch."""

import dataclasses

from ...runtime.precisions import PRECISIONS


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """What counts as the same.

    Attributes:
        iou, score: Two detections are the same above this IoU of their boxes and below this difference of their scores.
        matched: Share of the detections, or of the pixels of label maps, that have to be the same.
        metric_drop: How much mAP or mIoU, both from 0 to 1, may be lost.

    Masks of the same detections may disagree in as large a share of their pixels, on average, as boxes: ``1 - iou``.
    """

    iou: float
    score: float
    matched: float
    metric_drop: float

    @classmethod
    def of(cls, precision: str) -> 'Tolerance':
        """The tolerance of a precision, a key of :data:`~mmtrtvit.runtime.precisions.PRECISIONS`."""
        allowed = PRECISIONS[precision]
        return cls(allowed.iou, allowed.score, allowed.matched, allowed.metric_drop)


EXACT = Tolerance.of('fp32')


@dataclasses.dataclass(frozen=True)
class Failure:
    """A criterion that an artefact does not meet.

    Attributes:
        criterion: What is wrong.
        value: What was found.
        limit: What is allowed.
    """

    criterion: str
    value: str
    limit: str

    def __str__(self) -> str:
        return f'{self.criterion}: {self.value}, limit {self.limit}'
