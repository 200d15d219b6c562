"""Corrections of mmdeploy's tasks, for mmdeploy's own tools. Importing this module makes them.

* mmdeploy takes the third output of a detector for masks. That of a portable detector without masks is ``exact``.
* It takes the class of each pixel of a segmentor before it resizes to the image, and stretches the padding over it.
* The metadata of its SDK for segmentors and classifiers needs the variable ``data_preprocessor``, which only configs
  of mmseg and mmpretrain have.
"""

import functools
import sys
import types
from typing import Any

from mmdeploy.utils import get_codebase_config
from torch import Tensor

from ..runtime.network import warn_of_inexact
from ..runtime.tensor_names import EXACT
from ..when_imported import when_imported

_DETECTION = 'mmdeploy.codebase.mmdet.deploy.object_detection_model'
_SEGMENTOR = 'mmdeploy.codebase.mmseg.deploy.segmentation_model'
_SEGMENTATION = 'mmdeploy.codebase.mmseg.deploy.segmentation'
_CLASSIFICATION = 'mmdeploy.codebase.mmpretrain.deploy.classification'


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


def _finish_as_mmseg() -> None:
    from mmseg.models.segmentors import BaseSegmentor

    model = sys.modules[_SEGMENTOR].End2EndModel
    pack_labels = model.pack_result

    @functools.wraps(pack_labels)
    def pack_result(self, batch_outputs: Tensor, data_samples: list) -> Any:
        if get_codebase_config(self.deploy_cfg).get('with_argmax', True):
            return pack_labels(self, batch_outputs, data_samples)
        segmentor = types.SimpleNamespace(align_corners=False)  # other heads are not exported
        return BaseSegmentor.postprocess_result(segmentor, batch_outputs, data_samples)

    model.pack_result = pack_result


def _find_data_preprocessor(module: str, name: str) -> None:
    task = getattr(sys.modules[module], name)
    preprocess = task.get_preprocess

    @functools.wraps(preprocess)
    def get_preprocess(self, *args, **kwargs) -> list[dict]:
        if 'data_preprocessor' in self.model_cfg.model:
            self.model_cfg.data_preprocessor = self.model_cfg.model.data_preprocessor
        return preprocess(self, *args, **kwargs)

    task.get_preprocess = get_preprocess


def _register() -> None:
    """Correct mmdeploy's tasks as soon as mmdeploy imports them."""
    when_imported(_DETECTION, _read_outputs_by_name)
    when_imported(_SEGMENTOR, _finish_as_mmseg)
    for module, name in ((_SEGMENTATION, 'Segmentation'), (_CLASSIFICATION, 'Classification')):
        when_imported(module, functools.partial(_find_data_preprocessor, module, name))


_register()
