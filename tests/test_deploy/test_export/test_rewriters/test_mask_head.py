"""Each detection has the mask of its own class, whatever the batch."""

import numpy as np
import pytest
import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead

AXES = {'input': {0: 'n'}, 'input1': {0: 'batch', 1: 'detections'}}


@pytest.mark.parametrize('agnostic', [False, True])
def test_other_batches_than_the_traced_one(exported, agnostic):
    head = FCNMaskHead(num_convs=0, in_channels=4, conv_out_channels=4, num_classes=5, class_agnostic=agnostic)

    def function(logits, labels):
        return head.predict_by_feat(logits, (None, labels), None, None)

    channels = 1 if agnostic else 5
    run = exported(function, torch.randn(3, channels, 28, 28), torch.tensor([[0, 4, 2]]), dynamic_axes=AXES)
    for batch, detections in ((1, 3), (2, 3), (3, 7)):
        logits = torch.randn(batch * detections, channels, 28, 28)
        labels = torch.randint(0, 5, (batch, detections))
        (found,) = run(logits) if agnostic else run(logits, labels)  # labels nobody needs are no input
        own = torch.stack([one[0 if agnostic else label] for one, label in zip(logits, labels.flatten(), strict=True)])
        np.testing.assert_allclose(found[:, 0], own.sigmoid().numpy(), atol=1e-6)
