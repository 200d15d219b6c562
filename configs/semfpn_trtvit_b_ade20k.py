_base_ = [
    './_base_/methods/semfpn.py',
    './_base_/backbones/trtvit.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/adamw_80k.py',
    './_base_/default_runtime_seg.py',
]

model = dict(
    backbone=dict(_base_.pop('backbone'), drop_path_rate=0.2),
    neck=dict(in_channels=_base_.widths.b),
)
