"""Tasks: what networks find, and the tensors that they say it by."""

import dataclasses
from collections.abc import Mapping

from .tensor_names import DETS, EXACT, LABELS, MASKS, OUTPUT


@dataclasses.dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: As the manifest writes it.
        deploy_config: Its name in the files of ``configs/deploy``.
        outputs: Name of each output of a network to its number of dimensions.
        finds_boxes: Whether boxes are selected: by suppression, which the portable flavour spells out.
        metric: How the names of the metrics end that the verdict looks at.
        perfect: That metric of a perfect network: mmseg gives percent.
    """

    name: str
    deploy_config: str
    outputs: Mapping[str, int]
    finds_boxes: bool
    metric: str
    perfect: float

    def output_names(self, flavour: str) -> list[str]:
        """The outputs of a network of a flavour, in their order."""
        return [*self.outputs, *([EXACT] if self.finds_boxes and flavour == 'portable' else [])]


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task('detection', 'detection', {DETS: 3, LABELS: 2}, True, 'mAP', 1.0),
        Task('instance', 'instance-seg', {DETS: 3, LABELS: 2, MASKS: 4}, True, 'mAP', 1.0),
        Task('segmentation', 'semantic-seg', {OUTPUT: 4}, False, 'mIoU', 100.0),
    )
}
"""Every task by its name: boxes, boxes with masks, a label map."""

FLAVOURS = ('native', 'portable')
"""``native``: the standard ``NonMaxSuppression`` and ``RoiAlign``; ``portable``: plain arithmetic only."""
