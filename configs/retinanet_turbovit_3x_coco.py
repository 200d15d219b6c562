# Recipe: adapted from Next-ViT's official config for Mask R-CNN 3x, with nothing frozen; TurboViT has none.
_base_ = [
    './_base_/methods/retinanet.py',
    './_base_/backbones/turbovit.py',
    './_base_/datasets/coco_detection_ms-crop.py',
    './_base_/schedules/adamw_3x.py',
    './_base_/default_runtime.py',
]

model = dict(
    # every map that is returned has a norm: one whose map is not used would get no gradient
    backbone=dict(_base_.pop('backbone'), out_indices=(1, 2, 3)),
    neck=dict(in_channels=_base_.widths.base[1:], start_level=0),
)
