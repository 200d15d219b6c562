# Recipe: adapted from Next-ViT's official config for Mask R-CNN 1x, with nothing frozen; TurboViT has none.
_base_ = [
    './_base_/methods/fasterrcnn.py',
    './_base_/backbones/turbovit.py',
    './_base_/datasets/coco_detection.py',
    './_base_/schedules/adamw_1x.py',
    './_base_/default_runtime.py',
]

model = dict(
    backbone=_base_.pop('backbone'),
    neck=dict(in_channels=_base_.widths.base),
)
