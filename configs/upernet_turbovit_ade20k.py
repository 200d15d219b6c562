# Recipe: adapted from Next-ViT's official config for UperNet, with nothing frozen; TurboViT has none.
_base_ = [
    './_base_/methods/upernet.py',
    './_base_/backbones/turbovit.py',
    './_base_/datasets/ade20k.py',
    './_base_/schedules/adamw_160k.py',
    './_base_/default_runtime_seg.py',
]

model = dict(
    backbone=dict(_base_.pop('backbone'), drop_path_rate=0.2),
    decode_head=dict(in_channels=_base_.widths.base),
    auxiliary_head=dict(in_channels=_base_.widths.base[2]),
)
