"""Predictions as a pickle that is small enough to keep."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.evaluator import DumpResults

LEFT_OUT = ('seg_logits', 'gt_sem_seg', 'gt_instances', 'ignored_instances')
"""Parts of samples that are not written. The class scores of all pixels are 250 MB an image of ADE20K."""


def compact(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Drop truth and pixels' class scores from a sample; store masks as run lengths and label maps compactly.

    Args:
        sample: As metrics get it.

    Returns:
        The sample; ``pred_instances.masks`` is a list of run lengths (``pycocotools.mask.decode`` reads them),
        ``pred_sem_seg.data`` is ``(1, H, W)``, uint8 for up to 256 classes.
    """
    kept = {key: value for key, value in sample.items() if key not in LEFT_OUT}
    instances = kept.get('pred_instances', {})
    if 'masks' in instances:
        from mmdet.structures.mask import encode_mask_results

        kept['pred_instances'] = {**instances, 'masks': encode_mask_results(instances['masks'].cpu().numpy())}
    if 'pred_sem_seg' in kept:
        labels = kept['pred_sem_seg']['data']
        kept['pred_sem_seg'] = {'data': labels.to(torch.uint8) if labels.max() < 256 else labels}
    return kept


class DumpPredictions(DumpResults):
    """Write the predictions on a test split as one pickle; see :func:`compact`."""

    def process(self, data_batch: Any, data_samples: Sequence[Mapping]) -> None:
        super().process(data_batch, [compact(sample) for sample in data_samples])
