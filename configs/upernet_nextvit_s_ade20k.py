# Recipe: published, Next-ViT's official config.
_base_ = [
    './_base_/methods/upernet.py',
    './_base_/backbones/nextvit.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/adamw_160k.py',
    './_base_/default_runtime_seg.py',
]

model = dict(
    backbone=dict(_base_.pop('backbone'), drop_path_rate=0.2, frozen_stages=-1, norm_eval=False, with_extra_norm=True),
    decode_head=dict(in_channels=_base_.widths.s),
    auxiliary_head=dict(in_channels=_base_.widths.s[2]),
)
