"""Networks with a fixed input size: images are resized to fit into it, then padded to it."""

import copy
from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from mmcv.transforms import Resize
from mmdet.models import DetDataPreprocessor
from mmengine.config import Config, ConfigDict
from mmengine.registry import TRANSFORMS

from ...config import datasets_of, pipeline_of
from ...errors import DeployError
from ...registry import MODELS
from ...runtime.tasks import TASKS
from .describe import describe_preprocessing, task_of, unscoped
from .input_shapes import InputShapes


@TRANSFORMS.register_module()
class FitResize(Resize):
    """Resizes an image to the largest size that fits into a width and a height, keeping its aspect ratio.

    mmcv's ``Resize`` with ``keep_ratio`` does something else: it limits the longer side of the image by the larger of
    the two numbers. A portrait image thus becomes taller than a landscape frame.

    Args:
        scale: Width and height, pixels.
    """

    def __init__(self, scale: tuple[int, int]) -> None:
        super().__init__(scale=scale, keep_ratio=False)

    def _resize_img(self, results: dict) -> None:
        height, width = results['img'].shape[:2]
        factor = min(self.scale[0] / width, self.scale[1] / height)
        results['scale'] = tuple(max(int(side * factor + 0.5), 1) for side in (width, height))
        super()._resize_img(results)


@MODELS.register_module()
class FixedShapeDetDataPreprocessor(DetDataPreprocessor):
    """mmdet's data preprocessor that also pads every batch to a fixed height and width, at the right and the bottom.

    Args:
        fixed_shape: Height and width, pixels.
        kwargs: Arguments of :class:`mmdet.models.DetDataPreprocessor`.

    Raises:
        DeployError: If an image is larger than the fixed shape.
    """

    def __init__(self, fixed_shape: tuple[int, int], **kwargs) -> None:
        super().__init__(**kwargs)
        self.fixed_shape = tuple(fixed_shape)

    def forward(self, data: dict, training: bool = False) -> dict:
        data = super().forward(data, training)
        height, width = data['inputs'].shape[-2:]
        below, right = self.fixed_shape[0] - height, self.fixed_shape[1] - width
        if below < 0 or right < 0:
            raise DeployError(
                f'The input is {height} x {width} after padding.',
                expected=f'at most {self.fixed_shape[0]} x {self.fixed_shape[1]}',
                fix='choose a fixed input size that is a multiple of pad_size_divisor of the config (32)',
            )
        data['inputs'] = F.pad(data['inputs'], (0, right, 0, below), value=float(self.pad_value))
        for sample in data['data_samples'] or ():
            sample.set_metainfo(dict(batch_input_shape=self.fixed_shape, pad_shape=self.fixed_shape))
        return data


def is_resize(transform: Mapping) -> bool:
    """True if a transform of a test pipeline sets the size of the image."""
    return unscoped(transform['type']) in ('Resize', FitResize.__name__)


def follow_input_shape(model_config: Config, shapes: InputShapes | None) -> Config:
    """The model config with the test pipeline for an artefact with these input sizes.

    If height and width are fixed, images are resized to the largest size that fits into them with their aspect ratio.
    They are then padded at the right and at the bottom (see :func:`pad_to_input_shape`).

    Args:
        model_config: The model config; not changed.
        shapes: The input sizes.

    Returns:
        A copy, whose test data loader has batches of one image.

    Raises:
        ConfigError: If there are no test data sets, or they have no pipeline, or different ones.
        DeployError: If the size is not that of the images of a classifier, whose pipeline sets it.
    """
    config = copy.deepcopy(model_config)
    pipeline = list(pipeline_of(config))
    config.test_dataloader.batch_size = 1
    if task_of(config.model) == 'classification':
        _check_crop(config, shapes)
        set_pipeline(config, pipeline)
        return config
    if shapes is not None and shapes.size is not None:
        height, width = shapes.size
        fit = ConfigDict(type=FitResize.__name__, scale=(width, height))
        pipeline = [fit if is_resize(transform) else transform for transform in pipeline]
    set_pipeline(config, pipeline)
    return config


def _check_crop(config: Config, shapes: InputShapes | None) -> None:
    crop = describe_preprocessing(config).get('crop')
    if shapes is None or crop is None:
        return
    fits = all(
        low <= side <= high for low, side, high in zip(shapes.smallest[2:], crop, shapes.largest[2:], strict=True)
    )
    if not fits:
        size = 'x'.join(map(str, crop))
        raise DeployError(
            f'The input size does not include {size}, the size of the images that this classifier is tested with.',
            expected=f'--shape {size}',
            fix='give it, or change CenterCrop (and ResizeEdge) of the test pipeline',
        )


def set_pipeline(config: Config, pipeline: Sequence[Mapping]) -> None:
    """Set the pipeline of every test data set, and the variable ``test_pipeline``, which mmdeploy reads."""
    config.test_pipeline = pipeline
    for dataset in datasets_of(config.test_dataloader.dataset):
        dataset.pipeline = pipeline


def pad_to_input_shape(model_config: Config, shapes: InputShapes | None) -> Config:
    """The model config whose PyTorch network pads its input like the artefact.

    The comparison of both needs identical inputs, because attention also sees the padding.

    Returns:
        A copy, or the config itself if height and width are free.
    """
    if shapes is None or shapes.size is None or task_of(model_config.model) == 'classification':
        return model_config
    config = copy.deepcopy(model_config)
    if not TASKS[task_of(config.model)].finds_boxes:
        config.model.data_preprocessor.test_cfg = dict(size=shapes.size)
    else:
        config.model.data_preprocessor.update(
            type=f'mmtrtvit.{FixedShapeDetDataPreprocessor.__name__}', fixed_shape=shapes.size
        )
    return config
