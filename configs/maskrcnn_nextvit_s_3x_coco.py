# Recipe: published, Next-ViT's official config for 3x. RoIAlign takes 2 x 2 samples a bin, as in every config here, and
# mixed precision is an option (--amp).
_base_ = [
    './_base_/methods/maskrcnn.py',
    './_base_/backbones/nextvit.py',
    './_base_/datasets/coco_instance_ms-crop.py',
    './_base_/schedules/adamw_3x.py',
    './_base_/default_runtime.py',
]

model = dict(
    backbone=_base_.pop('backbone'),
    neck=dict(in_channels=_base_.widths.s),
)
