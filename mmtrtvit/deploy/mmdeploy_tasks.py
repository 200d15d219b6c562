"""Corrections of mmdeploy's tasks, for mmdeploy's own tools.

mmdeploy's ``End2EndModel`` takes the third output of a detector for masks. That of a portable detector without masks is
``exact``. And the metadata of its SDK for a segmentor needs the variable ``data_preprocessor``, which only mmseg's own
configs have.
"""

import functools
import sys

from torch import Tensor

from ..runtime.network import warn_of_inexact
from ..runtime.tensor_names import EXACT
from ..when_imported import when_imported

_DETECTION = 'mmdeploy.codebase.mmdet.deploy.object_detection_model'
_SEGMENTATION = 'mmdeploy.codebase.mmseg.deploy.segmentation'


def _read_outputs_by_name() -> None:
    model = sys.modules[_DETECTION].End2EndModel
    predict_all = model.predict

    @functools.wraps(predict_all)
    def predict(self, imgs: Tensor) -> list[Tensor]:
        outputs = dict(zip(self.output_names, predict_all(self, imgs), strict=True))
        if (outputs.pop(EXACT, imgs.new_ones(1)) <= 0).any():
            warn_of_inexact()
        return list(outputs.values())

    model.predict = predict


def _find_data_preprocessor() -> None:
    task = sys.modules[_SEGMENTATION].Segmentation
    preprocess_of_mmseg = task.get_preprocess

    @functools.wraps(preprocess_of_mmseg)
    def get_preprocess(self, *args, **kwargs) -> list[dict]:
        self.model_cfg.data_preprocessor = self.model_cfg.model.data_preprocessor
        return preprocess_of_mmseg(self, *args, **kwargs)

    task.get_preprocess = get_preprocess


def register() -> None:
    """Correct mmdeploy's tasks as soon as mmdeploy imports them."""
    when_imported(_DETECTION, _read_outputs_by_name)
    when_imported(_SEGMENTATION, _find_data_preprocessor)
