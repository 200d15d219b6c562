"""Precisions, and how far from PyTorch an artefact of each may be."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Precision:
    """The type that the layers of an artefact compute in, and the tolerances that follow from it.

    Attributes:
        name: As ``--precision`` and the manifest write it.
        dtype: Name of the type, as NumPy writes it.
        metric_drop: How much of a perfect mAP or mIoU the artefact may lose.
        iou, score: Two detections are the same above this IoU of their boxes and below this difference of their scores.
        matched: Share of the detections, or of the pixels of label maps, that have to be the same.
        search_error: The error that a search for nodes to exclude aims at: share of the detections or pixels that may
            differ.
    """

    name: str
    dtype: str
    metric_drop: float
    iou: float
    score: float
    matched: float
    search_error: float = 0.0

    @property
    def title(self) -> str:
        """As tables and pages write it."""
        return self.name.upper()


PRECISIONS: dict[str, Precision] = {
    precision.name: precision
    for precision in (
        Precision('fp32', 'float32', metric_drop=0.001, iou=0.99, score=1e-3, matched=0.999),
        Precision('fp16', 'float16', metric_drop=0.005, iou=0.95, score=0.01, matched=0.98, search_error=0.02),
        Precision('bf16', 'bfloat16', metric_drop=0.01, iou=0.9, score=0.05, matched=0.95, search_error=0.05),
        Precision('int8', 'int8', metric_drop=0.03, iou=0.75, score=0.2, matched=0.8, search_error=0.2),
    )
}
"""Every precision by its name, in the order of tables."""
