"""An exported network behind the interface of a PyTorch detector or segmentor of OpenMMLab."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement, InstanceData, PixelData

from ...runtime import Network
from ...runtime.backends import Session
from ...runtime.tensor_names import DETS, EXACT, LABELS, MASKS, OUTPUT


def build_data_preprocessor(described: Mapping, task: str) -> nn.Module:
    """The data preprocessor of mmdet or mmseg that a manifest describes.

    It is made from the manifest's numbers. A config would be built by the registries, and these call whatever it names.

    Args:
        described: ``preprocessing`` of the manifest.
        task: ``task`` of the manifest.
    """
    pad = described['pad']
    settings = dict(mean=described['mean'], std=described['std'], bgr_to_rgb=described['channels'] == 'rgb')
    if task == 'segmentation':
        from mmseg.models import SegDataPreProcessor

        size = {'size': tuple(pad['shape'])} if pad['shape'] else {'size_divisor': pad['divisor']}
        return SegDataPreProcessor(**settings, pad_val=pad['value'], test_cfg=size)
    from mmdet.models import DetDataPreprocessor

    return DetDataPreprocessor(**settings, pad_size_divisor=pad['divisor'], pad_value=pad['value'])


def _boxes_of(outputs: Mapping[str, np.ndarray]) -> tuple[InstanceData, np.ndarray]:
    """Boxes in pixels of the input, and which places of the outputs they came from."""
    found = outputs[DETS][:, 4] > 0
    dets = torch.from_numpy(outputs[DETS][found])
    labels = torch.from_numpy(outputs[LABELS][found]).long()
    return InstanceData(bboxes=dets[:, :4].clone(), scores=dets[:, 4], labels=labels), found


def _finish_detection(_: Mapping) -> Callable:
    from mmdet.structures.bbox import scale_boxes

    def finish(outputs: Mapping[str, np.ndarray], sample: BaseDataElement) -> None:
        instances, _ = _boxes_of(outputs)
        instances.bboxes = scale_boxes(instances.bboxes, [1 / side for side in sample.scale_factor])
        sample.pred_instances = instances

    return finish


def _finish_instance(described: Mapping) -> Callable:
    from mmdet.models.roi_heads.mask_heads import FCNMaskHead

    head = FCNMaskHead(num_convs=0, in_channels=1, conv_out_channels=1, num_classes=1, class_agnostic=True)
    settings = ConfigDict(mask_thr_binary=described['mask_threshold'])

    def finish(outputs: Mapping[str, np.ndarray], sample: BaseDataElement) -> None:
        instances, found = _boxes_of(outputs)
        # activate_map: they are probabilities already
        head.predict_by_feat(
            (outputs[MASKS][found][:, None],),
            [instances],
            [sample.metainfo],
            rcnn_test_cfg=settings,
            rescale=True,
            activate_map=True,
        )
        sample.pred_instances = instances

    return finish


def _finish_segmentation(described: Mapping) -> Callable:
    from mmseg.models.segmentors.base import BaseSegmentor
    from mmseg.models.utils import resize

    segmentor = ConfigDict(align_corners=described['align_corners'])  # all of a segmentor that the method looks at

    def finish(outputs: Mapping[str, np.ndarray], sample: BaseDataElement) -> None:
        output = torch.from_numpy(outputs[OUTPUT])[None]
        if output.is_floating_point():
            BaseSegmentor.postprocess_result(segmentor, output, [sample])
            return
        _, right, _, bottom = sample.metainfo.get('img_padding_size', (0, 0, 0, 0))
        height, width = output.shape[2] - bottom, output.shape[3] - right
        labels = resize(output[..., :height, :width].float(), size=sample.ori_shape, mode='nearest')
        sample.set_data({'pred_sem_seg': PixelData(data=labels[0].long())})

    return finish


_FINISH: dict[str, Callable[[Mapping], Callable]] = {
    'detection': _finish_detection,
    'instance': _finish_instance,
    'segmentation': _finish_segmentation,
}
"""For each task, makes of the manifest's ``postprocessing`` what turns the outputs for one image into predictions."""


class BackendModel(BaseModel):
    """An exported network whose ``test_step`` gives what the PyTorch network's does.

    Post-processing is mmdet's and mmseg's own code, so their metrics judge the artefact alone.

    Args:
        session: The network in its backend.
        description: ``task``, ``preprocessing``, ``postprocessing`` and perhaps ``profiles``, as in the manifest.

    Attributes:
        exact: For each image so far whether the portable selection of boxes was certain; empty for networks that do
            not say.

    Raises:
        DeployError: If the outputs of the network are not those of its task.
    """

    def __init__(self, session: Session, description: Mapping) -> None:
        task = description['task']
        super().__init__(data_preprocessor=build_data_preprocessor(description['preprocessing'], task))
        self.network = Network(session, task, description.get('profiles'))
        self._shape = description['preprocessing']['pad']['shape']
        self._finish = _FINISH[task](description['postprocessing'])
        self.exact: list[bool] = []

    def forward(
        self, inputs: torch.Tensor, data_samples: list[BaseDataElement], mode: str = 'predict'
    ) -> list[BaseDataElement]:
        """Run the network.

        Args:
            inputs: ``(B, 3, H, W)``, normalised.
            data_samples: One for each image; ``scale_factor`` and ``ori_shape`` are used.
            mode: ``'predict'``, which is all that an exported network can do.

        Returns:
            The data samples, with ``pred_instances`` or with ``pred_sem_seg`` and ``seg_logits``.
        """
        if mode != 'predict':
            raise NotImplementedError(f'an exported network cannot {mode}')
        if self._shape:
            height, width = (max(room - side, 0) for room, side in zip(self._shape, inputs.shape[2:], strict=True))
            inputs = F.pad(inputs, (0, width, 0, height), value=float(self.data_preprocessor.pad_value))
        for outputs, sample in zip(self.network(inputs.cpu().numpy()), data_samples, strict=True):
            if EXACT in outputs:
                self.exact.append(bool(outputs[EXACT] > 0))
            self._finish(outputs, sample)
        return data_samples
