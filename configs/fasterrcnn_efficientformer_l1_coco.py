# Recipe: adapted from EfficientFormer's official config for Mask R-CNN; there is none for Faster R-CNN.
_base_ = [
    './_base_/methods/fasterrcnn.py',
    './_base_/backbones/efficientformer.py',
    './_base_/datasets/coco_detection.py',
    './_base_/schedules/adamw_1x.py',
    './_base_/default_runtime.py',
]

model = dict(
    backbone=_base_.pop('backbone'),
    neck=dict(in_channels=_base_.widths.l1),
)
optim_wrapper = dict(optimizer=dict(lr=2e-4, weight_decay=1e-4))
