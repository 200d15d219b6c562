_base_ = [
    './_base_/methods/fasterrcnn.py',
    './_base_/backbones/trtvit.py',
    './_base_/datasets/coco_detection.py',
    './_base_/schedules/adamw_1x.py',
    './_base_/default_runtime.py',
]

model = dict(
    backbone=_base_.pop('backbone'),
    neck=dict(in_channels=_base_.widths.b),
)
