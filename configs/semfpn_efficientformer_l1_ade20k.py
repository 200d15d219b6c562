# Recipe: published, EfficientFormer's official config. It is for 8 GPUs, which it gives twice the learning rate and
# half the iterations of 4: these are those of 4. Attention biases and LayerScale do not decay.
_base_ = [
    './_base_/methods/semfpn.py',
    './_base_/backbones/efficientformer.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/adamw_80k.py',
    './_base_/default_runtime_seg.py',
]

model = dict(
    backbone=_base_.pop('backbone'),
    neck=dict(in_channels=_base_.widths.l1),
)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=80000, by_epoch=False)]
