# Recipe: adapted from Next-ViT's official config; there is none of EfficientFormer for UperNet.
_base_ = [
    './_base_/methods/upernet.py',
    './_base_/backbones/efficientformer.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/adamw_160k.py',
    './_base_/default_runtime_seg.py',
]

model = dict(
    backbone=_base_.pop('backbone'),
    decode_head=dict(in_channels=_base_.widths.l1),
    auxiliary_head=dict(in_channels=_base_.widths.l1[2]),
)
