# Recipe: published, EfficientFormer's official config. RoIAlign takes 2 x 2 samples a bin, as in every config here, and
# norms, attention biases and LayerScale do not decay.
_base_ = [
    './_base_/methods/maskrcnn.py',
    './_base_/backbones/efficientformer.py',
    './_base_/datasets/coco_instance.py',
    './_base_/schedules/adamw_1x.py',
    './_base_/default_runtime.py',
]

model = dict(
    backbone=_base_.pop('backbone'),
    neck=dict(in_channels=_base_.widths.l1),
)
optim_wrapper = dict(optimizer=dict(lr=2e-4, weight_decay=1e-4))
