"""mmdeploy's models of an exported network, corrected: outputs by their names, label maps as in mmseg."""

import types

import pytest
import torch
from mmdeploy.codebase.mmdet.deploy.object_detection_model import End2EndModel as Detector
from mmdeploy.codebase.mmseg.deploy.segmentation_model import End2EndModel as Segmentor
from mmengine.config import Config
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample


class Wrapper:
    def __init__(self, outputs):
        self.outputs = outputs

    def __call__(self, inputs):
        return self.outputs

    def output_to_list(self, outputs):
        return list(outputs.values())


def predict(**outputs):
    model = types.SimpleNamespace(wrapper=Wrapper(outputs), input_name='input', output_names=list(outputs))
    return Detector.predict(model, torch.zeros(2, 3, 4, 4))


DETS, LABELS, MASKS = torch.zeros(2, 5, 5), torch.zeros(2, 5, dtype=torch.int64), torch.zeros(2, 5, 28, 28)


def test_exact_is_not_taken_for_masks(recwarn):
    found = predict(dets=DETS, labels=LABELS, exact=torch.ones(2))
    assert len(found) == 2 and found[0] is DETS and found[1] is LABELS
    assert not recwarn


def test_masks_stay_beside_it(recwarn):
    assert predict(dets=DETS, labels=LABELS, masks=MASKS, exact=torch.ones(2))[2] is MASKS
    assert predict(dets=DETS, labels=LABELS, masks=MASKS)[2] is MASKS
    assert not recwarn


def test_a_detector_that_is_not_certain_warns():
    with pytest.warns(UserWarning, match="may differ from PyTorch's"):
        predict(dets=DETS, labels=LABELS, exact=torch.tensor([1.0, 0.0]))


def sample():
    """An image of 20 x 30, resized to 10 x 15 and padded to 16 x 16."""
    return SegDataSample(metainfo=dict(ori_shape=(20, 30), img_shape=(10, 15), img_padding_size=(0, 1, 0, 6)))


def pack(logits, **settings):
    model = types.SimpleNamespace(deploy_cfg=Config(dict(codebase_config=dict(type='mmseg', **settings))))
    (packed,) = Segmentor.pack_result(model, logits, [sample()])
    return packed.pred_sem_seg.data


def test_label_maps_are_cropped_and_resized_as_in_mmseg():
    logits = torch.randn(1, 4, 16, 16)
    segmentor = types.SimpleNamespace(align_corners=False)
    (expected,) = EncoderDecoder.postprocess_result(segmentor, logits, [sample()])
    found = pack(logits, with_argmax=False)
    assert found.shape == (1, 20, 30)
    torch.testing.assert_close(found, expected.pred_sem_seg.data)


def test_networks_that_give_labels_stay_mmdeploys():
    labels = torch.randint(4, (1, 1, 20, 30))
    assert pack(labels).shape == (1, 20, 30)
