"""Conversion between results of the runtime and data samples of OpenMMLab."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement, InstanceData, LabelData, PixelData

from ...runtime.postprocess import ClassScores, Detections, LabelMap
from ...runtime.predictor import Result


def _array(values) -> np.ndarray:
    return values.numpy(force=True) if isinstance(values, torch.Tensor) else np.asarray(values)


def result_of(sample: BaseDataElement) -> Result:
    """The result in a data sample of OpenMMLab as a result of the runtime, without class names."""
    if 'pred_score' in sample:
        return ClassScores(_array(sample.pred_score), ())
    if 'pred_sem_seg' in sample:
        return LabelMap(_array(sample.pred_sem_seg.data)[0], (), np.zeros((0, 3), np.uint8))
    found = sample.pred_instances
    masks = _array(found.masks).astype(bool, copy=False) if 'masks' in found else None
    return Detections(*map(_array, (found.bboxes, found.scores, found.labels)), masks, ())


def predicted(found: Result) -> InstanceData | PixelData | LabelData:
    """A result of the runtime as instances, a label map or a label for a data sample."""
    if isinstance(found, ClassScores):
        return LabelData(label=torch.tensor([found.label]), score=torch.from_numpy(found.scores))
    if isinstance(found, LabelMap):
        return PixelData(data=torch.from_numpy(found.labels)[None])
    arrays = dict(bboxes=found.boxes, scores=found.scores, labels=found.labels, masks=found.masks)
    return InstanceData(
        **{name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items() if array is not None}
    )


def add_prediction(sample: BaseDataElement, found: Result) -> None:
    """Store a result of the runtime in a data sample of OpenMMLab, in the fields for metrics and visualisers."""
    if isinstance(found, ClassScores):
        label = predicted(found)
        sample.set_field(label.label, 'pred_label', dtype=torch.Tensor)
        sample.set_field(label.score, 'pred_score', dtype=torch.Tensor)
        return
    name = 'pred_sem_seg' if isinstance(found, LabelMap) else 'pred_instances'
    sample.set_data({name: predicted(found)})


class PredictorModel(BaseModel):
    """An artefact as a model for mmengine's runner. Its input are the images as they were read.

    The artefact resizes and normalises by itself, so the pipeline of the data set must not.

    Args:
        predict: The artefact, as a function of a list of images: a :class:`~mmtrtvit.runtime.Predictor`.
    """

    def __init__(self, predict: Callable[[list[np.ndarray]], list[Result]]) -> None:
        super().__init__()
        self.predict = predict

    def test_step(self, data: Mapping) -> list[BaseDataElement]:
        """Run the artefact on the images of a batch.

        Args:
            data: ``inputs``: uint8 ``(3, H, W)`` tensors, BGR; ``data_samples``: one for each.

        Returns:
            The data samples, with ``pred_instances`` or ``pred_sem_seg`` in pixels of the images, or ``pred_score``.
        """
        images = [np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in data['inputs']]
        for sample, found in zip(data['data_samples'], self.predict(images), strict=True):
            add_prediction(sample, found)
        return list(data['data_samples'])

    def forward(self, *_, mode: str = 'tensor', **__) -> None:
        raise NotImplementedError(f'an exported network cannot {mode}')
