"""Precisions, and the tolerance of each for differences from PyTorch."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Precision:
    """The type that the layers of an artefact compute in, and its tolerances.

    Attributes:
        name: Its name in ``--precision`` and the manifest.
        dtype: The NumPy name of the type.
        metric_drop: Allowed loss of mAP or mIoU, as a share of the perfect value.
        iou, score: Two detections are the same if the IoU of their boxes is above ``iou`` and their scores differ by
            less than ``score``.
        matched: Minimum share of detections, or of label map pixels, that have to be the same.
        search_error: Target of the search for nodes to exclude: the share of detections or pixels that may differ.
        images: Number of images to compare on by default. FP32 is judged by its detections alone; other precisions are
            judged by mAP or mIoU as well, which a few images leave open.
    """

    name: str
    dtype: str
    metric_drop: float
    iou: float
    score: float
    matched: float
    search_error: float = 0.0
    images: int = 100

    @property
    def title(self) -> str:
        """Its name in tables and pages."""
        return self.name.upper()


PRECISIONS: dict[str, Precision] = {
    precision.name: precision
    for precision in (
        Precision('fp32', 'float32', metric_drop=0.001, iou=0.99, score=1e-3, matched=0.999, images=8),
        Precision('fp16', 'float16', metric_drop=0.005, iou=0.95, score=0.01, matched=0.98, search_error=0.02),
        Precision('bf16', 'bfloat16', metric_drop=0.01, iou=0.9, score=0.05, matched=0.95, search_error=0.05),
        Precision('int8', 'int8', metric_drop=0.03, iou=0.75, score=0.2, matched=0.8, search_error=0.2),
    )
}
"""Name to precision. Tables keep this order."""
