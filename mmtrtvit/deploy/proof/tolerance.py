"""How far an artefact of each precision may be from PyTorch."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """What counts as the same.

    Attributes:
        iou, score: Two detections are the same above this IoU of their boxes and below this difference of their scores.
        matched: Share of the detections, or of the pixels of label maps, that have to be the same.
        metric_drop: How much mAP or mIoU, both from 0 to 1, may be lost.

    Masks of the same detections may disagree in as large a share of their pixels, on average, as boxes: ``1 - iou``.
    """

    iou: float = 0.99
    score: float = 1e-3
    matched: float = 0.999
    metric_drop: float = 0.001

    @classmethod
    def of(cls, precision: str) -> 'Tolerance':
        """The tolerance of a precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``."""
        return _TOLERANCES[precision]


EXACT = Tolerance()

_TOLERANCES = {
    'fp32': EXACT,
    'fp16': Tolerance(iou=0.95, score=0.01, matched=0.98, metric_drop=0.005),
    'bf16': Tolerance(iou=0.9, score=0.05, matched=0.95, metric_drop=0.01),
    'int8': Tolerance(iou=0.75, score=0.2, matched=0.8, metric_drop=0.03),
}


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
