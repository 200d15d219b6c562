# Recipe: adapted from EfficientFormer's official config, which is for 1x: three times as long, with crops of many
# sizes.
_base_ = [
    './_base_/methods/maskrcnn.py',
    './_base_/backbones/efficientformer.py',
    './_base_/datasets/coco_instance_ms-crop.py',
    './_base_/schedules/adamw_3x.py',
    './_base_/default_runtime.py',
]

model = dict(
    backbone=_base_.pop('backbone'),
    neck=dict(in_channels=_base_.widths.l1),
)
optim_wrapper = dict(optimizer=dict(lr=2e-4, weight_decay=1e-4))
