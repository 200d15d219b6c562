"""The methods that configs are named after, and how each is counted and reported."""

import dataclasses
from collections.abc import Mapping

from mmengine.config import Config

from ..errors import ConfigError

COCO_METRICS = ('box_ap', 'box_ap50', 'box_ap75', 'mask_ap', 'mask_ap50', 'mask_ap75')
ADE_METRICS = ('miou', 'miou_ms')

METRIC_TITLES = {
    'box_ap': 'box AP',
    'box_ap50': 'box AP50',
    'box_ap75': 'box AP75',
    'mask_ap': 'mask AP',
    'mask_ap50': 'mask AP50',
    'mask_ap75': 'mask AP75',
    'miou': 'mIoU',
    'miou_ms': 'mIoU (multi-scale, flip)',
}
"""Names of the metrics in ``docs/results/published.yaml``, as tables and metafiles write them."""


@dataclasses.dataclass(frozen=True)
class Method:
    """A detector or segmentor without its backbone.

    Attributes:
        title: Its name in tables.
        architecture: Its parts, as a metafile lists them.
        model: ``type`` of ``config.model``, and of its ``decode_head`` where it has one.
        tasks: Task of ``mim search`` to the metrics that belong to it.
        dataset: The data set that it is trained on.
        schedule: The schedule of a config whose name does not mention one.
        shape: Height and width at which FLOPs are published.
        frozen_stages: Stages that are frozen, with the stem, in published totals of parameters; -1: nothing.
        head: The head that knows the number of classes.
        chain: The parts that run one after the other, for counting: neck and heads are given what the part
            before them gave.
        rois: Prefix of a RoI head's part to the number of RoIs it is counted for.
        left_out: Steps that published FLOPs leave out, beside the operators that are not counted.
        recipe: A remark on the borrowed recipe.
    """

    title: str
    architecture: tuple[str, ...]
    model: tuple[str, str | None]
    tasks: Mapping[str, tuple[str, ...]]
    dataset: str
    schedule: str
    shape: tuple[int, int]
    frozen_stages: int
    head: str
    chain: tuple[str, ...]
    rois: Mapping[str, int] = dataclasses.field(default_factory=dict)
    left_out: str = ''
    recipe: str = ''

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of all its tasks."""
        return tuple(metric for metrics in self.tasks.values() for metric in metrics)


METHODS: dict[str, Method] = {
    'maskrcnn': Method(
        title='Mask R-CNN',
        architecture=('Mask R-CNN', 'FPN'),
        model=('MaskRCNN', None),
        tasks={'Object Detection': COCO_METRICS[:3], 'Instance Segmentation': COCO_METRICS[3:]},
        dataset='COCO',
        schedule='1x',
        shape=(800, 1280),
        frozen_stages=1,
        head='roi_head.bbox_head',
        chain=('backbone', 'neck', 'rpn_head'),
        rois={'bbox': 1000, 'mask': 100},
        left_out='choice of proposals, RoIAlign, suppression, pasting of masks',
    ),
    'fasterrcnn': Method(
        title='Faster R-CNN',
        architecture=('Faster R-CNN', 'FPN'),
        model=('FasterRCNN', None),
        tasks={'Object Detection': COCO_METRICS[:3]},
        dataset='COCO',
        schedule='1x',
        shape=(800, 1280),
        frozen_stages=1,
        head='roi_head.bbox_head',
        chain=('backbone', 'neck', 'rpn_head'),
        rois={'bbox': 1000},
        left_out='choice of proposals, RoIAlign, suppression',
        recipe='there is none for Faster R-CNN, so it is that of Mask R-CNN',
    ),
    'retinanet': Method(
        title='RetinaNet',
        architecture=('RetinaNet', 'FPN'),
        model=('RetinaNet', None),
        tasks={'Object Detection': COCO_METRICS[:3]},
        dataset='COCO',
        schedule='1x',
        shape=(800, 1280),
        frozen_stages=1,
        head='bbox_head',
        chain=('backbone', 'neck', 'bbox_head'),
        left_out='decoding of boxes, suppression',
        recipe='there is none for RetinaNet, so it is that of Mask R-CNN',
    ),
    'semfpn': Method(
        title='Semantic FPN',
        architecture=('Semantic FPN', 'FPN'),
        model=('EncoderDecoder', 'FPNHead'),
        tasks={'Semantic Segmentation': ADE_METRICS[:1]},
        dataset='ADE20K',
        schedule='80k',
        shape=(512, 2048),
        frozen_stages=-1,
        head='decode_head',
        chain=('backbone', 'neck', 'decode_head'),
        left_out='enlargement of the label map to the image',
    ),
    'upernet': Method(
        title='UperNet',
        architecture=('UperNet', 'PPM', 'FCN'),
        model=('EncoderDecoder', 'UPerHead'),
        tasks={'Semantic Segmentation': ADE_METRICS},
        dataset='ADE20K',
        schedule='160k',
        shape=(512, 2048),
        frozen_stages=-1,
        head='decode_head',
        chain=('backbone', 'decode_head'),
        left_out='enlargement of the label map to the image',
    ),
}
"""Methods by their names in the names of configs."""


def classes_of(config: Config) -> int:
    """Number of classes that the head of a config tells apart."""
    head = config.model
    for part in METHODS[method_of(config)].head.split('.'):
        head = head[part]
    return head.num_classes


def method_of(config: Config) -> str:
    """The name of the method of a config.

    Raises:
        ConfigError: If its model is not one of :data:`METHODS`.
    """
    found = (config.model.type, config.model.get('decode_head', {}).get('type'))
    for name, method in METHODS.items():
        if method.model == found:
            return name
    raise ConfigError(
        f'model.type={found[0]!r} with decode_head.type={found[1]!r} cannot be counted.',
        expected=', '.join(' with '.join(filter(None, method.model)) for method in METHODS.values()),
        fix='use one of the configs below configs/, or count the network by mmtrtvit.benchmark.count_complexity',
    )
