"""The tasks of networks, and the output tensors of each."""

import dataclasses
from collections.abc import Mapping

from .tensor_names import DETS, EXACT, LABELS, MASKS, OUTPUT, SCORES


@dataclasses.dataclass(frozen=True)
class Task:
    """A task, such as object detection.

    Attributes:
        name: Its name in the manifest.
        deploy_config: Its name in the files of ``configs/deploy``.
        outputs: Name of each output of the network to its number of dimensions.
        finds_boxes: Whether boxes are selected by suppression, which the portable flavour replaces.
        metric: Suffix of the metrics that decide whether an artefact passes.
        perfect: The metric of a perfect network; 100 for mmseg and mmpretrain, which give percent.
    """

    name: str
    deploy_config: str
    outputs: Mapping[str, int]
    finds_boxes: bool
    metric: str
    perfect: float

    def output_names(self, flavour: str) -> list[str]:
        """The outputs of a network in a given flavour, in order."""
        return [*self.outputs, *([EXACT] if self.finds_boxes and flavour == 'portable' else [])]


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task('detection', 'detection', {DETS: 3, LABELS: 2}, True, 'mAP', 1.0),
        Task('instance', 'instance-seg', {DETS: 3, LABELS: 2, MASKS: 4}, True, 'mAP', 1.0),
        Task('segmentation', 'semantic-seg', {OUTPUT: 4}, False, 'mIoU', 100.0),
        Task('classification', 'classification', {SCORES: 2}, False, 'top1', 100.0),
    )
}
"""Name to task: boxes, boxes with masks, a label map, the class of an image."""

FLAVOURS = ('native', 'portable')
"""``native`` uses the standard ``NonMaxSuppression`` and ``RoiAlign``; ``portable`` uses plain arithmetic only."""
