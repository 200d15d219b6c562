"""Allowed differences from PyTorch for an artefact of each precision."""

import dataclasses

from ...runtime.precisions import PRECISIONS


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """The largest differences that count as the same.

    Attributes:
        iou, score: Two detections are the same if the IoU of their boxes is above ``iou`` and their scores differ by
            less than ``score``.
        matched: Minimum share of detections, or of label map pixels, that have to be the same.
        metric_drop: Allowed loss of mAP or mIoU, both from 0 to 1.

    The masks of matched detections may on average disagree in as large a share of pixels as boxes: ``1 - iou``.
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
    """A criterion that an artefact does not meet, or of which that cannot be said.

    Attributes:
        criterion: The problem.
        value: The measured value.
        limit: The allowed value.
    """

    criterion: str
    value: str
    limit: str

    def __str__(self) -> str:
        return f'{self.criterion}: {self.value}, limit {self.limit}'
